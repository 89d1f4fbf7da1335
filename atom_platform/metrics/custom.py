"""
Metrics of an application's own: right across processes, bounded, and without a way to fail it.

They live in the same cells as the platform's. A metric belongs to the process, as the exposition
does: whoever asks for the same one again, be it another application, gets the same one.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Final, TypeVar

from atom_platform.metrics.caps import OTHER, Ids
from atom_platform.metrics.cells import clean, family
from atom_platform.metrics.definitions import DEFINITIONS, Definition
from atom_platform.metrics.recording import Family, HistogramFamily, not_recorded

__all__ = ["Counter", "Gauge", "Histogram", "custom_definitions", "shared"]

_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL: Final = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_SUFFIXES: Final = ("_total", "_created", "_bucket", "_sum", "_count", "_info")


class _Custom:
    """What the three kinds share: label values that are admitted, one by one."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self._ids = {
            label: Ids(label, definition)
            for label in definition.labels
            if label not in definition.values
        }

    def _admitted(self, labels: dict[str, object]) -> tuple[str, ...]:
        """
        Return the label values, in order.

        Raises:
            ValueError: These are not the metric's labels.
        """
        if labels.keys() != set(self.definition.labels):
            raise ValueError(f"its labels are {self.definition.labels}, not {tuple(labels)}")
        return tuple(self._admit(label, labels[label]) for label in self.definition.labels)

    def _admit(self, label: str, value: object) -> str:
        ids = self._ids.get(label)
        if ids is not None:
            return ids.admit(value)
        text = clean(value)
        return text if text in self.definition.values[label] else OTHER


class Counter(_Custom):
    """A number that only grows."""

    def __init__(self, definition: Definition) -> None:
        super().__init__(definition)
        self._family = Family(definition)

    def inc(self, amount: float = 1.0, /, **labels: object) -> None:
        """Add *amount*, which is not negative. Never raises: what is wrong is logged once."""
        try:
            if not amount >= 0.0:
                raise ValueError("a counter only grows")
            self._family.add(self._admitted(labels), amount)
        except Exception as error:
            not_recorded(self.definition, error)


class Gauge(_Custom):
    """A number that goes up and down; its mode says how those of several processes become one."""

    def __init__(self, definition: Definition) -> None:
        super().__init__(definition)
        self._family = Family(definition)

    def set(self, value: float, /, **labels: object) -> None:
        """Make it *value* in this process. Never raises."""
        try:
            self._family.set(value, self._admitted(labels))
        except Exception as error:
            not_recorded(self.definition, error)

    def inc(self, amount: float = 1.0, /, **labels: object) -> None:
        """Add *amount*, which may be negative, to what this process says. Never raises."""
        try:
            self._family.add(self._admitted(labels), amount)
        except Exception as error:
            not_recorded(self.definition, error)


class Histogram(_Custom):
    """How a quantity is spread, a duration above all. What is below 0 counts as 0."""

    def __init__(self, definition: Definition) -> None:
        super().__init__(definition)
        self._family = HistogramFamily(definition)

    def observe(self, value: float, /, **labels: object) -> None:
        """Add one observation. Never raises."""
        try:
            self._family.observe(value, self._admitted(labels))
        except Exception as error:
            not_recorded(self.definition, error)

    @contextlib.contextmanager
    def time(self, **labels: object) -> Iterator[None]:
        """Observe the seconds that a block, or a function that it decorates, takes."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.observe(time.perf_counter() - started, **labels)


M = TypeVar("M", Counter, Gauge, Histogram)

_lock: Final = threading.Lock()
#: Weak: an application that is gone, as in a test, leaves its names to the next one.
_metrics: Final[weakref.WeakValueDictionary[str, Counter | Gauge | Histogram]] = (
    weakref.WeakValueDictionary()
)
_TAKEN: Final = frozenset(family(definition) for definition in DEFINITIONS)


def shared(kind: type[M], definition: Definition) -> M:
    """
    Return the process's metric of *definition*, a new one or the one there is.

    Raises:
        ValueError: A name is not one that Prometheus takes, the name belongs to another metric, or
            a label that has values is none of the metric's.
    """
    _check(definition)
    with _lock:
        known = _metrics.get(family(definition))
        if known is None:
            made = kind(definition)
            _metrics[family(definition)] = made
            return made
    if isinstance(known, kind) and known.definition == definition:
        return known
    raise ValueError(f"{definition.name!r} is another metric already")


def custom_definitions() -> list[Definition]:
    """Return the definitions of the metrics that were made here and are still in use."""
    with _lock:
        return [metric.definition for metric in _metrics.values()]


def _check(definition: Definition) -> None:
    name = definition.name
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a metric")
    if definition.kind == "counter" and not name.endswith("_total"):
        raise ValueError(f"the name of a counter ends in _total, {name!r} does not")
    if definition.kind != "counter" and name.endswith(_SUFFIXES):
        raise ValueError(f"{name!r} ends like a sample of another kind of metric")
    if family(definition) in _TAKEN or any(
        family(definition) + suffix in _TAKEN for suffix in _SUFFIXES
    ):
        raise ValueError(f"{name!r} is a metric of the platform")
    for label in definition.labels:
        if not _LABEL.fullmatch(label) or label == "le":
            raise ValueError(f"{label!r} is no name of a label")
    if len(set(definition.labels)) < len(definition.labels):
        raise ValueError("a label is named twice")
    if definition.values.keys() - set(definition.labels):
        raise ValueError("there are values for a label that the metric does not have")
    if definition.kind == "histogram" and (
        not definition.buckets or sorted(set(definition.buckets)) != list(definition.buckets)
    ):
        raise ValueError("buckets are numbers that grow")
