"""
The series of counters, histograms and summaries: their numbering, and their text.

Every cell that any process counts into has a number; a scrape is a list of totals in that order. A
series' text is kept, and made again only when its totals are other than at the last scrape.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from math import isnan
from operator import itemgetter
from typing import Any, Final

from prometheus_client.utils import floatToGoString

from atom_platform.metrics.multiprocess.families import Exemplar, Labels, Sample
from atom_platform.metrics.multiprocess.format import CorruptFileError, Key, parse_key

__all__ = ["AddedFamily", "Series", "SeriesTable", "label_text", "value_text", "without_bound"]

#: From here on Go writes exponents where Python does not.
_EXPONENT_FROM: Final = 1e6


def value_text(value: float) -> str:
    """Return *value* as the text formats write it."""
    text: str = floatToGoString(value)  # type: ignore[no-untyped-call]
    return text


def label_text(labels: Labels) -> str:
    """Return the braces of a sample's line, or nothing without labels."""
    if not labels:
        return ""
    parts = []
    for name, value in sorted(labels):
        escaped = value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
        parts.append(f'{name}="{escaped}"')
    return "{" + ",".join(parts) + "}"


class Series:
    """One label set of a family, with all its cells."""

    __slots__ = ("_bounds", "_family", "_getter", "_others", "_raw", "_template", "_text", "labels")

    def __init__(self, family: str, labels: Labels) -> None:
        self._family = family
        self.labels = labels
        self._bounds: dict[float, int] = {}
        self._others: dict[str, int] = {}
        self._getter: Any = None
        self._raw: tuple[float, ...] | None = None
        self._template = self._text = ""

    def number(self, sample: str, bound: float | None, unused: int) -> int:
        """Return the number of the bucket *bound*, or else of *sample*: *unused* if it is new."""
        if bound is not None:
            number = self._bounds.setdefault(bound, unused)
        else:
            number = self._others.setdefault(sample, unused)
        if number == unused:
            self._getter = self._raw = None
        return number

    def text(self, totals: list[float]) -> str:
        """Return the lines of the series."""
        if self._getter is None:
            self._prepare()
        raw = self._getter(totals)
        if raw != self._raw:
            self._raw = raw
            values = self._values(raw)
            # A float formats as its repr, which is what Go writes, but for NaN and large numbers.
            if min(values) >= 0.0 and max(values) < _EXPONENT_FROM and not isnan(sum(values)):
                self._text = self._template % tuple(values)
            else:
                self._text = self._template % tuple(map(value_text, values))
        return self._text

    def bounds(self) -> list[float]:
        """Return the buckets' upper bounds, in the order of their lines, which come first."""
        return sorted(self._bounds)

    def samples(
        self, totals: list[float], exemplars: dict[float, Exemplar] | None = None
    ) -> list[Sample]:
        """Return the samples of the series, one by one."""
        if self._getter is None:
            self._prepare()
        values = self._values(self._getter(totals))
        return [
            Sample(name, labels, value, (exemplars or {}).get(bound) if bound is not None else None)
            for (name, labels, bound), value in zip(self._lines(), values, strict=True)
        ]

    def _lines(self) -> list[tuple[str, Labels, float | None]]:
        lines: list[tuple[str, Labels, float | None]] = []
        if self._bounds:
            bucket = f"{self._family}_bucket"
            for bound in sorted(self._bounds):
                lines.append((bucket, (*self.labels, ("le", value_text(bound))), bound))
            lines.append((f"{self._family}_count", self.labels, None))
        lines += [(name, self.labels, None) for name in self._shown_others()]
        return lines

    def _shown_others(self) -> list[str]:
        # A histogram's count is that of its buckets, so that the two never disagree.
        count = f"{self._family}_count" if self._bounds else None
        return [name for name in self._others if name != count]

    def _values(self, raw: tuple[float, ...]) -> list[float]:
        buckets = len(self._bounds)
        if not buckets:
            return list(raw[1:])
        values = list(accumulate(raw[1 : buckets + 1], initial=0.0))
        values.append(values[-1])
        values += raw[buckets + 1 :]
        return values[1:]

    def _prepare(self) -> None:
        numbers = [self._bounds[bound] for bound in sorted(self._bounds)]
        numbers += [self._others[name] for name in self._shown_others()]
        # Twice the first: of a single place, itemgetter would make no tuple.
        self._getter = itemgetter(numbers[0], *numbers) if numbers else lambda totals: (0.0,)
        self._raw = None
        self._template = "".join(
            f"{name}{label_text(labels)}".replace("%", "%%") + " %s\n"
            for name, labels, _ in self._lines()
        )


class AddedFamily:
    """A family whose processes' values are added up."""

    __slots__ = ("_sorted", "help", "kind", "label_names", "name", "series")

    def __init__(self, name: str, kind: str, help_text: str) -> None:
        self.name, self.kind, self.help = name, kind, help_text
        self.series: dict[Labels, Series] = {}
        self.label_names: set[str] = set()
        self._sorted: list[Series] = []

    def of(self, labels: Labels) -> Series:
        """Return the series of *labels*, made if it is new."""
        series = self.series.get(labels)
        if series is None:
            series = self.series[labels] = Series(self.name, labels)
            self.label_names.update(name for name, _ in labels)
            self._sorted = []
        return series

    def in_order(self) -> list[Series]:
        """Return the series, sorted by their labels."""
        if not self._sorted:
            self._sorted = [series for _, series in sorted(self.series.items())]
        return self._sorted


class SeriesTable:
    """Every cell that was ever seen, by number; it only grows."""

    def __init__(self) -> None:
        self.families: dict[str, AddedFamily] = {}
        #: Number 0 is nobody's: cells that cannot be exposed are added up there.
        self.size = 1
        self._numbers: dict[str, dict[bytes, int]] = {}

    def family(self, name: str, kind: str, help_text: str) -> AddedFamily:
        """Return the family, made if it is new: exposed from then on, with or without series."""
        family = self.families.get(name)
        if family is None:
            family = self.families[name] = AddedFamily(name, kind, help_text)
        return family

    def numbers(self, kind: str, keys: Iterable[bytes]) -> list[int]:
        """
        Return the numbers of the cells of *keys* in files of *kind*.

        Raises:
            CorruptFileError: One of them is not a key; the table has then learnt none of them.
        """
        known = self._numbers.setdefault(kind, {})
        keys = list(keys)
        new = [(key, *_split(kind, parse_key(key))) for key in keys if key not in known]
        for key, parsed, labels, bound in new:
            known[key] = self._number(kind, parsed, labels, bound)
        return [known[key] for key in keys]

    def _number(self, kind: str, key: Key, labels: Labels, bound: float | None) -> int:
        family = self.family(key.family, kind, key.help)
        if family.kind != kind:
            return 0  # two metrics of one name: the first is the one that is exposed
        number = family.of(labels).number(key.sample, bound, self.size)
        if number == self.size:
            self.size += 1
        return number


def _split(kind: str, key: Key) -> tuple[Key, Labels, float | None]:
    return (key, *without_bound(key)) if kind == "histogram" else (key, key.labels, None)


def without_bound(key: Key) -> tuple[Labels, float | None]:
    """
    Return the labels of a histogram's key without its bucket, and the bucket's upper bound.

    Raises:
        CorruptFileError: The bound is no number.
    """
    for name, value in key.labels:
        if name == "le":
            try:
                bound = float(value)
            except ValueError as error:
                raise CorruptFileError("a bound that is no number") from error
            return tuple(item for item in key.labels if item[0] != "le"), bound
    return key.labels, None
