"""
The series of all counters, histograms and summaries, and a number for each of their values.

Every value that any process counts has a number among those of its kind. The totals of a scrape are
a list in the order of these numbers.
"""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Iterable
from itertools import chain
from typing import Final

from atom_platform.metrics.samples import Labels, SeriesKey
from atom_platform.metrics.scrape.series import SampleId, Series, SeriesLayout
from atom_platform.metrics.scrape.summed_family import SummedFamily
from atom_platform.metrics.storage.client_format import CorruptFileError, Key, parse_key
from atom_platform.metrics.storage.columnar_format import (
    parse_line_tail,
    parse_sample_id,
    parse_series_keys,
)

__all__ = ["NUMBERS", "SeriesTable", "split_bound"]

#: The type code of arrays of numbers.
NUMBERS: Final = "i"


class _Numbering:
    """
    The numbers of one kind.

    Attributes:
        owners: Series and family of each number. Number 0 stands for values that are not exposed.
        keys: The number of each prometheus_client key.
        lines: The packed numbers of each line of a columnar file.
    """

    def __init__(self) -> None:
        self.owners: list[tuple[Series, SummedFamily] | None] = [None]
        self.keys: dict[bytes, int] = {}
        self.lines: dict[bytes, bytes] = {}


class _LineTail:
    """
    The text behind the series key of a line, parsed; usually the same in all lines of a family.

    Attributes:
        help: The help text.
        sample_ids: The sample ids in the order of the text.
        layout: How the samples are exposed.
        offsets: The offset of each sample id in the order of exposition.
    """

    def __init__(self, family: str, help_text: str, sample_ids: list[SampleId]) -> None:
        self.help, self.sample_ids = help_text, sample_ids
        self.layout = SeriesLayout(family, sample_ids)
        # Numbers follow the exposed order, so that the totals of a series are one slice.
        at = {sample_id: offset for offset, sample_id in enumerate(self.layout.sample_ids)}
        self.offsets = [at[sample_id] for sample_id in sample_ids]


class SeriesTable:
    """
    All series that were read so far; it only grows.

    Attributes:
        families: The families by name.
    """

    def __init__(self) -> None:
        self.families: dict[str, SummedFamily] = {}
        self._kinds: dict[str, _Numbering] = {}
        self._sample_ids: dict[bytes, SampleId] = {}
        self._tails: dict[tuple[str, bytes], _LineTail] = {}

    def size(self, kind: str) -> int:
        """Return the count of numbers of *kind*, number 0 included."""
        return len(self._numbering(kind).owners)

    def family(self, name: str, kind: str, help_text: str) -> SummedFamily:
        """Return the family, created if it is new. It is exposed even without series."""
        family = self.families.get(name)
        if family is None:
            family = self.families[name] = SummedFamily(name, kind, help_text)
        return family

    def numbers_of_keys(self, kind: str, keys: Iterable[bytes]) -> list[int]:
        """
        Return the number of each of *keys* in prometheus_client's files of *kind*.

        Raises:
            CorruptFileError: One of them is not a valid key. The table is then unchanged.
        """
        known = self._numbering(kind).keys
        keys = list(keys)
        new = [(key, *_split(kind, parse_key(key))) for key in keys if key not in known]
        for key, parsed, labels, sample_id in new:
            family = self.family(parsed.family, kind, parsed.help)
            series_key = (parsed.family, *chain(*labels))
            known[key] = self._numbers_in_series(kind, family, series_key, [sample_id])[0]
        return [known[key] for key in keys]

    def numbers_of_lines(self, kind: str, lines: list[bytes]) -> list[bytes]:
        """
        Return the packed numbers of the values of each of the *lines* of a columnar file.

        Raises:
            CorruptFileError: One of them is not a valid line. The table is then unchanged.
        """
        known = self._numbering(kind).lines
        with contextlib.suppress(KeyError):  # usually another worker has the same lines
            return list(map(known.__getitem__, lines))
        new = [line for line in lines if line not in known]
        for line, (series_key, tail) in zip(new, self._parsed(new), strict=True):
            known[line] = array(NUMBERS, self._start_series(kind, series_key, tail)).tobytes()
        return list(map(known.__getitem__, lines))

    def _parsed(self, lines: list[bytes]) -> list[tuple[SeriesKey, _LineTail]]:
        parts = [line.partition(b"\t") for line in lines]
        series_keys = parse_series_keys([series_key for series_key, _, _ in parts])
        tails = self._tails
        return [
            (series_key, tails.get((series_key[0], text)) or self._tail(series_key[0], text))
            for series_key, (_, _, text) in zip(series_keys, parts, strict=True)
        ]

    def _tail(self, name: str, text: bytes) -> _LineTail:
        help_text, sample_ids = parse_line_tail(text)
        tail = _LineTail(name, help_text, [self._sample_id(sample_id) for sample_id in sample_ids])
        self._tails[name, text] = tail
        return tail

    def _start_series(self, kind: str, series_key: SeriesKey, tail: _LineTail) -> list[int]:
        """Return the numbers of a new line, which usually holds all values of its series."""
        family = self.family(series_key[0], kind, tail.help)
        if family.kind != kind or series_key in family.series:
            return self._numbers_in_series(kind, family, series_key, tail.sample_ids)
        series, owners = family.add_series(series_key), self._numbering(kind).owners
        first, layout = len(owners), tail.layout
        series.begin(layout, first)
        owners += [(series, family)] * len(layout.sample_ids)
        family.stale = True
        return [first + offset for offset in tail.offsets]

    def mark_stale(self, kind: str, numbers: Iterable[int] | None = None) -> None:
        """Mark the series of *numbers*, or all series of *kind*, as having changed totals."""
        if numbers is None:
            for family in self.families.values():
                if family.kind == kind:
                    family.stale = True
                    for series in family.series.values():
                        series.stale = True
            return
        owners = self._numbering(kind).owners
        for number in numbers:
            owner = owners[number]
            if owner is not None:
                owner[0].stale = owner[1].stale = True

    def _numbering(self, kind: str) -> _Numbering:
        found = self._kinds.get(kind)
        if found is None:
            found = self._kinds[kind] = _Numbering()
        return found

    def _numbers_in_series(
        self, kind: str, family: SummedFamily, series_key: SeriesKey, sample_ids: list[SampleId]
    ) -> list[int]:
        """Return the numbers of *sample_ids* of a series, assigning new numbers where needed."""
        if family.kind != kind:
            return [0] * len(sample_ids)  # a name of two kinds: only the first is exposed
        series, owners = family.get_or_add(series_key), self._numbering(kind).owners
        known = series.numbers
        new = dict.fromkeys(sample_id for sample_id in sample_ids if sample_id not in known)
        if new:
            series.add({sample_id: len(owners) + at for at, sample_id in enumerate(new)})
            owners += [(series, family)] * len(new)
            family.stale = True
        return [known[sample_id] for sample_id in sample_ids]

    def _sample_id(self, text: bytes) -> SampleId:
        sample_id = self._sample_ids.get(text)
        if sample_id is None:
            bound, sample = parse_sample_id(text)
            sample_id = self._sample_ids[text] = sample if bound is None else bound
        return sample_id


def _split(kind: str, key: Key) -> tuple[Key, Labels, SampleId]:
    """Return the key, the labels of its series, and which sample of the series it is."""
    labels, bound = split_bound(key) if kind == "histogram" else (key.labels, None)
    return key, labels, key.sample if bound is None else bound


def split_bound(key: Key) -> tuple[Labels, float | None]:
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
