"""
A family whose values are summed over all processes, and its text in chunks.

A chunk keeps its text between scrapes. If most of its totals changed, all of it is formatted with
one `%` over one template. If few changed, only their lines are replaced.
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

#: From this value on, Go writes an exponent where Python does not.
_EXPONENT_FROM: Final = 1e6
#: If one series in so many changed, all of them are formatted again.
_WHOLE_FROM: Final = 2


class TextChunk:
    """
    The text of some successive series of a family.

    Attributes:
        series: The series in the order of their text.
    """

    __slots__ = ("_template", "_text", "_values", "series")

    def __init__(self, series: list[Series]) -> None:
        self.series = series
        self._template = ""
        self._text = b""
        #: The values in the text; None after some of them were replaced.
        self._values: array[float] | None = None

    def insert(self, series: Series) -> None:
        """Insert a new series in the order of its key."""
        insort(self.series, series, key=lambda each: each.series_key)
        self._template = ""

    def text(self, totals: list[float]) -> bytes:
        """
        Return the text, formatted again for series that are stale.

        Unchanged text is the same object as before.
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
        """Return the text with all values formatted again."""
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
        """Return the text with only the lines of *stale* series replaced."""
        values: list[float] = []
        for each in stale:
            values += each.values(totals)
        text = _filled("".join([each.template() for each in stale]), values)
        new = iter(text.split(b"\n"))  # newlines in labels are escaped
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
    """Return *template* with *values* in the number format of Go."""
    # The repr of a float is what Go writes, except for NaN, negative and large values.
    if hypot(*values) < _EXPONENT_FROM:
        return (template % tuple(values)).encode()
    texts = [each if 0.0 <= each < _EXPONENT_FROM else value_text(each) for each in values]
    return (template % tuple(texts)).encode()


#: Series of a chunk. As histograms they have 20 KB of text, enough to compress it by itself.
_SERIES_PER_CHUNK: Final = 16
#: If one series in so many is new, all chunks are built again.
_REBUILD_FROM: Final = 8


class SummedFamily:
    """
    A counter, histogram or summary whose values are summed over all processes.

    Attributes:
        series: The series by key.
        label_names: The names of all labels of all series.
        stale: Whether any of its series is stale or new.
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
        """Return the series of *series_key*, added if it is new."""
        return self.series.get(series_key) or self.add_series(series_key)

    def add_series(self, series_key: SeriesKey) -> Series:
        """Add the series of *series_key*, and return it."""
        series = self.series[series_key] = Series(series_key, self._layouts)
        self._new.append(series)
        names = series_key[1::2]
        if names not in self._names:
            self._names.add(names)
            self.label_names.update(names)
        return series

    def chunks(self) -> list[TextChunk]:
        """
        Return the chunks of all series, sorted by labels.

        A few new series are inserted, so that chunks without new series remain as they are.
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
        Return the text of each chunk, formatted again where *totals* may have changed.

        Unchanged text is the same object as before.
        """
        if self.stale:
            self.stale = False
            self._texts = [each.text(totals) for each in self.chunks()]
        return self._texts

    def _insert(self, series: Series) -> None:
        """Insert a new series into its chunk, and split the chunk if it is too long."""
        firsts = [chunk.series[0].series_key for chunk in self._chunks]
        at = max(0, bisect_right(firsts, series.series_key) - 1)
        chunk = self._chunks[at]
        chunk.insert(series)
        if len(chunk.series) > 2 * _SERIES_PER_CHUNK:
            self._chunks[at : at + 1] = [
                TextChunk(chunk.series[:_SERIES_PER_CHUNK]),
                TextChunk(chunk.series[_SERIES_PER_CHUNK:]),
            ]
