"""
Metrics that an application defines: summed over processes, bounded, and unable to fail a request.

They are counted like those of the catalog. A metric belongs to the process, as the exposition does:
two applications that ask for the same definition share one metric.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Final, TypeVar

from atom_platform.metrics.catalog import DEFINITIONS, Definition, family_name
from atom_platform.metrics.families import (
    CounterFamily,
    GaugeFamily,
    HistogramFamily,
    label_text,
    note_failure,
)
from atom_platform.metrics.label_limits import OTHER, LabelLimiter

__all__ = ["Counter", "Gauge", "Histogram", "custom_definitions", "get_or_create"]

_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL: Final = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_SUFFIXES: Final = ("_total", "_created", "_bucket", "_sum", "_count", "_info")


class _CustomMetric:
    """The part that all three kinds share: checking and limiting label values."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self._limiters = {
            label: LabelLimiter(label, definition)
            for label in definition.labels
            if label not in definition.values
        }

    def _label_values(self, labels: dict[str, object]) -> tuple[str, ...]:
        """
        Return the label values in the order of the definition.

        Raises:
            ValueError: The names are not those of the definition.
        """
        if labels.keys() != set(self.definition.labels):
            raise ValueError(f"its labels are {self.definition.labels}, not {tuple(labels)}")
        return tuple(self._label_value(label, labels[label]) for label in self.definition.labels)

    def _label_value(self, label: str, value: object) -> str:
        limiter = self._limiters.get(label)
        if limiter is not None:
            return limiter.limit(value)
        text = label_text(value)
        return text if text in self.definition.values[label] else OTHER


class Counter(_CustomMetric):
    """A number that never decreases."""

    def __init__(self, definition: Definition) -> None:
        super().__init__(definition)
        self._family = CounterFamily(definition)

    def inc(self, amount: float = 1.0, /, **labels: object) -> None:
        """Add *amount*, which is not negative. Never raises: a wrong call is logged once."""
        try:
            if not amount >= 0.0:
                raise ValueError("the amount added to a counter is not negative")
            self._family.add(self._label_values(labels), amount)
        except Exception as error:
            note_failure(self.definition, error)


class Gauge(_CustomMetric):
    """A number that goes up and down; its mode says how the values of processes are combined."""

    def __init__(self, definition: Definition) -> None:
        super().__init__(definition)
        self._family = GaugeFamily(definition)

    def set(self, value: float, /, **labels: object) -> None:
        """Set the value of this process. Never raises."""
        try:
            self._family.set(value, self._label_values(labels))
        except Exception as error:
            note_failure(self.definition, error)

    def inc(self, amount: float = 1.0, /, **labels: object) -> None:
        """Add *amount*, which may be negative, to the value of this process. Never raises."""
        try:
            self._family.add(self._label_values(labels), amount)
        except Exception as error:
            note_failure(self.definition, error)


class Histogram(_CustomMetric):
    """The distribution of a quantity, such as a duration in seconds; negative values count as 0."""

    def __init__(self, definition: Definition) -> None:
        super().__init__(definition)
        self._family = HistogramFamily(definition)

    def observe(self, value: float, /, **labels: object) -> None:
        """Add one observation. Never raises."""
        try:
            self._family.observe(value, self._label_values(labels))
        except Exception as error:
            note_failure(self.definition, error)

    @contextlib.contextmanager
    def time(self, **labels: object) -> Iterator[None]:
        """Observe the duration of a block or of a decorated function, in seconds."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.observe(time.perf_counter() - started, **labels)


M = TypeVar("M", Counter, Gauge, Histogram)

_lock: Final = threading.Lock()
#: Weak references: an application that is garbage, as in a test, frees its names.
_metrics: Final[weakref.WeakValueDictionary[str, Counter | Gauge | Histogram]] = (
    weakref.WeakValueDictionary()
)
_PLATFORM_FAMILIES: Final = frozenset(family_name(definition) for definition in DEFINITIONS)


def get_or_create(kind: type[M], definition: Definition) -> M:
    """
    Return the metric of *definition* in this process, created on the first call.

    Raises:
        ValueError: A name is not valid in Prometheus, the name belongs to another metric, or
            `values` names a label that the metric does not have.
    """
    _check(definition)
    with _lock:
        known = _metrics.get(family_name(definition))
        if known is None:
            made = kind(definition)
            _metrics[family_name(definition)] = made
            return made
    if isinstance(known, kind) and known.definition == definition:
        return known
    raise ValueError(f"{definition.name!r} is already the name of another metric")


def custom_definitions() -> list[Definition]:
    """Return the definitions of the metrics made by `get_or_create` that are still in use."""
    with _lock:
        return [metric.definition for metric in _metrics.values()]


def _check(definition: Definition) -> None:
    name = definition.name
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a valid metric name")
    if definition.kind == "counter" and not name.endswith("_total"):
        raise ValueError(f"a counter's name must end in _total, {name!r} does not")
    if definition.kind != "counter" and name.endswith(_SUFFIXES):
        raise ValueError(f"{name!r} has the suffix of a sample of another kind of metric")
    if family_name(definition) in _PLATFORM_FAMILIES or any(
        family_name(definition) + suffix in _PLATFORM_FAMILIES for suffix in _SUFFIXES
    ):
        raise ValueError(f"{name!r} is a metric of the platform")
    for label in definition.labels:
        if not _LABEL.fullmatch(label) or label == "le":
            raise ValueError(f"{label!r} is not a valid label name")
    if len(set(definition.labels)) < len(definition.labels):
        raise ValueError("a label name is repeated")
    if definition.values.keys() - set(definition.labels):
        raise ValueError("values are given for a label that the metric does not have")
    if definition.kind == "histogram" and (
        not definition.buckets or sorted(set(definition.buckets)) != list(definition.buckets)
    ):
        raise ValueError("buckets must be increasing numbers")
