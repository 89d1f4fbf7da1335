"""
The text of some series of a family, kept, and made again where their totals are other ones.

When much has changed, all of it is one `%` over one template; when little has, the lines of that
are put between the others.

A family whose processes' values are added up: its series, and their text in chunks.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right, insort
from itertools import islice
from math import hypot
from typing import Final

from atom_platform.metrics.samples import SeriesKey
from atom_platform.metrics.scrape.series import SampleId, Series, SeriesLayout, value_text

__all__ = ["SummedFamily", "TextChunk"]

#: From here on Go writes exponents where Python does not.
_EXPONENT_FROM: Final = 1e6
#: From one changed series in so many on, all of them are written.
_WHOLE_FROM: Final = 2


class TextChunk:
    """
    Series that follow each other.

    Attributes:
        series: In the order of their text.
    """

    __slots__ = ("_template", "_text", "_values", "series")

    def __init__(self, series: list[Series]) -> None:
        self.series = series
        self._template = ""
        self._text = b""
        #: What the text says; None when only some of it was written last.
        self._values: array[float] | None = None

    def insert(self, series: Series) -> None:
        """Give a new series its place."""
        insort(self.series, series, key=lambda each: each.series_key)
        self._template = ""

    def text(self, totals: list[float]) -> bytes:
        """
        Return the lines; *totals* are looked at for series that are stale.

        What is as it was is the same object.
        """
        stale = [each for each in self.series if each.stale]
        if stale or not self._text:
            if any(each.has_grown for each in stale):
                self._template = ""
            few = self._template and len(stale) * _WHOLE_FROM <= len(self.series)
            text = self._patched(totals, stale) if few else self._written(totals)
            for each in stale:
                each.stale = False
            if text != self._text:
                self._text = text
        return self._text

    def _written(self, totals: list[float]) -> bytes:
        values: list[float] = []
        for each in self.series:
            values += each.values(totals)
        now = array("d", values)
        if not self._template:
            self._template = "".join([each.template() for each in self.series])
        elif now == self._values:
            return self._text
        self._values = now
        return _filled(self._template, values)

    def _patched(self, totals: list[float], stale: list[Series]) -> bytes:
        values: list[float] = []
        for each in stale:
            values += each.values(totals)
        text = _filled("".join([each.template() for each in stale]), values)
        new = iter(text.split(b"\n"))  # labels have theirs escaped
        lines = self._text.split(b"\n")
        begin = 0
        for each in self.series:
            end = begin + each.line_count()
            if each.stale:
                lines[begin:end] = islice(new, end - begin)
            begin = end
        self._values = None
        return b"\n".join(lines)


def _filled(template: str, values: list[float]) -> bytes:
    # A float formats as its repr, which is what Go writes, but for NaN and large numbers.
    if hypot(*values) < _EXPONENT_FROM:
        return (template % tuple(values)).encode()
    texts = [each if 0.0 <= each < _EXPONENT_FROM else value_text(each) for each in values]
    return (template % tuple(texts)).encode()


#: Series of a chunk: as histograms 20 KB of text, worth compressing by itself.
_SERIES_PER_CHUNK: Final = 16
#: From one new series in so many on, the chunks are made anew.
_REBUILD_FROM: Final = 8


class SummedFamily:
    """
    A family whose processes' values are added up.

    Attributes:
        stale: Whether any of its series is, or is new.
    """

    def __init__(self, name: str, kind: str, help_text: str) -> None:
        self.name, self.kind, self.help = name, kind, help_text
        self.series: dict[SeriesKey, Series] = {}
        self.label_names: set[str] = set()
        self.stale = True
        self._layouts: dict[tuple[SampleId, ...], SeriesLayout] = {}
        self._names: set[SeriesKey] = set()
        self._new: list[Series] = []
        self._chunks: list[TextChunk] = []
        self._texts: list[bytes] = []

    def get_or_add(self, series_key: SeriesKey) -> Series:
        """Return the series of *series_key*, made if it is new."""
        return self.series.get(series_key) or self.add_series(series_key)

    def add_series(self, series_key: SeriesKey) -> Series:
        """Return the series of *series_key*, which is new."""
        series = self.series[series_key] = Series(series_key, self._layouts)
        self._new.append(series)
        names = series_key[1::2]
        if names not in self._names:
            self._names.add(names)
            self.label_names.update(names)
        return series

    def chunks(self) -> list[TextChunk]:
        """
        Return the series, some at a time, sorted by their labels.

        New ones are put between the others, so that chunks without any stay as they are.
        """
        if self._new and len(self._new) * _REBUILD_FROM > len(self.series):
            series = [self.series[each] for each in sorted(self.series)]
            starts = range(0, len(series), _SERIES_PER_CHUNK)
            self._chunks = [TextChunk(series[at : at + _SERIES_PER_CHUNK]) for at in starts]
        else:
            for each in self._new:
                self._insert(each)
        self._new = []
        return self._chunks

    def texts(self, totals: list[float]) -> list[bytes]:
        """
        Return the lines of each chunk; *totals* are looked at where they may have changed.

        What is as it was is the same object.
        """
        if self.stale:
            self.stale = False
            self._texts = [each.text(totals) for each in self.chunks()]
        return self._texts

    def _insert(self, series: Series) -> None:
        firsts = [chunk.series[0].series_key for chunk in self._chunks]
        at = max(0, bisect_right(firsts, series.series_key) - 1)
        chunk = self._chunks[at]
        chunk.insert(series)
        if len(chunk.series) > 2 * _SERIES_PER_CHUNK:
            self._chunks[at : at + 1] = [
                TextChunk(chunk.series[:_SERIES_PER_CHUNK]),
                TextChunk(chunk.series[_SERIES_PER_CHUNK:]),
            ]
