"""
The cardinality limit: how many different values a label may have.

Each value of an id label costs one series per bucket, in every process and in Prometheus. Values
past the limit count as `other`, so that totals stay right; `metric_label_overflows_total` counts
them. The limit holds per slot of the metrics directory: a worker that takes over a slot takes over
the values in its files too.
"""

from __future__ import annotations

from typing import Final

from atom_platform.metrics.catalog import Definition, family_name, file_kind
from atom_platform.metrics.families import LABEL_OVERFLOW_COUNT, label_text
from atom_platform.metrics.storage.client_format import parse_key
from atom_platform.metrics.storage.storage import STORAGE

__all__ = ["OTHER", "LabelLimiter", "set_max_values"]

#: The value that stands for all values past the limit.
OTHER: Final = "other"

_max_values = 1000


def set_max_values(count: int) -> None:
    """Set how many values of a label each family may have in this process; 0 allows none."""
    global _max_values
    _max_values = count


class LabelLimiter:
    """
    Limits the values of one label.

    Args:
        label: The name of the label.
        definitions: The metrics that have it and are always counted together.
    """

    def __init__(self, label: str, *definitions: Definition) -> None:
        self._label = label
        self._definitions = definitions
        self._known: set[str] | None = None
        STORAGE.on_invalidate(self._forget)

    def limit(self, value: object) -> str:
        """Return *value* as a label value, or `other` if the label has its most values already."""
        text = label_text(value)
        with STORAGE.lock:
            if self._known is None:
                self._known = self._stored_values()
            if text in self._known or text == OTHER:
                return text
            if len(self._known) < _max_values:
                self._known.add(text)
                return text
        for definition in self._definitions:
            LABEL_OVERFLOW_COUNT.add((definition.name,))
        return OTHER

    def _stored_values(self) -> set[str]:
        """Return the values that the files of this process hold already."""
        found = set()
        for definition in self._definitions:
            sample = definition.name + ("_sum" if definition.kind == "histogram" else "")
            prefix = f'["{family_name(definition)}", "{sample}", '.encode()
            for key in STORAGE.keys(file_kind(definition)):
                if key.startswith(prefix):
                    found.add(dict(parse_key(key).labels).get(self._label, OTHER))
        return found - {OTHER}

    def _forget(self) -> None:
        self._known = None
