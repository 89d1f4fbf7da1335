"""What is known of a request while it is answered, and the fields bound around a place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from atom_platform.trace_context import TraceContext

__all__ = ["NOTHING", "Exchange", "Particulars", "Scope"]

NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Scope:
    """Fields bound at one place: its own and those around it."""

    __slots__ = ("around", "fields", "owner")

    def __init__(self, fields: Mapping[str, Any], around: Scope | None, owner: object) -> None:
        self.fields = fields
        self.around = around
        self.owner = owner


@dataclass(slots=True)
class Particulars:
    """
    What some requests have and most have not.

    Attributes:
        trace: The caller's place in a trace.
        notes: What `log_request` added.
        db_queries: How often the database was asked, which took *db_seconds*.
        exception: What no handler turned into a response.
        aborted: Why the response was cut off; empty when it was not.
    """

    trace: TraceContext | None = None
    notes: dict[str, Any] | None = None
    db_queries: int = 0
    db_seconds: float = 0.0
    exception: BaseException | None = None
    aborted: str = ""


class Exchange(Scope):
    """
    What is noted about a request for its access line; also the outermost scope of its lines.

    Attributes:
        request_id: The client's or our own; empty when requests get no ids.
        particulars: None as long as there is nothing to say there.
    """

    __slots__ = ("particulars", "request_id")

    #: Whoever entered it leaves it; nothing is around it.
    around = None
    owner = None

    def __init__(self) -> None:
        self.request_id = ""
        self.particulars: Particulars | None = None

    @property
    def fields(self) -> Mapping[str, Any]:  # type: ignore[override]  # made when a line asks for it
        """The ids, which every line of the request carries."""
        if not self.request_id:
            return NOTHING
        trace = None if self.particulars is None else self.particulars.trace
        if trace is None:
            return {"request_id": self.request_id}
        return {
            "request_id": self.request_id,
            "trace_id": trace.trace_id,
            "span_id": trace.span_id,
        }

    def noted(self) -> Particulars:
        """Return the particulars, to be added to."""
        if self.particulars is None:
            self.particulars = Particulars()
        return self.particulars
