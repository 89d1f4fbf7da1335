"""
One series and its text, which is kept and made again only when its totals are other ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import accumulate
from math import isnan
from operator import itemgetter
from typing import Any, Final

from prometheus_client.utils import floatToGoString

from atom_platform.metrics.multiprocess.families import Exemplar, Labels, Sample

__all__ = ["Role", "Series", "Shape", "label_text", "value_text"]

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
    return "{" + ",".join(_parts(sorted(labels))) + "}"


def _parts(labels: Iterable[tuple[str, str]]) -> list[str]:
    parts = []
    for name, value in labels:
        escaped = value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
        parts.append(f'{name}="{escaped}"')
    return parts


class Shape:
    """
    What the series of a family that have the same roles have in common.

    Attributes:
        roles: In the order of the lines, buckets first by their bounds; then what has no line.
        shown: How many have one.
        bounds: The upper bounds of the buckets.
    """

    def __init__(self, family: str, roles: Iterable[Role]) -> None:
        known = dict.fromkeys(roles)
        self.bounds = sorted(role for role in known if not isinstance(role, str))
        # A histogram's count is that of its buckets, so that the two never disagree.
        count = f"{family}_count" if self.bounds else None
        others = [role for role in known if isinstance(role, str) and role != count]
        self.roles: list[Role] = [*self.bounds, *others]
        self.shown = len(self.roles)
        if count in known:
            self.roles.append(f"{family}_count")
        self._bucket = f"{family}_bucket"
        self._names = [*([f"{family}_count"] if self.bounds else []), *others]
        self._bounds = [value_text(bound) for bound in self.bounds]
        self._bound_labels = [f'le="{bound}"' for bound in self._bounds]

    def lines(self, labels: Labels) -> list[tuple[str, Labels]]:
        """Return name and labels of each line of the series of *labels*."""
        lines = [(self._bucket, (*labels, ("le", bound))) for bound in self._bounds]
        return lines + [(name, labels) for name in self._names]

    def template(self, labels: Labels) -> str:
        """Return the text of the series of *labels*, with `%s` for each value."""
        parts = _parts(sorted(labels))
        end = (f"{{{','.join(parts)}}} %s\n" if parts else " %s\n").replace("%", "%%")
        end = end[: -len("%%s\n")] + "%s\n"
        text = "".join([_doubled(name) + end for name in self._names])
        if not self.bounds:
            return text
        # What lies between two bounds is the same for all of them.
        before = "".join([f"{part}," for part in parts if part < "le"])
        after = "".join([f",{part}" for part in parts if part >= "le"])
        before = _doubled(f"{self._bucket}{{{before}")
        after = _doubled(after) + "} %s\n"
        return before + (after + before).join(self._bound_labels) + after + text


class Series:
    """
    One label set of a family, with all its cells.

    Args:
        shapes: Those of the family, by roles.

    Attributes:
        stale: Whether its totals may be other ones than its text says.
    """

    __slots__ = (
        "_first",
        "_getter",
        "_numbers",
        "_raw",
        "_shape",
        "_shapes",
        "_template",
        "_text",
        "family",
        "labels",
        "stale",
    )

    def __init__(self, family: str, labels: Labels, shapes: dict[tuple[Role, ...], Shape]) -> None:
        self.family = family
        self.labels = labels
        self.stale = True
        self._shapes = shapes
        self._shape: Shape | None = None
        self._first = 0
        self._numbers: dict[Role, int] | None = None
        self._getter: Any = None
        self._raw: list[float] | tuple[float, ...] | None = None
        self._template = self._text = ""

    @property
    def numbers(self) -> dict[Role, int]:
        """Which totals are its own, by role."""
        if self._numbers is None:
            roles = self._shape.roles if self._shape else []
            self._numbers = {role: self._first + at for at, role in enumerate(roles)}
        return self._numbers

    def begin(self, shape: Shape, first: int) -> None:
        """Give a new series its cells, the numbers from *first* on."""
        self._shape, self._first = shape, first
        self._getter = itemgetter(slice(first, first + shape.shown))

    def add(self, numbers: Mapping[Role, int]) -> None:
        """Give the series more cells."""
        self.numbers.update(numbers)
        self._shape, self.stale = None, True

    def text(self, totals: list[float]) -> str:
        """Return the lines of the series; *totals* are looked at if it is stale."""
        if self.stale:
            self.stale = False
            shape = self._shape or self._prepared()
            raw = self._getter(totals)
            if raw != self._raw:
                if not self._template:
                    self._template = shape.template(self.labels)
                self._raw = raw
                self._text = _written(self._template, _values(raw, len(shape.bounds)))
        return self._text

    def bounds(self) -> list[float]:
        """Return the buckets' upper bounds, in the order of their lines, which come first."""
        return (self._shape or self._prepared()).bounds

    def samples(
        self, totals: list[float], exemplars: dict[float, Exemplar] | None = None
    ) -> list[Sample]:
        """Return the samples of the series, one by one."""
        shape = self._shape or self._prepared()
        values = _values(self._getter(totals), len(shape.bounds))
        found: list[Exemplar | None] = [(exemplars or {}).get(bound) for bound in shape.bounds]
        found += [None] * (len(values) - len(found))
        lines = shape.lines(self.labels)
        return [
            Sample(name, labels, value, exemplar)
            for (name, labels), value, exemplar in zip(lines, values, found, strict=True)
        ]

    def _prepared(self) -> Shape:
        roles = tuple(self.numbers)
        shape = self._shapes.get(roles)
        if shape is None:
            shape = self._shapes[roles] = Shape(self.family, roles)
        numbers = [self.numbers[role] for role in shape.roles[: shape.shown]]
        first, last = numbers[0], numbers[-1]
        if numbers == list(range(first, last + 1)):
            self._getter = itemgetter(slice(first, last + 1))
        else:
            self._getter = itemgetter(*numbers)
        self._shape, self._raw, self._template = shape, None, ""
        return shape


def _values(raw: list[float] | tuple[float, ...], buckets: int) -> list[float]:
    """Return what the lines say: buckets hold all below them, and the last is their count."""
    if not buckets:
        return list(raw)
    values = list(accumulate(raw[:buckets]))
    values.append(values[-1])
    values += raw[buckets:]
    return values


def _written(template: str, values: list[float]) -> str:
    # A float formats as its repr, which is what Go writes, but for NaN and large numbers.
    if min(values) >= 0.0:
        total = sum(values)
        if total < _EXPONENT_FROM or (max(values) < _EXPONENT_FROM and not isnan(total)):
            return template % tuple(values)
    return template % tuple(map(value_text, values))


def _doubled(text: str) -> str:
    return text.replace("%", "%%")
