"""What a collector returns."""

from __future__ import annotations

from dataclasses import dataclass, field

from atom_platform.metrics.multiprocess.added import AddedFamily
from atom_platform.metrics.multiprocess.families import Exemplar, FamilySamples, Labels, Sample
from atom_platform.metrics.multiprocess.table import SeriesTable

__all__ = ["Collection", "Exemplars"]

#: By family and labels, then by the bucket's upper bound.
Exemplars = dict[tuple[str, Labels], dict[float, Exemplar]]


@dataclass(frozen=True, slots=True)
class Collection:
    """
    What all processes had counted at one moment.

    Attributes:
        table: The families that are added up, whose series hold the places of their totals.
        totals: By kind, and by number of the table.
        gauges: The families of gauges.
        exemplars: The latest of each bucket, by family and labels.
    """

    table: SeriesTable
    totals: dict[str, list[float]]
    gauges: list[FamilySamples]
    exemplars: Exemplars = field(default_factory=dict)

    def families(self) -> list[FamilySamples]:
        """Return every family with its samples one by one, sorted by name."""
        added = [
            FamilySamples(family.name, family.kind, family.help, self.samples(family))
            for family in self.table.families.values()
        ]
        return sorted([*added, *self.gauges], key=lambda family: family.name)

    def samples(self, family: AddedFamily | FamilySamples) -> list[Sample]:
        """Return the samples of *family*, which is one of the collection's."""
        if isinstance(family, FamilySamples):
            return family.samples
        return [
            sample
            for piece in family.pieces()
            for series in piece.series
            for sample in series.samples(
                self.totals[family.kind], self.exemplars.get((family.name, series.labels))
            )
        ]
