"""Columnar files are read in any number of steps, and never further than the writer published."""

from __future__ import annotations

import json
import mmap
import struct
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from prometheus_client.mmap_dict import mmap_key

from atom_platform.metrics.scrape.aggregate import ColumnarFileValues
from atom_platform.metrics.scrape.collector import Collector
from atom_platform.metrics.scrape.series_table import SeriesTable
from atom_platform.metrics.storage.client_format import CorruptFileError, parse_key, parse_name
from atom_platform.metrics.storage.columnar_files import ColumnarFile, ColumnarReader
from atom_platform.metrics.storage.columnar_format import (
    find_segments,
    parse_series_key,
    parse_series_keys,
)
from atom_platform.metrics.storage.storage import STORAGE
from tests.support.examples import examples

NAME = "histogram_slot3.columnar"
HEAD_BYTES = 32


def key(label: str, bound: str = "") -> bytes:
    names, values = (["l", "le"], [label, bound]) if bound else (["l"], [label])
    sample = "h_bucket" if bound else "h_sum"
    return mmap_key("h", sample, names, values, "Help.").encode()


def reader(directory: Path) -> ColumnarReader:
    name = parse_name(NAME)
    assert name is not None
    return ColumnarReader(directory / NAME, name)


def values(found: ColumnarReader) -> dict[bytes, float]:
    found.find_new_segments()
    return {key: value for key, value, _ in found.values()}


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Iterator[ColumnarFile]:
    file = ColumnarFile(tmp_path / NAME, "histogram")
    yield file
    file.close()


class Reading:
    """What a scrape reads of one file, again and again, with the same row."""

    def __init__(self, directory: Path) -> None:
        self.table = SeriesTable()
        self.row = ColumnarFileValues(reader(directory), self.table)
        self.totals: dict[int, float] = {}

    def again(self) -> dict[tuple[str, object], float]:
        """Return the values by label and sample id; only values reported as changed are renewed."""
        self.row.load_new()
        changed = self.row.refresh()
        positions = range(1, len(self.row.numbers)) if changed is None else changed
        for position in positions:
            self.totals[self.row.numbers[position]] = self.row.values[position]
        return {
            (dict(series.labels)["l"], sample_id): self.totals[number]
            for family in self.table.families.values()
            for series in family.series.values()
            for sample_id, number in series.numbers.items()
        }


labels = st.sampled_from(["a", "b", "c", "tab\t", "line\n", "é", '"', "\\", "\0"])
bounds = st.sampled_from(["", "0.5", "1.0", "+Inf"])
#: More than one segment holds; a scrape; a successor that opens what is left.
steps = st.lists(
    st.one_of(
        st.tuples(labels, bounds),
        st.just("grow"),
        st.just("read"),
        st.just("reopen"),
    ),
    max_size=15,
)


@settings(
    max_examples=examples(30),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=steps)
def test_what_is_counted_is_read(steps: list[str | tuple[str, str]]) -> None:
    """By who reads from the beginning and by who comes late, over growth and successors."""
    with TemporaryDirectory() as name:
        directory = Path(name)
        file = ColumnarFile(directory / NAME, "histogram")
        reading = Reading(directory)
        counted: dict[tuple[str, object], float] = {}
        grown = 0
        for step in steps:
            if step == "read":
                assert reading.again() == counted
            elif step == "reopen":
                file.close()
                file = ColumnarFile(directory / NAME, "histogram")
            else:
                which = [step] if isinstance(step, tuple) else []
                if step == "grow":
                    grown += 1
                    which = [(f"{grown}-{at}", "") for at in range(250)]
                for label, bound in which:
                    cells, at = file.add(key(label, bound))
                    cells[at] += 1.25
                    position = label, float(bound) if bound else "h_sum"
                    counted[position] = counted.get(position, 0.0) + 1.25

        assert reading.again() == counted
        assert Reading(directory).again() == counted
        assert {parse_key(key): value for key, value, _ in file.values()} == {
            parse_key(key): value for key, value in values(reader(directory)).items()
        }
        assert len(file.all_keys()) == len(counted)
        file.close()


def test_a_cell_is_found_by_the_key_it_was_made_with(file: ColumnarFile) -> None:
    for label in ("a", "é", "\0"):
        for bound in ("", "0.5", "+Inf"):
            assert file.find(key(label, bound)) is None
            made = file.add(key(label, bound))

            assert file.find(key(label, bound)) == made == file.add(key(label, bound))
    assert set(file.all_keys()) == {
        key(label, bound) for label in ("a", "é", "\0") for bound in ("", "0.5", "+Inf")
    }


def test_numbers_of_a_label_set_lie_side_by_side(file: ColumnarFile) -> None:
    positions = [file.add(key("a", bound))[1] for bound in ("", "0.5", "1.0", "+Inf")]

    assert positions == [positions[0] - each for each in range(4)]


def test_what_a_killed_writer_had_not_published_is_not_there(
    file: ColumnarFile, tmp_path: Path
) -> None:
    """It dies between the text and its length: at any of its bytes, for reader and successor."""
    file.add(key("a"))[0][file.add(key("a"))[1]] = 5.0
    path = tmp_path / NAME
    used = int.from_bytes(path.read_bytes()[16:24], "little")
    for torn in (b"\n", b'\n["h", "l', b'\n["h", "l", "b"]\t"Help."\t', b"\t\xff\xfe"):
        with path.open("r+b") as raw:
            raw.seek(HEAD_BYTES + used)
            raw.write(torn)

        successor = ColumnarFile(path, "histogram")

        assert values(reader(tmp_path)) == {key("a"): 5.0}
        cells, at = successor.add(key(f"after {torn!r}"))
        cells[at] = 7.0
        assert values(reader(tmp_path)) == {key("a"): 5.0, key(f"after {torn!r}"): 7.0}
        successor.close()
        with path.open("r+b") as raw:  # as it was, for the next one
            raw.seek(16)
            raw.write(used.to_bytes(8, "little"))


@pytest.mark.parametrize("begun", [b"", struct.pack("=8sQ", bytes(8), 16384)], ids=["no", "half"])
def test_a_segment_that_a_killed_writer_began_is_its_successors(
    file: ColumnarFile, tmp_path: Path, begun: bytes
) -> None:
    file.add(key("a"))
    path = tmp_path / NAME
    size = path.stat().st_size
    with path.open("r+b") as raw:
        raw.seek(size)
        raw.write(begun.ljust(size, b"\0"))
    late = Reading(tmp_path)
    assert late.again() == {("a", "h_sum"): 0.0}

    successor = ColumnarFile(path, "histogram")
    for number in range(400):
        cells, at = successor.add(key(str(number)))
        cells[at] = number

    assert len(values(reader(tmp_path))) == 401
    assert late.again()["399", "h_sum"] == 399.0
    successor.close()


def test_one_changed_number_is_told_alone(file: ColumnarFile, tmp_path: Path) -> None:
    cells = [file.add(key(str(number))) for number in range(2000)]
    reading = Reading(tmp_path)
    reading.again()
    assert reading.row.refresh() == []

    for number in (3, 1500):
        table, at = cells[number]
        table[at] += 1.0

    changed = reading.row.refresh()
    assert changed is not None
    assert sorted(changed) == [4, 1501]
    assert [reading.row.values[position] for position in sorted(changed)] == [1.0, 1.0]
    for table, at in cells:
        table[at] += 1.0
    changed = reading.row.refresh()
    assert changed is None or len(changed) == 2000
    assert sum(reading.row.values) == 2002.0


def test_a_label_set_takes_little_room(file: ColumnarFile, tmp_path: Path) -> None:
    """A histogram of fifteen buckets: names once, then eight bytes a number."""
    bounds = ["", *(str(2.0**n) for n in range(14)), "+Inf"]
    for number in range(600):
        for bound in bounds:
            file.add(key(f"/api/v1/things/{number}", bound))

    assert (tmp_path / NAME).stat().st_size < 600 * 450


def test_an_earlier_versions_file_counts_on(directory: Path) -> None:
    """After SIGUSR2: the former worker's slot is taken by one that writes columnar files."""
    from atom_platform.metrics.storage.value_files import ValueFile

    old = mmap_key("f", "f_total", ["l"], ["old"], "F.").encode()
    file = ValueFile(directory / "counter_slot0.db")
    cells, at = file.add(old)
    cells[at] = 100.0
    file.close()

    def total() -> dict[str, float]:
        (family,) = Collector().collect().families()
        return {dict(each.labels)["l"]: each.value for each in family.samples}

    assert total() == {"old": 100.0}
    with STORAGE.lock:
        for label in ("old", "new"):
            name = mmap_key("f", "f_total", ["l"], [label], "F.").encode()
            cells, at = STORAGE.cell("counter", name)
            cells[at] += 1.0

    assert total() == {"old": 101.0, "new": 1.0}
    for path in directory.iterdir():
        path.unlink()
    STORAGE.heartbeat()
    assert total() == {"old": 101.0, "new": 1.0}


def test_lines_can_be_read_by_people(file: ColumnarFile, tmp_path: Path) -> None:
    file.add(key("a"))
    file.add(key("a", "0.5"))

    text = (tmp_path / NAME).read_bytes()[HEAD_BYTES:].split(b"\0")[0]

    assert text == b'\n["h", "l", "a"]\t"Help."\t.h_sum\t=0.5'
    assert json.loads(text.split(b"\t")[0]) == ["h", "l", "a"]


def test_growth_keeps_what_was_handed_out(file: ColumnarFile, tmp_path: Path) -> None:
    first, at = file.add(key("first"))
    size = (tmp_path / NAME).stat().st_size
    number = 0
    while (tmp_path / NAME).stat().st_size < 8 * size:
        number += 1
        file.add(key(str(number)))
    first[at] += 3.0

    assert values(reader(tmp_path))[key("first")] == 3.0
    assert (tmp_path / NAME).stat().st_size % mmap.PAGESIZE == 0
    assert (tmp_path / NAME).stat().st_blocks * 512 >= (tmp_path / NAME).stat().st_size


series_keys = st.sampled_from(
    [
        b'["f", "l", "x"]',
        b'["f"]',
        b'["f", "l", "\\u00e9\\n"]',
        b'["f", "l"]',
        b'["f", "l", "\\ud800"]',
        b'["f", "l", 1]',
        b'["f"], ["g"]',
        b'["f"],0,["g"]',
        b'["f',
        b'g"]',
        b'["f"',
        b'"g"]',
        b'"g", "l", "x"]',
        b"",
        b"[]",
        b"0",
        b"\xff",
        b"[" * 9999,
    ]
)


@settings(max_examples=examples(300), deadline=None)
@given(lines=st.lists(series_keys, max_size=6))
@example(lines=[b'["f"],0,["g"]', b'["f', b'g"]'])
@example(lines=[b'["f"], ["g"]', b'["f"', b'"g"]'])
def test_many_identities_say_what_each_says(lines: list[bytes]) -> None:
    """Also those of a bad file, which could make sense only beside each other."""
    try:
        expected = [(family, *chain(*labels)) for family, labels in map(parse_series_key, lines)]
    except CorruptFileError:
        with pytest.raises(CorruptFileError):
            parse_series_keys(lines)
    else:
        assert parse_series_keys(lines) == expected


def test_segments_are_read_in_their_order(file: ColumnarFile, tmp_path: Path) -> None:
    """By a scrape that finds several at once, and by one that has seen the first."""
    seen = Reading(tmp_path)
    expected = {}
    for number in range(3000):
        label = f"{number:04}"
        cells, at = file.add(key(label, "0.5"))
        cells[at] = float(number)
        expected[label, 0.5] = float(number)
        if number == 200:
            seen.again()
    assert len(find_segments((tmp_path / NAME).read_bytes())) > 2

    assert Reading(tmp_path).again() == expected
    assert seen.again() == expected
