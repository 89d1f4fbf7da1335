"""A family whose processes' values are added up: its series, and their text in pieces."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from atom_platform.metrics.multiprocess.families import Identity
from atom_platform.metrics.multiprocess.pieces import Piece
from atom_platform.metrics.multiprocess.series import Role, Series, Shape

__all__ = ["AddedFamily"]

#: Series of a piece: as histograms 20 KB of text, worth compressing by itself.
_PIECE: Final = 16
#: From one new series in so many on, the pieces are made anew.
_WHOLE_FROM: Final = 8


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
        if self._new and len(self._new) * _WHOLE_FROM > len(self.series):
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
