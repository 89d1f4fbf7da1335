"""What a request is told when it cannot be fulfilled: RFC 9457's problem details."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from atom_platform.agents.model import (
    AgentError,
    AgentExists,
    AgentInvalid,
    AgentNotFound,
    ExecutionNotFound,
    ExecutionNotStored,
    Fault,
    StoreUnavailable,
)

__all__ = ["PROBLEM_TYPE", "BadBody", "BadParameter", "Problem", "problem_of"]

PROBLEM_TYPE: Final = "application/problem+json"
RETRY_AFTER_SECONDS: Final = 5
MAX_ERRORS: Final = 20


class BadBody(AgentError):
    """The body of a request is not what the endpoint takes."""

    def __init__(self, status: int, detail: str, faults: Iterable[Fault] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.faults = tuple(faults)


class BadParameter(AgentError):
    """A parameter of the query is not what the endpoint takes."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True, slots=True)
class Problem:
    """
    One problem.

    Attributes:
        kind: Its last word in `type`; None is `about:blank`, where the status says it all.
        more: Members beside the standard ones.
        headers: Headers the answer gets.
    """

    status: int
    detail: str
    kind: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self, *, instance: str, request_id: str | None) -> dict[str, Any]:
        """Return the JSON of the problem in the answer to *instance*."""
        phrase = HTTPStatus(self.status).phrase
        members = {
            "type": f"urn:atom:problem:{self.kind}" if self.kind else "about:blank",
            "title": self.kind.replace("-", " ").capitalize() if self.kind else phrase,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            **self.more,
        }
        if request_id:
            members["request_id"] = request_id
        return members


def problem_of(error: AgentError) -> Problem:
    """
    Return the problem that *error* is to whoever asked.

    Raises:
        TypeError: It is one that this function does not know.
    """
    match error:
        case AgentNotFound():
            return Problem(404, "There is no agent with this id.", "agent-not-found")
        case ExecutionNotFound():
            return Problem(404, "There is no execution with this id.", "execution-not-found")
        case AgentExists():
            return Problem(409, "An agent with this id exists; change it with PUT.", "agent-exists")
        case AgentInvalid(faults=faults):
            return _faulty(422, "The agent cannot be run", faults)
        case BadBody(status=status, faults=faults) if faults:
            return _faulty(status, str(error), faults)
        case BadBody(status=status):
            return Problem(status, str(error), "invalid-body")
        case BadParameter(name=name):
            errors = [{"parameter": name, "message": str(error)}]
            return Problem(400, f"{name}: {error}", "invalid-parameter", {"errors": errors})
        case ExecutionNotStored(execution=execution):
            told = {"execution_id": execution.execution_id, "execution_status": execution.status}
            detail = "The agent has run, but its execution could not be stored."
            return Problem(503, detail, "execution-not-stored", told, _retry())
        case StoreUnavailable():
            detail = "The database cannot be used right now. Nothing has been changed."
            return Problem(503, detail, "store-unavailable", headers=_retry())
    raise TypeError(f"no problem for {type(error).__name__}")


def _faulty(status: int, summary: str, faults: tuple[Fault, ...]) -> Problem:
    errors = [{"pointer": _pointer(each), "message": each.message} for each in faults[:MAX_ERRORS]]
    first = errors[0]
    detail = f"{summary}: at {first['pointer'] or 'the top'}: {first['message']}"
    return Problem(status, detail, "invalid-body", {"errors": errors})


def _pointer(fault: Fault) -> str:
    """Return where a fault is as a JSON pointer (RFC 6901)."""
    keys = (str(key).replace("~", "~0").replace("/", "~1") for key in fault.path)
    return "".join(f"/{key}" for key in keys)


def _retry() -> dict[str, str]:
    return {"Retry-After": str(RETRY_AFTER_SECONDS)}
