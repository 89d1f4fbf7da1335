"""
A bound on the identifiers that become label values.

An id costs a series per bucket, in every process and in Prometheus. What is past the cap counts
under `other`, so that totals stay true. The cap is the slot's, not the process's: a worker goes on
with the files of its predecessor, and so with the ids in them.
"""

from __future__ import annotations

from typing import Final

from atom_platform.metrics.cells import clean, family, kind_of
from atom_platform.metrics.definitions import Definition
from atom_platform.metrics.recording import OVERFLOWS
from atom_platform.metrics.storage.client_format import parse_key
from atom_platform.metrics.storage.storage import STORAGE

__all__ = ["OTHER", "Ids", "configure"]

OTHER: Final = "other"

_max_ids = 1000


def configure(max_ids: int) -> None:
    """Set how many distinct ids each family may hold in a process; 0 for none at all."""
    global _max_ids
    _max_ids = max_ids


class Ids:
    """
    The ids of one label, shared by the families that have it.

    Args:
        label: Its name.
        definitions: The families that are always counted together under it.
    """

    def __init__(self, label: str, *definitions: Definition) -> None:
        self._label = label
        self._definitions = definitions
        self._known: set[str] | None = None
        STORAGE.on_invalidate(self._forget)

    def admit(self, value: object) -> str:
        """Return *value* as a label value, or `other` when there are enough different ones."""
        text = clean(value)
        with STORAGE.lock:
            if self._known is None:
                self._known = self._stored()
            if text in self._known or text == OTHER:
                return text
            if len(self._known) < _max_ids:
                self._known.add(text)
                return text
        for definition in self._definitions:
            OVERFLOWS.add((definition.name,))
        return OTHER

    def _stored(self) -> set[str]:
        found = set()
        for definition in self._definitions:
            sample = definition.name + ("_sum" if definition.kind == "histogram" else "")
            prefix = f'["{family(definition)}", "{sample}", '.encode()
            for key in STORAGE.keys(kind_of(definition)):
                if key.startswith(prefix):
                    found.add(dict(parse_key(key).labels).get(self._label, OTHER))
        return found - {OTHER}

    def _forget(self) -> None:
        self._known = None
