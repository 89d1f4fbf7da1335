"""
The text of some series of a family, kept, and made again where their totals are other ones.

When much has changed, all of it is one `%` over one template; when little has, the lines of that
are put between the others.

A family whose processes' values are added up: its series, and their text in pieces.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right, insort
from itertools import islice
from math import hypot
from typing import Final

from atom_platform.metrics.samples import Identity
from atom_platform.metrics.scrape.series import Role, Series, Shape, value_text

__all__ = ["AddedFamily", "Piece"]

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


#: Series of a piece: as histograms 20 KB of text, worth compressing by itself.
_PIECE: Final = 16
#: From one new series in so many on, the pieces are made anew.
_REBUILD_FROM: Final = 8


class AddedFamily:
    """
    A family whose processes' values are added up.

    Attributes:
        stale: Whether any of its series is, or is new.
    """

    def __init__(self, name: str, kind: str, help_text: str) -> None:
        self.name, self.kind, self.help = name, kind, help_text
        self.series: dict[Identity, Series] = {}
        self.label_names: set[str] = set()
        self.stale = True
        self._shapes: dict[tuple[Role, ...], Shape] = {}
        self._names: set[Identity] = set()
        self._new: list[Series] = []
        self._pieces: list[Piece] = []
        self._texts: list[bytes] = []

    def of(self, identity: Identity) -> Series:
        """Return the series of *identity*, made if it is new."""
        return self.series.get(identity) or self.begin(identity)

    def begin(self, identity: Identity) -> Series:
        """Return the series of *identity*, which is new."""
        series = self.series[identity] = Series(identity, self._shapes)
        self._new.append(series)
        names = identity[1::2]
        if names not in self._names:
            self._names.add(names)
            self.label_names.update(names)
        return series

    def pieces(self) -> list[Piece]:
        """
        Return the series, some at a time, sorted by their labels.

        New ones are put between the others, so that pieces without any stay as they are.
        """
        if self._new and len(self._new) * _REBUILD_FROM > len(self.series):
            series = [self.series[each] for each in sorted(self.series)]
            starts = range(0, len(series), _PIECE)
            self._pieces = [Piece(series[at : at + _PIECE]) for at in starts]
        else:
            for each in self._new:
                self._insert(each)
        self._new = []
        return self._pieces

    def texts(self, totals: list[float]) -> list[bytes]:
        """
        Return the lines of each piece; *totals* are looked at where they may have changed.

        What is as it was is the same object.
        """
        if self.stale:
            self.stale = False
            self._texts = [each.text(totals) for each in self.pieces()]
        return self._texts

    def _insert(self, series: Series) -> None:
        firsts = [piece.series[0].identity for piece in self._pieces]
        at = max(0, bisect_right(firsts, series.identity) - 1)
        piece = self._pieces[at]
        piece.insert(series)
        if len(piece.series) > 2 * _PIECE:
            self._pieces[at : at + 1] = [
                Piece(piece.series[:_PIECE]),
                Piece(piece.series[_PIECE:]),
            ]
