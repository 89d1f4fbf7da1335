"""Turns an error of the API into problem details (RFC 9457)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from atom_platform.agents.model import (
    AgentError,
    AgentExists,
    AgentNotFound,
    ExecutionNotFound,
    ExecutionNotStored,
    FieldError,
    InvalidAgent,
    StoreUnavailable,
)

__all__ = ["PROBLEM_TYPE", "InvalidBody", "InvalidParameter", "ProblemDetails", "problem_for"]

PROBLEM_TYPE: Final = "application/problem+json"
RETRY_AFTER_SECONDS: Final = 5
MAX_ERRORS: Final = 20


class InvalidBody(AgentError):
    """The body of a request is not valid for the endpoint."""

    def __init__(self, status: int, detail: str, errors: Iterable[FieldError] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.errors = tuple(errors)


class InvalidParameter(AgentError):
    """A query parameter is not valid for the endpoint."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True, slots=True)
class ProblemDetails:
    """
    The problem details of one response.

    Attributes:
        kind: The last part of `type`; None means `about:blank`, where the status is enough.
        more: Extension members, in addition to the standard ones.
        headers: Headers of the response.
    """

    status: int
    detail: str
    kind: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self, *, instance: str, request_id: str | None) -> dict[str, Any]:
        """Return the JSON of the problem; *instance* is the path of the request."""
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


def problem_for(error: AgentError) -> ProblemDetails:
    """
    Return the problem details that the client gets for *error*.

    Raises:
        TypeError: The class of *error* has no problem.
    """
    match error:
        case AgentNotFound():
            return ProblemDetails(404, "There is no agent with this id.", "agent-not-found")
        case ExecutionNotFound():
            return ProblemDetails(404, "There is no execution with this id.", "execution-not-found")
        case AgentExists():
            return ProblemDetails(
                409, "An agent with this id exists; change it with PUT.", "agent-exists"
            )
        case InvalidAgent(errors=errors):
            return _field_errors_problem(422, "The agent is not valid", errors)
        case InvalidBody(status=status, errors=errors) if errors:
            return _field_errors_problem(status, str(error), errors)
        case InvalidBody(status=status):
            return ProblemDetails(status, str(error), "invalid-body")
        case InvalidParameter(name=name):
            found = [{"parameter": name, "message": str(error)}]
            return ProblemDetails(400, f"{name}: {error}", "invalid-parameter", {"errors": found})
        case ExecutionNotStored(execution=execution):
            told = {"execution_id": execution.execution_id, "execution_status": execution.status}
            detail = "The agent ran, but its execution could not be stored."
            return ProblemDetails(503, detail, "execution-not-stored", told, _retry())
        case StoreUnavailable():
            detail = "The database is unavailable. Nothing was changed."
            return ProblemDetails(503, detail, "store-unavailable", headers=_retry())
    raise TypeError(f"no problem for {type(error).__name__}")


def _field_errors_problem(
    status: int, summary: str, errors: tuple[FieldError, ...]
) -> ProblemDetails:
    shown = [{"pointer": _pointer(each), "message": each.message} for each in errors[:MAX_ERRORS]]
    first = shown[0]
    detail = f"{summary}: at {first['pointer'] or 'the top'}: {first['message']}"
    return ProblemDetails(status, detail, "invalid-body", {"errors": shown})


def _pointer(error: FieldError) -> str:
    """Return the location of *error* as a JSON pointer (RFC 6901)."""
    keys = (str(key).replace("~", "~0").replace("/", "~1") for key in error.path)
    return "".join(f"/{key}" for key in keys)


def _retry() -> dict[str, str]:
    return {"Retry-After": str(RETRY_AFTER_SECONDS)}
