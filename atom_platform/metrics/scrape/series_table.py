"""
The numbering of what is added up: counters, histograms and summaries.

Every cell that any process counts into has a number among those of its kind; a scrape is a list of
totals in that order.
"""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Iterable
from itertools import chain
from typing import Final

from atom_platform.metrics.samples import Identity, Labels
from atom_platform.metrics.scrape.series import Role, Series, Shape
from atom_platform.metrics.scrape.summed_family import AddedFamily
from atom_platform.metrics.storage.client_format import CorruptFileError, Key, parse_key
from atom_platform.metrics.storage.columnar_format import parse_identities, parse_rest, parse_role

__all__ = ["NUMBERS", "SeriesTable", "without_bound"]

#: How numbers are kept in arrays.
NUMBERS: Final = "i"


class _Numbering:
    """The cells of one kind."""

    def __init__(self) -> None:
        #: Number 0 is nobody's: cells that cannot be exposed go there.
        self.owners: list[tuple[Series, AddedFamily] | None] = [None]
        self.keys: dict[bytes, int] = {}
        #: The numbers of each line, packed as `NUMBERS` are: most workers have the same lines.
        self.lines: dict[bytes, bytes] = {}


class _Rest:
    """What follows the identity in a line; mostly the same in all lines of a family."""

    def __init__(self, family: str, help_text: str, roles: list[Role]) -> None:
        self.help, self.roles = help_text, roles
        self.shape = Shape(family, roles)
        # In the order of the lines, so that the totals of a series are one slice.
        at = {role: offset for offset, role in enumerate(self.shape.roles)}
        self.offsets = [at[role] for role in roles]


class SeriesTable:
    """Every cell that was ever seen, by kind and number; it only grows."""

    def __init__(self) -> None:
        self.families: dict[str, AddedFamily] = {}
        self._kinds: dict[str, _Numbering] = {}
        self._roles: dict[bytes, Role] = {}
        self._rests: dict[tuple[str, bytes], _Rest] = {}

    def size(self, kind: str) -> int:
        """Return how many numbers there are of *kind*, 0 included."""
        return len(self._numbering(kind).owners)

    def family(self, name: str, kind: str, help_text: str) -> AddedFamily:
        """Return the family, made if it is new: exposed from then on, with or without series."""
        family = self.families.get(name)
        if family is None:
            family = self.families[name] = AddedFamily(name, kind, help_text)
        return family

    def numbers(self, kind: str, keys: Iterable[bytes]) -> list[int]:
        """
        Return the numbers of the cells of *keys* in prometheus_client's files of *kind*.

        Raises:
            CorruptFileError: One of them is not a key; the table has then learnt none of them.
        """
        known = self._numbering(kind).keys
        keys = list(keys)
        new = [(key, *_split(kind, parse_key(key))) for key in keys if key not in known]
        for key, parsed, labels, role in new:
            family = self.family(parsed.family, kind, parsed.help)
            identity = (parsed.family, *chain(*labels))
            known[key] = self._numbered(kind, family, identity, [role])[0]
        return [known[key] for key in keys]

    def of_lines(self, kind: str, lines: list[bytes]) -> list[bytes]:
        """
        Return the numbers of the cells that each of the *lines* of a tally names, packed.

        Raises:
            CorruptFileError: One of them is not a line; the table has then learnt none of them.
        """
        known = self._numbering(kind).lines
        with contextlib.suppress(KeyError):  # mostly another worker had them all
            return list(map(known.__getitem__, lines))
        new = [line for line in lines if line not in known]
        for line, (identity, rest) in zip(new, self._parsed(new), strict=True):
            known[line] = array(NUMBERS, self._begun(kind, identity, rest)).tobytes()
        return list(map(known.__getitem__, lines))

    def _parsed(self, lines: list[bytes]) -> list[tuple[Identity, _Rest]]:
        parts = [line.partition(b"\t") for line in lines]
        identities = parse_identities([identity for identity, _, _ in parts])
        rests = self._rests
        return [
            (identity, rests.get((identity[0], text)) or self._rest(identity[0], text))
            for identity, (_, _, text) in zip(identities, parts, strict=True)
        ]

    def _rest(self, name: str, text: bytes) -> _Rest:
        help_text, roles = parse_rest(text)
        rest = _Rest(name, help_text, [self._role(role) for role in roles])
        self._rests[name, text] = rest
        return rest

    def _begun(self, kind: str, identity: Identity, rest: _Rest) -> list[int]:
        """Return the numbers of a line, which mostly is all that there is of its series."""
        family = self.family(identity[0], kind, rest.help)
        if family.kind != kind or identity in family.series:
            return self._numbered(kind, family, identity, rest.roles)
        series, owners = family.begin(identity), self._numbering(kind).owners
        first, shape = len(owners), rest.shape
        series.begin(shape, first)
        owners += [(series, family)] * len(shape.roles)
        family.stale = True
        return [first + offset for offset in rest.offsets]

    def mark(self, kind: str, numbers: Iterable[int] | None = None) -> None:
        """Have the series of *numbers* look at their totals, or all of *kind*."""
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

    def _numbered(
        self, kind: str, family: AddedFamily, identity: Identity, roles: list[Role]
    ) -> list[int]:
        if family.kind != kind:
            return [0] * len(roles)  # two metrics of one name: the first is the one exposed
        series, owners = family.of(identity), self._numbering(kind).owners
        known = series.numbers
        new = dict.fromkeys(role for role in roles if role not in known)
        if new:
            series.add({role: len(owners) + at for at, role in enumerate(new)})
            owners += [(series, family)] * len(new)
            family.stale = True
        return [known[role] for role in roles]

    def _role(self, text: bytes) -> Role:
        role = self._roles.get(text)
        if role is None:
            bound, sample = parse_role(text)
            role = self._roles[text] = sample if bound is None else bound
        return role


def _split(kind: str, key: Key) -> tuple[Key, Labels, Role]:
    labels, bound = without_bound(key) if kind == "histogram" else (key.labels, None)
    return key, labels, key.sample if bound is None else bound


def without_bound(key: Key) -> tuple[Labels, float | None]:
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
