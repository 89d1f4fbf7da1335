"""
Fork hooks: what each part of the package does when its process forks, in one stated order.

A part registers its callbacks under its name. `PARTS` alone decides the order in which they run, so
the order in which modules are imported does not matter.
"""

from __future__ import annotations

import logging  # noqa: F401 — logging's own fork hooks must be registered before ours: see at_fork
import os
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

__all__ = ["PARTS", "at_fork", "registered_parts"]

#: The parts that take part in a fork. Callbacks in the child and in the parent run in this order,
#: callbacks before the fork in the reverse order. A part may use the parts above it.
PARTS: Final = (
    "request_ids",  # first: a child must not hand out its parent's ids
    "metrics_storage",  # holds its lock during the fork; logging counts lines, so it comes earlier
    "log_writer",  # from here on a callback may log
    "scrape",
    "health_registry",
    "database_resolver",
    "database_pool_gauges",
    "database_engine",
    "status_ring",
    "signals",  # last: a signal that waited is handled when everything else works again
)


class _Callbacks(NamedTuple):
    before: Callable[[], object] | None
    after_in_parent: Callable[[], object] | None
    after_in_child: Callable[[], object] | None


_registered: Final[dict[str, list[_Callbacks]]] = {}


def at_fork(
    part: str,
    *,
    before: Callable[[], object] | None = None,
    after_in_parent: Callable[[], object] | None = None,
    after_in_child: Callable[[], object] | None = None,
) -> None:
    """
    Register callbacks of *part* that run whenever this process forks.

    A part may register several times; its callbacks then run in the order of registration. They
    cannot be unregistered. The first registration installs the one hook of this package in the
    interpreter. The hooks of `logging` come before it, so that its locks work in our callbacks.

    Args:
        part: One of `PARTS`.
        before: Runs in the parent before the fork.
        after_in_parent: Runs in the parent after the fork.
        after_in_child: Runs in the child after the fork.

    Raises:
        ValueError: *part* is not in `PARTS`.
    """
    if part not in PARTS:
        raise ValueError(f"{part!r} is not one of the parts in atom_platform.forking.PARTS")
    if not _registered:
        os.register_at_fork(
            before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child
        )
    _registered.setdefault(part, []).append(_Callbacks(before, after_in_parent, after_in_child))


def registered_parts() -> tuple[str, ...]:
    """Return the parts that have registered callbacks so far, in the order of `PARTS`."""
    return tuple(part for part in PARTS if part in _registered)


def _in_order() -> list[_Callbacks]:
    return [callbacks for part in PARTS for callbacks in _registered.get(part, ())]


def _before() -> None:
    _run(callbacks.before for callbacks in reversed(_in_order()))


def _after_in_parent() -> None:
    _run(callbacks.after_in_parent for callbacks in _in_order())


def _after_in_child() -> None:
    _run(callbacks.after_in_child for callbacks in _in_order())


def _run(callbacks: Iterable[Callable[[], object] | None]) -> None:
    """
    Run all *callbacks*, including those behind one that fails.

    Raises:
        BaseException: The first one that a callback raised, with the others as notes. The
            interpreter reports it as unraisable, and the fork goes on.
    """
    first: BaseException | None = None
    for callback in callbacks:
        if callback is None:
            continue
        try:
            callback()
        except BaseException as error:
            if first is None:
                first = error
            else:
                first.add_note(f"Another fork callback failed too: {error!r}")
    if first is not None:
        raise first
