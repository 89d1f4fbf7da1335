"""Exemplars are shared between processes: the scrape shows the latest of each bucket."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from atom_platform.metrics.samples import Exemplar
from atom_platform.metrics.scrape.collector import Collector
from atom_platform.metrics.storage.exemplars import _BUCKETS_AT_MOST, exemplar_cell, keep_exemplar
from atom_platform.metrics.storage.storage import STORAGE
from tests.support.records import count_request

Fork = Callable[[Callable[[], None]], int]
Found = dict[tuple[str, float], Exemplar]


def found() -> Found:
    return {
        (dict(labels)["endpoint"], bound): exemplar
        for (_, labels), buckets in Collector().collect().exemplars.items()
        for bound, exemplar in buckets.items()
    }


def test_the_latest_of_two_processes_is_shown(directory: Path, fork: Fork) -> None:
    count_request("GET", "/a", 200, 0.01, trace_id="a" * 32)
    count_request("GET", "/a", 200, 3, trace_id="b" * 32)
    fork(lambda: count_request("GET", "/a", 200, 0.009, trace_id="c" * 32))
    fork(lambda: count_request("GET", "/b", 200, 0.02, trace_id="0" * 31 + "1"))

    exemplars = found()

    assert {bucket: each.trace_id for bucket, each in exemplars.items()} == {
        ("/a", 0.01): "c" * 32,
        ("/a", 5.0): "b" * 32,
        ("/b", 0.025): "0" * 31 + "1",
    }
    assert exemplars["/a", 0.01].value == 0.009


def test_a_half_written_exemplar_is_not_shown(directory: Path) -> None:
    count_request("GET", "/a", 200, 0.01, trace_id="a" * 32)
    ((bucket, _),) = found().items()
    with STORAGE.lock:
        for key in STORAGE.keys("exemplars"):
            cells, at = STORAGE.cell("exemplars", key)
            if not key.startswith(b" "):
                cells[at + 1] = 0.0  # as its writer does before it begins

    assert bucket == ("/a", 0.01)
    assert found() == {}


def test_their_number_is_bounded(directory: Path) -> None:
    """The counts of further buckets stay true; they merely have no example."""
    with STORAGE.lock:
        made = 0
        for number in range(_BUCKETS_AT_MOST + 100):
            key = b'["f", "f_bucket", {"endpoint": "%d", "le": "1.0"}, "h"]' % number
            cell = exemplar_cell(key)
            if cell is not None:
                keep_exemplar(cell, "a" * 32, 1.0, 1.0)
                made += 1

    assert made == _BUCKETS_AT_MOST
    assert len(found()) == _BUCKETS_AT_MOST


def test_in_memory_they_are_shown_by_the_process_itself() -> None:
    count_request("GET", "/a", 200, 0.01, trace_id="a" * 32)

    assert [each.trace_id for each in found().values()] == ["a" * 32]
