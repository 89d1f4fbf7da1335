"""One series: where its totals are, and how they are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import NamedTuple

from prometheus_client.utils import floatToGoString

from atom_platform.metrics.samples import Exemplar, Identity, Labels, Sample, labels_of

__all__ = ["Role", "Series", "Shape", "label_text", "value_text"]

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
    parts = [f'{name}="{_escaped(value)}"' for name, value in sorted(labels)]
    return "{" + ",".join(parts) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


class _Frame(NamedTuple):
    """
    The text around the values of labels of certain names, twice `%`-formatted before it is text.

    Attributes:
        before: Of a bucket's line, what precedes its bound.
        after: What follows it.
        others: The lines that are no buckets'.
        first: How many of the labels come before the bound.
    """

    before: str
    after: str
    others: str
    first: int


class Shape:
    """
    What the series of a family that have the same roles have in common.

    Attributes:
        roles: In the order of the lines, buckets first by their bounds; then what has no line.
        shown: How many have one.
        bounds: The upper bounds of the buckets.
        height: How many lines there are.
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
        self.height = len(self.bounds) + len(self._names)
        self._bounds = [value_text(bound) for bound in self.bounds]
        self._bound_labels = [f'le="{bound}"' for bound in self._bounds]
        self._frames: dict[tuple[str, ...], _Frame] = {}

    def lines(self, labels: Labels) -> list[tuple[str, Labels]]:
        """Return name and labels of each line of the series of *labels*."""
        lines = [(self._bucket, (*labels, ("le", bound))) for bound in self._bounds]
        return lines + [(name, labels) for name in self._names]

    def template(self, identity: Identity) -> str:
        """Return the text of the series of *identity*, with `%s` for each value."""
        names, values = identity[1::2], identity[2::2]
        frame = self._frames.get(names)
        if frame is None:
            ordered = sorted(labels_of(identity))
            names, values = tuple([n for n, _ in ordered]), tuple([v for _, v in ordered])
            frame = self._frames[names] = self._frame(names)
        text = "".join(values)
        if "\\" in text or '"' in text or "\n" in text or "%" in text:
            values = tuple([_doubled(_escaped(value)) for value in values])
        others = frame.others % (values * len(self._names))
        if not self.bounds:
            return others
        # What lies between two bounds is the same for all of them.
        before, after = frame.before % values[: frame.first], frame.after % values[frame.first :]
        return before + (after + before).join(self._bound_labels) + after + others

    def _frame(self, names: tuple[str, ...]) -> _Frame:
        parts = [f'{_doubled(_doubled(name))}="%s"' for name in names]
        first = sum(name < "le" for name in names)
        bucket = _doubled(_doubled(self._bucket))
        before = "".join([f"{part}," for part in parts[:first]])
        after = "".join([f",{part}" for part in parts[first:]])
        braces = f"{{{','.join(parts)}}}" if parts else ""
        others = [f"{_doubled(_doubled(name))}{braces} %%s\n" for name in self._names]
        return _Frame(f"{bucket}{{{before}", after + "} %%s\n", "".join(others), first)


class Series:
    """
    One label set of a family, with all its cells.

    Args:
        shapes: Those of the family, by roles.

    Attributes:
        stale: Whether its totals may be other ones than its text says.
    """

    __slots__ = ("_first", "_numbers", "_shape", "_shapes", "identity", "stale")

    def __init__(self, identity: Identity, shapes: dict[tuple[Role, ...], Shape]) -> None:
        self.identity = identity
        self.stale = True
        self._shapes = shapes
        self._shape: Shape | None = None
        #: The number of its first total; 0 when they do not lie side by side.
        self._first = 0
        self._numbers: dict[Role, int] | None = None

    @property
    def labels(self) -> Labels:
        return labels_of(self.identity)

    @property
    def numbers(self) -> dict[Role, int]:
        """Which totals are its own, by role."""
        if self._numbers is None:
            roles = self._shape.roles if self._shape else []
            self._numbers = {role: self._first + at for at, role in enumerate(roles)}
        return self._numbers

    @property
    def has_grown(self) -> bool:
        """Whether it was given more cells since its text was asked for."""
        return self._shape is None

    def begin(self, shape: Shape, first: int) -> None:
        """Give a new series its cells, the numbers from *first* on."""
        self._shape, self._first = shape, first

    def add(self, numbers: Mapping[Role, int]) -> None:
        """Give the series more cells."""
        self.numbers.update(numbers)
        self._shape, self.stale = None, True

    def template(self) -> str:
        """Return its lines, with `%s` for each value."""
        return (self._shape or self._prepared()).template(self.identity)

    def values(self, totals: list[float]) -> list[float]:
        """Return what the lines say: buckets hold all below them, and the last is their count."""
        shape = self._shape or self._prepared()
        first, buckets = self._first, len(shape.bounds)
        if first:
            raw = totals[first : first + shape.shown]
        else:
            raw = [totals[self.numbers[role]] for role in shape.roles[: shape.shown]]
        if not buckets:
            return raw
        values = list(accumulate(raw[:buckets]))
        values.append(values[-1])
        values += raw[buckets:]
        return values

    def height(self) -> int:
        """Return how many lines it has."""
        return (self._shape or self._prepared()).height

    def bounds(self) -> list[float]:
        """Return the buckets' upper bounds, in the order of their lines, which come first."""
        return (self._shape or self._prepared()).bounds

    def samples(
        self, totals: list[float], exemplars: dict[float, Exemplar] | None = None
    ) -> list[Sample]:
        """Return the samples of the series, one by one."""
        shape = self._shape or self._prepared()
        values = self.values(totals)
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
            shape = self._shapes[roles] = Shape(self.identity[0], roles)
        numbers = [self.numbers[role] for role in shape.roles[: shape.shown]]
        side_by_side = numbers == list(range(numbers[0], numbers[-1] + 1))
        self._shape, self._first = shape, numbers[0] if side_by_side else 0
        return shape


def _doubled(text: str) -> str:
    return text.replace("%", "%%")
