"""
One series and its text, which is kept and made again only when its totals are other ones.
"""

from __future__ import annotations

from itertools import accumulate
from math import isnan
from operator import itemgetter
from typing import Any, Final

from prometheus_client.utils import floatToGoString

from atom_platform.metrics.multiprocess.families import Exemplar, Labels, Sample

__all__ = ["Role", "Series", "label_text", "value_text"]

#: From here on Go writes exponents where Python does not.
_EXPONENT_FROM: Final = 1e6
#: What one cell of a series is: a bucket, by its upper bound, or a sample, by its name.
Role = float | str


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
    """
    One label set of a family, with all its cells.

    Attributes:
        numbers: Which totals are its own, by role.
        stale: Whether its totals may be other ones than its text says.
    """

    __slots__ = (
        "_buckets",
        "_family",
        "_getter",
        "_raw",
        "_template",
        "_text",
        "labels",
        "numbers",
        "stale",
    )

    def __init__(self, family: str, labels: Labels) -> None:
        self._family = family
        self.labels = labels
        self.numbers: dict[Role, int] = {}
        self.stale = True
        self._getter: Any = None
        self._raw: list[float] | tuple[float, ...] | None = None
        self._template = self._text = ""

    def add(self, role: Role, number: int) -> None:
        """Give the series one more cell."""
        self.numbers[role] = number
        self._getter, self.stale = None, True

    def text(self, totals: list[float]) -> str:
        """Return the lines of the series; *totals* are looked at if it is stale."""
        if self.stale:
            self.stale = False
            if self._getter is None:
                self._prepare()
            raw = self._getter(totals)
            if raw != self._raw:
                self._raw = raw
                self._text = self._written(raw)
        return self._text

    def bounds(self) -> list[float]:
        """Return the buckets' upper bounds, in the order of their lines, which come first."""
        return sorted(role for role in self.numbers if not isinstance(role, str))

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

    def _written(self, raw: list[float] | tuple[float, ...]) -> str:
        values = self._values(raw)
        # A float formats as its repr, which is what Go writes, but for NaN and large numbers.
        if values and min(values) >= 0.0:
            total = sum(values)
            if total < _EXPONENT_FROM or (max(values) < _EXPONENT_FROM and not isnan(total)):
                return self._template % tuple(values)
        return self._template % tuple(map(value_text, values))

    def _lines(self) -> list[tuple[str, Labels, float | None]]:
        lines: list[tuple[str, Labels, float | None]] = []
        bounds = self.bounds()
        if bounds:
            bucket = f"{self._family}_bucket"
            for bound in bounds:
                lines.append((bucket, (*self.labels, ("le", value_text(bound))), bound))
            lines.append((f"{self._family}_count", self.labels, None))
        lines += [(name, self.labels, None) for name in self._shown_others()]
        return lines

    def _shown_others(self) -> list[str]:
        # A histogram's count is that of its buckets, so that the two never disagree.
        count = f"{self._family}_count" if self.bounds() else None
        return [role for role in self.numbers if isinstance(role, str) and role != count]

    def _values(self, raw: list[float] | tuple[float, ...]) -> list[float]:
        buckets = self._buckets
        if not buckets:
            return list(raw)
        values = list(accumulate(raw[:buckets]))
        values.append(values[-1])
        values += raw[buckets:]
        return values

    def _prepare(self) -> None:
        bounds: list[Role] = [*self.bounds()]
        numbers = [self.numbers[role] for role in [*bounds, *self._shown_others()]]
        first = numbers[0]
        if numbers == list(range(first, first + len(numbers))):
            self._getter = itemgetter(slice(first, first + len(numbers)))
        else:
            self._getter = itemgetter(*numbers)
        self._buckets = len(bounds)
        self._raw = None
        self._template = "".join(
            f"{name}{label_text(labels)}".replace("%", "%%") + " %s\n"
            for name, labels, _ in self._lines()
        )
