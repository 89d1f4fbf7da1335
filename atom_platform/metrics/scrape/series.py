"""One series: the numbers of its totals, and the text of its lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import NamedTuple

from prometheus_client.utils import floatToGoString

from atom_platform.metrics.samples import Exemplar, Labels, Sample, SeriesKey, labels_of

__all__ = ["SampleId", "Series", "SeriesLayout", "label_text", "value_text"]

#: Identifies a sample within its series: a bucket by its upper bound, others by their name.
SampleId = float | str


def value_text(value: float) -> str:
    """Return *value* in the number format of the exposition formats, which is that of Go."""
    text: str = floatToGoString(value)  # type: ignore[no-untyped-call]
    return text


def label_text(labels: Labels) -> str:
    """Return the labels of a sample in braces, or an empty text without labels."""
    if not labels:
        return ""
    parts = [f'{name}="{_escaped(value)}"' for name, value in sorted(labels)]
    return "{" + ",".join(parts) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


class _LineTemplates(NamedTuple):
    """
    The text of a series around the values of its labels.

    It is formatted twice with `%`: once with the label values of a series, and at each scrape with
    the values of the samples. So `%` of a name appears four times in it.

    Attributes:
        before: The part of a bucket's line before its bound.
        after: The part of a bucket's line after its bound.
        others: The lines of the other samples.
        first: The number of labels before `le` in a bucket's line.
    """

    before: str
    after: str
    others: str
    first: int


class SeriesLayout:
    """
    The lines of all series of a family that have the same sample ids.

    Attributes:
        sample_ids: Buckets by their bounds, then the others; at the end the one without a line.
        shown: The number of sample ids with a line.
        bounds: The upper bounds of the buckets.
        line_count: The number of lines.
    """

    def __init__(self, family: str, sample_ids: Iterable[SampleId]) -> None:
        known = dict.fromkeys(sample_ids)
        self.bounds = sorted(sample_id for sample_id in known if not isinstance(sample_id, str))
        # The count of a histogram is the sum of its buckets, so that the two never disagree.
        count = f"{family}_count" if self.bounds else None
        others = [
            sample_id for sample_id in known if isinstance(sample_id, str) and sample_id != count
        ]
        self.sample_ids: list[SampleId] = [*self.bounds, *others]
        self.shown = len(self.sample_ids)
        if count in known:
            self.sample_ids.append(f"{family}_count")
        self._bucket = f"{family}_bucket"
        self._names = [*([f"{family}_count"] if self.bounds else []), *others]
        self.line_count = len(self.bounds) + len(self._names)
        self._bounds = [value_text(bound) for bound in self.bounds]
        self._bound_labels = [f'le="{bound}"' for bound in self._bounds]
        self._templates: dict[tuple[str, ...], _LineTemplates] = {}

    def lines(self, labels: Labels) -> list[tuple[str, Labels]]:
        """Return name and labels of each line of the series with *labels*."""
        lines = [(self._bucket, (*labels, ("le", bound))) for bound in self._bounds]
        return lines + [(name, labels) for name in self._names]

    def template(self, series_key: SeriesKey) -> str:
        """Return the text of the series, with `%s` for each value of a sample."""
        names, values = series_key[1::2], series_key[2::2]
        templates = self._templates.get(names)
        if templates is None:
            ordered = sorted(labels_of(series_key))
            names, values = tuple([n for n, _ in ordered]), tuple([v for _, v in ordered])
            templates = self._templates[names] = self._make_templates(names)
        text = "".join(values)
        if "\\" in text or '"' in text or "\n" in text or "%" in text:
            values = tuple([_doubled(_escaped(value)) for value in values])
        others = templates.others % (values * len(self._names))
        if not self.bounds:
            return others
        # The text between two bounds is the same for all buckets.
        before, after = (
            templates.before % values[: templates.first],
            templates.after % values[templates.first :],
        )
        return before + (after + before).join(self._bound_labels) + after + others

    def _make_templates(self, names: tuple[str, ...]) -> _LineTemplates:
        parts = [f'{_doubled(_doubled(name))}="%s"' for name in names]
        first = sum(name < "le" for name in names)
        bucket = _doubled(_doubled(self._bucket))
        before = "".join([f"{part}," for part in parts[:first]])
        after = "".join([f",{part}" for part in parts[first:]])
        braces = f"{{{','.join(parts)}}}" if parts else ""
        others = [f"{_doubled(_doubled(name))}{braces} %%s\n" for name in self._names]
        return _LineTemplates(f"{bucket}{{{before}", after + "} %%s\n", "".join(others), first)


class Series:
    """
    One label set of a family.

    Args:
        layouts: The layouts of the family, by sample ids.

    Attributes:
        stale: Whether its totals may differ from those in its text.
    """

    __slots__ = ("_first", "_layout", "_layouts", "_numbers", "series_key", "stale")

    def __init__(
        self, series_key: SeriesKey, layouts: dict[tuple[SampleId, ...], SeriesLayout]
    ) -> None:
        self.series_key = series_key
        self.stale = True
        self._layouts = layouts
        self._layout: SeriesLayout | None = None
        #: The number of its first total; 0 if its numbers are not consecutive.
        self._first = 0
        self._numbers: dict[SampleId, int] | None = None

    @property
    def labels(self) -> Labels:
        return labels_of(self.series_key)

    @property
    def numbers(self) -> dict[SampleId, int]:
        """The number of each of its totals, by sample id."""
        if self._numbers is None:
            sample_ids = self._layout.sample_ids if self._layout else []
            self._numbers = {sample_id: self._first + at for at, sample_id in enumerate(sample_ids)}
        return self._numbers

    @property
    def has_grown(self) -> bool:
        """Whether it was given more numbers since its layout was determined."""
        return self._layout is None

    def begin(self, layout: SeriesLayout, first: int) -> None:
        """Assign consecutive numbers from *first* on to a new series."""
        self._layout, self._first = layout, first

    def add(self, numbers: Mapping[SampleId, int]) -> None:
        """Assign more numbers to the series."""
        self.numbers.update(numbers)
        self._layout, self.stale = None, True

    def template(self) -> str:
        """Return its lines, with `%s` for each value."""
        return (self._layout or self._prepared()).template(self.series_key)

    def values(self, totals: list[float]) -> list[float]:
        """Return the value of each line. Buckets are cumulative; the last one is the count."""
        layout = self._layout or self._prepared()
        first, buckets = self._first, len(layout.bounds)
        if first:
            raw = totals[first : first + layout.shown]
        else:
            raw = [
                totals[self.numbers[sample_id]] for sample_id in layout.sample_ids[: layout.shown]
            ]
        if not buckets:
            return raw
        values = list(accumulate(raw[:buckets]))
        values.append(values[-1])
        values += raw[buckets:]
        return values

    def line_count(self) -> int:
        """Return the number of its lines."""
        return (self._layout or self._prepared()).line_count

    def bounds(self) -> list[float]:
        """Return the upper bounds of its buckets in the order of their lines, which come first."""
        return (self._layout or self._prepared()).bounds

    def samples(
        self, totals: list[float], exemplars: dict[float, Exemplar] | None = None
    ) -> list[Sample]:
        """Return the samples of the series, one by one."""
        layout = self._layout or self._prepared()
        values = self.values(totals)
        found: list[Exemplar | None] = [(exemplars or {}).get(bound) for bound in layout.bounds]
        found += [None] * (len(values) - len(found))
        lines = layout.lines(self.labels)
        return [
            Sample(name, labels, value, exemplar)
            for (name, labels), value, exemplar in zip(lines, values, found, strict=True)
        ]

    def _prepared(self) -> SeriesLayout:
        """Determine the layout, and whether the numbers are consecutive."""
        sample_ids = tuple(self.numbers)
        layout = self._layouts.get(sample_ids)
        if layout is None:
            layout = self._layouts[sample_ids] = SeriesLayout(self.series_key[0], sample_ids)
        numbers = [self.numbers[sample_id] for sample_id in layout.sample_ids[: layout.shown]]
        side_by_side = numbers == list(range(numbers[0], numbers[-1] + 1))
        self._layout, self._first = layout, numbers[0] if side_by_side else 0
        return layout


def _doubled(text: str) -> str:
    return text.replace("%", "%%")
