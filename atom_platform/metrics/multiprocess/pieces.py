"""
The text of some series of a family, kept, and made again where their totals are other ones.

When much has changed, all of it is one `%` over one template; when little has, the lines of that
are put between the others.
"""

from __future__ import annotations

from array import array
from bisect import insort
from itertools import islice
from math import hypot
from typing import Final

from atom_platform.metrics.multiprocess.series import Series, value_text

__all__ = ["Piece"]

#: From here on Go writes exponents where Python does not.
_EXPONENT_FROM: Final = 1e6
#: From one changed series in so many on, all of them are written.
_WHOLE_FROM: Final = 2


class Piece:
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
        insort(self.series, series, key=lambda each: each.identity)
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
            end = begin + each.height()
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
