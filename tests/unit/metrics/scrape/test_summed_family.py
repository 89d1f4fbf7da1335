"""The text of a family is the same whether it is kept, mended, or written for the first time."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.mmap_dict import mmap_key

from atom_platform.metrics.scrape.series import SampleId
from atom_platform.metrics.scrape.series_table import SeriesTable
from atom_platform.metrics.storage.columnar_format import format_line
from tests.support.examples import examples

Values = dict[tuple[str, SampleId], float]


def cell(label: str, sample_id: SampleId) -> bytes:
    """Return the key of one cell, which may be all that there is of its series."""
    if isinstance(sample_id, str):
        return mmap_key("h", sample_id, ["l"], [label], "Help.").encode()
    return mmap_key("h", "h_bucket", ["l", "le"], [label, str(sample_id)], "Help.").encode()


class Kept:
    """The family `h`, whose text is asked for again and again."""

    def __init__(self) -> None:
        self._table = SeriesTable()

    def load_new(self, values: Values) -> None:
        """Learn the cells of *values*: those of a series with a sum as a line, the others apart."""
        whole = sorted({label for label, sample_id in values if sample_id == "h_sum"})
        lines = [
            format_line("h", (("l", label),), "Help.", ["h_sum"], ["0.5", "+Inf"])
            for label in whole
        ]
        self._table.numbers_of_lines("histogram", lines)
        self._table.numbers_of_keys("histogram", [cell(*each) for each in values])

    def texts(self, values: Values, changed: set[str] | None = None) -> list[bytes]:
        """Return the text, told that only *changed* series may be other than they were."""
        family = self._table.families["h"]
        totals = [0.0] * self._table.size("histogram")
        marked = []
        for series in family.series.values():
            ((_, label),) = series.labels
            for sample_id, number in series.numbers.items():
                totals[number] = values.get((label, sample_id), 0.0)
                marked += [number] if changed and label in changed else []
        self._table.mark_stale("histogram", None if changed is None else marked)
        return family.texts(totals)


def rebuilt(values: Values) -> list[bytes]:
    fresh = Kept()
    fresh.load_new(values)
    return fresh.texts(values)


labels = st.integers(0, 70).map(lambda number: f"{number:02}" + '\n"%'[number % 4 :])
sample_ids: st.SearchStrategy[SampleId] = st.sampled_from(
    [0.5, float("inf"), 7.0, "h_sum", "h_count"]
)
numbers = st.integers(0, 9).map(float) | st.sampled_from([1e6, float("nan"), float("-inf"), -0.5])
steps = st.dictionaries(st.tuples(labels, sample_ids), numbers, min_size=1, max_size=90)


@settings(max_examples=examples(100), deadline=None)
@given(history=st.lists(st.tuples(steps, st.booleans()), min_size=1, max_size=6))
def test_kept_text_is_as_text_made_anew(history: list[tuple[Values, bool]]) -> None:
    """Few changes and many, new series between others, and cells that come later."""
    kept, values = Kept(), Values()

    for step, told in history:
        values |= step
        kept.load_new(step)
        found = kept.texts(values, {label for label, _ in step} if told else None)

        assert b"".join(found) == b"".join(rebuilt(values))


def test_a_new_series_leaves_the_other_pieces_as_they_are() -> None:
    """However many come: what one has too many of becomes two."""
    kept, values = Kept(), Values()
    for number in range(0, 1000, 10):
        values[f"{number:03}", 0.5] = 1.0
    kept.load_new(values)
    before = kept.texts(values)

    for number in range(501, 540):
        values[f"{number:03}", 0.5] = 1.0
        kept.load_new(values)
        after = kept.texts(values, set())

    assert len(set(map(id, before)) - set(map(id, after))) == 1
    assert len(after) == len(before) + 1 or len(after) == len(before) + 2
    assert b"".join(after) == b"".join(rebuilt(values))


def test_text_that_only_might_have_changed_is_the_same_object() -> None:
    kept = Kept()
    values: Values = {(f"{number:03}", 0.5): 1.0 for number in range(100)}
    kept.load_new(values)
    before = kept.texts(values)

    for changed in (None, {"050"}, None):
        assert list(map(id, kept.texts(values, changed))) == list(map(id, before))


def test_values_that_were_there_before_are_written_again() -> None:
    """What a chunk says is not what it said when all of it was written last."""
    kept = Kept()
    values: Values = {(f"{number:03}", 0.5): 1.0 for number in range(100)}
    kept.load_new(values)
    before = kept.texts(values)

    kept.texts(values | {("050", 0.5): 2.0}, {"050"})

    assert kept.texts(values) == before
