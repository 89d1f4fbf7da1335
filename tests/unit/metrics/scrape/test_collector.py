"""What the collector reads is what prometheus_client's own collector reads, to the last bit."""

from __future__ import annotations

import struct
import threading
from collections.abc import Sequence
from functools import reduce
from operator import add
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, values
from prometheus_client.mmap_dict import mmap_key
from prometheus_client.multiprocess import MultiProcessCollector

from atom_platform.metrics.scrape.collector import Collector
from atom_platform.metrics.scrape.exposition import negotiate, render
from atom_platform.metrics.storage.columnar_files import ColumnarFile
from atom_platform.metrics.storage.storage import STORAGE
from atom_platform.metrics.storage.value_class import SlotValue
from atom_platform.metrics.storage.value_files import Cell, ValueFile
from tests.support.examples import examples

MODES = ("all", "liveall", "min", "livemin", "max", "livemax", "sum", "livesum")
RECENT = ("mostrecent", "livemostrecent")

numbers = st.floats(allow_nan=False) | st.floats(-10, 10)
amounts = st.floats(min_value=0, max_value=1e300, allow_nan=False)
#: Mostly the same few: what matters is what becomes of a series that several processes have.
label_values = st.sampled_from(["", "a", "a", 'q"\\']) | st.text(
    st.characters(codec="utf-8"), max_size=4
)
added = (
    st.tuples(st.just("counter"), st.integers(0, 3), label_values, amounts),
    st.tuples(st.just("summary"), st.integers(0, 1), label_values, numbers),
    st.tuples(st.just("histogram"), st.integers(0, 1), label_values, numbers),
)
operations = st.lists(
    st.one_of(
        *added,
        *(
            st.tuples(st.just(f"gauge_{mode}"), st.just(0), label_values, numbers)
            for mode in (*MODES, *RECENT)
        ),
    ),
    max_size=12,
)
#: Rounds of what each process does before a scrape.
histories = st.lists(st.lists(operations, min_size=1, max_size=3), min_size=1, max_size=3)
added_histories = st.lists(
    st.lists(st.lists(st.one_of(*added), max_size=12), min_size=1, max_size=4),
    min_size=1,
    max_size=4,
)


class PlainProcess:
    """One process that knows only prometheus_client, played by a value class of its own."""

    def __init__(self, identifier: str) -> None:
        self.value_class: Any = values.MultiProcessValue(lambda: identifier)  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.metrics: dict[tuple[str, int], Any] = {}

    def do(self, kind: str, number: int, label: str, amount: float) -> None:
        values.ValueClass = self.value_class
        metric = self.metrics.get((kind, number))
        if metric is None:
            metric = self.metrics[kind, number] = self._made(kind, number)
        child = metric.labels(label, "b")
        if kind == "counter":
            child.inc(amount)
        elif kind in ("histogram", "summary"):
            child.observe(amount)
        else:
            child.set(amount)

    def _made(self, kind: str, number: int) -> Any:
        name, labels = f"{kind}_{number}", ["first", "second"]
        if kind == "counter":
            return Counter(name, "Counts.", labels, registry=self.registry)
        if kind == "summary":
            return Summary(name, "KindTotals.", labels, registry=self.registry)
        if kind == "histogram":
            bounds = (-1.5, 0, 1e-3, 1, 10.0, 1e6, 1.5e7)
            return Histogram(name, "Spreads.", labels, registry=self.registry, buckets=bounds)
        mode: Any = kind.removeprefix("gauge_")
        return Gauge(name, "Shows.", labels, registry=self.registry, multiprocess_mode=mode)

    def end(self) -> None:
        self.value_class.close_all_files()


class SlotFiles:
    """The part of a storage that a value class needs, for a slot of its own."""

    generation = 0

    def __init__(self, slot: int, directory: Path) -> None:
        self.lock = threading.RLock()
        self.files: dict[str, ColumnarFile] = {}
        self._slot, self._directory = slot, directory

    def cell(self, kind: str, key: bytes) -> Cell:
        if kind not in self.files:
            path = self._directory / f"{kind}_slot{self._slot}.columnar"
            self.files[kind] = ColumnarFile(path, kind)
        return self.files[kind].add(key)


class SlotProcess(PlainProcess):
    """One process that counts as ours do."""

    def __init__(self, slot: int, directory: Path) -> None:
        super().__init__("unused")
        files = self.files = SlotFiles(slot, directory)
        self.value_class = type("Value", (SlotValue,), {"_storage": files})

    def end(self) -> None:
        for file in self.files.files.values():
            file.close()


def bits(value: float) -> bytes:
    return struct.pack("d", value)


def theirs(paths: Sequence[Path]) -> dict[Any, Any]:
    merged = MultiProcessCollector.merge([str(path) for path in paths])  # type: ignore[no-untyped-call]
    return {
        (metric.name, metric.type, metric.documentation): {
            (sample.name, tuple(sorted(sample.labels.items())), bits(sample.value))
            for sample in metric.samples
        }
        for metric in merged
    }


def ours(collector: Collector) -> dict[Any, Any]:
    return {
        (family.name, family.kind, family.help): {
            (sample.name, tuple(sorted(sample.labels)), bits(sample.value))
            for sample in family.samples
        }
        for family in collector.collect().families()
    }


@pytest.mark.parametrize("fresh", [False, True], ids=["kept-tables", "cold"])
@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(history=histories)
def test_same_samples_as_the_stock_collector(fresh: bool, history: list[list[Any]]) -> None:
    """Whatever processes count, in whichever order, between scrapes: the same bits."""
    with TemporaryDirectory() as name:
        directory = Path(name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PROMETHEUS_MULTIPROC_DIR", name)
            STORAGE.switch_to(directory)
            collector = Collector(alive=lambda pid: True)
            processes: dict[int, PlainProcess] = {}
            for step in history:
                for number, operations_of_one in enumerate(step):
                    if number not in processes:
                        processes[number] = PlainProcess(str(1000 + number))
                    for operation in operations_of_one:
                        processes[number].do(*operation)
                if fresh:
                    collector = Collector(alive=lambda pid: True)

                expected = theirs(sorted(directory.glob("*.db")))

                assert ours(collector) == expected
            for process in processes.values():
                process.end()
            STORAGE.switch_to(None)


@pytest.mark.parametrize("fresh", [False, True], ids=["kept-tables", "cold"])
@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(history=added_histories)
def test_same_samples_from_tallies_as_from_stock_files(
    fresh: bool, history: list[list[Any]]
) -> None:
    """The same counted into both formats, read by us and by prometheus_client: the same bits."""
    with (
        TemporaryDirectory() as name,
        TemporaryDirectory() as stock,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("PROMETHEUS_MULTIPROC_DIR", stock)
        STORAGE.switch_to(Path(name))
        collector = Collector()
        processes: dict[int, tuple[PlainProcess, SlotProcess]] = {}
        for step in history:
            for number, operations_of_one in enumerate(step):
                if number not in processes:
                    plain = PlainProcess(str(number))
                    processes[number] = plain, SlotProcess(number, Path(name))
                for operation in operations_of_one:
                    for process in processes[number]:
                        process.do(*operation)
            if fresh:
                collector = Collector()

            assert ours(collector) == theirs(sorted(Path(stock).glob("*.db")))
        for pair in processes.values():
            for process in pair:
                process.end()
        STORAGE.switch_to(None)


def test_one_of_many_alike_gets_a_series_that_another_has(directory: Path) -> None:
    """Then those before and after it still share an order, and it has one of its own."""
    slots = [SlotProcess(number, directory) for number in range(4)]
    for number, slot in enumerate(slots):
        for label in "ab" if number < 3 else "abc":
            slot.do("counter", 0, label, 10.0**number)
    collector = Collector()
    collector.collect()

    slots[1].do("counter", 0, "c", 5.0)
    slots[0].do("counter", 0, "a", 0.5)

    assert {
        dict(sample.labels)["first"]: sample.value
        for family in collector.collect().families()
        for sample in family.samples
    } == {"a": 1111.5, "b": 1111.0, "c": 1005.0}
    for slot in slots:
        slot.end()


def test_any_number_of_workers_is_added_up_in_their_order(directory: Path) -> None:
    """To the last bit, although it is not done one after the other."""
    amounts = [0.1 * 3**number for number in range(40)]
    slots = [SlotProcess(number, directory) for number in range(40)]
    for slot, amount in zip(slots, amounts, strict=True):
        slot.do("counter", 0, "a", amount)
        slot.do("counter", 0, "b", 1.0)

    (found,) = Collector().collect().families()

    assert [sample.value for sample in found.samples] == [reduce(add, amounts, 0.0), 40.0]
    for slot in slots:
        slot.end()


def test_one_series_under_two_keys_is_one_series(directory: Path) -> None:
    """Two versions of a module that differ in a help text, one after the other in a slot."""
    keys = [mmap_key("f", "f_total", ["l"], ["x"], text).encode() for text in ("Old.", "New.")]
    with STORAGE.lock:
        for amount, key in enumerate(keys, 1):
            cells, at = STORAGE.cell("counter", key)
            cells[at] += amount
    collector = Collector()

    assert [each.value for each in collector.collect().families()[0].samples] == [3]
    with STORAGE.lock:
        cells, at = STORAGE.cell("counter", keys[1])
        cells[at] += 10
    (found,) = collector.collect().families()
    assert [sample.value for sample in found.samples] == [13]


def test_one_series_under_two_keys_of_a_plain_process_is_one_series(directory: Path) -> None:
    keys = [mmap_key("f", "f_total", ["l"], ["x"], text).encode() for text in ("Old.", "New.")]
    file = ValueFile(directory / "counter_1000.db")
    for amount, key in enumerate(keys, 1):
        cells, at = file.add(key)
        cells[at] += amount
    collector = Collector(alive=lambda pid: True)

    for amount in (0, 10, 100):
        cells, at = file.add(keys[1])
        cells[at] += amount

        assert ours(collector) == theirs(list(directory.glob("*.db")))
    file.close()


@pytest.mark.parametrize("helps", [["Old."], ["Old.", "New."]], ids=["once", "twice"])
def test_few_changes_are_added_up_like_many(directory: Path, helps: list[str]) -> None:
    """Also where another file has a series twice."""
    names = ["l"]
    keys = [mmap_key("f", "f_total", names, ["x5"], text).encode() for text in helps]
    file = ValueFile(directory / "counter_1000.db")
    for key in keys:
        cells, at = file.add(key)
        cells[at] = 100.0 / len(keys)
    columns = ColumnarFile(directory / "counter_slot7.columnar", "counter")
    for number in range(100):
        columns.add(mmap_key("f", "f_total", names, [f"x{number}"], "Old.").encode())
    collector = Collector(alive=lambda pid: True)
    render(collector.collect(), negotiate())

    for number in (5, 77):
        cells, at = columns.add(mmap_key("f", "f_total", names, [f"x{number}"], "Old.").encode())
        cells[at] += number
    text = render(collector.collect(), negotiate()).body.decode()

    assert 'f_total{l="x5"} 105.0\n' in text
    assert 'f_total{l="x77"} 77.0\n' in text
    assert text.count(" 0.0\n") == 98
    columns.close()
    file.close()


@pytest.mark.parametrize("of_all", [True, False], ids=["all", "the-first"])
def test_timestamps_of_counters_never_count(directory: Path, of_all: bool) -> None:
    """They are 0 in every file that prometheus_client writes; but a file may hold anything."""
    keys = [mmap_key("f", "f_total", ["l"], [str(n)], "F.").encode() for n in range(3)]
    file = ValueFile(directory / "counter_1000.db")
    for key in keys:
        cells, at = file.add(key)
        cells[at] = 1
    collector = Collector(alive=lambda pid: True)
    # A series of another file, for which this file has to stand in with a 0.
    other = PlainProcess("1001")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROMETHEUS_MULTIPROC_DIR", str(directory))
        other.do("counter", 0, "x", 5)
    for collected in (collector, collector, Collector(alive=lambda pid: True)):
        found = {
            sample.labels: sample.value
            for family in collected.collect().families()
            for sample in family.samples
        }
        for key in keys if of_all else keys[:1]:
            cells, at = file.add(key)
            cells[at + 1] = 777.0

        assert sorted(found.values()) == [1, 1, 1, 5]
    other.end()
    file.close()


def test_the_order_of_files_is_always_the_same(directory: Path) -> None:
    """Floats added in another order may come out smaller, and a counter would seem to go back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROMETHEUS_MULTIPROC_DIR", str(directory))
        processes = [PlainProcess(str(1000 + number)) for number in (3, 1, 4, 0, 2)]
        for process, amount in zip(processes, (1.0, 1e16, 1.0, 1.0, 1.0), strict=True):
            process.do("counter", 0, "x", amount)
    in_order = theirs(sorted(directory.glob("*.db")))

    for _ in range(10):
        assert ours(Collector(alive=lambda pid: True)) == in_order
    assert theirs(sorted(directory.glob("*.db"), reverse=True)) != in_order
    for process in processes:
        process.end()


def test_a_latest_value_that_was_never_set_is_not_exposed(directory: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROMETHEUS_MULTIPROC_DIR", str(directory))
        process = PlainProcess("1000")
        values.ValueClass = process.value_class
        Gauge("g", "Shows.", registry=process.registry, multiprocess_mode="mostrecent")

        found = ours(Collector(alive=lambda pid: True))

        assert found == {("g", "gauge", "Shows."): set()} == theirs(list(directory.glob("*.db")))
        process.end()
