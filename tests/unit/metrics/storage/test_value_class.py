"""prometheus_client's metrics count with our value class what they count with its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Enum,
    Gauge,
    Histogram,
    Info,
    Summary,
    generate_latest,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector

from atom_platform.metrics.scrape.collector import Collector
from atom_platform.metrics.scrape.exposition import negotiate, render
from atom_platform.metrics.storage.storage import STORAGE
from atom_platform.metrics.storage.value_class import SlotValue, install_value_class
from tests.support.examples import examples
from tests.unit.metrics.conftest import Samples

Collected = Callable[[], Samples]
Fork = Callable[[Callable[[], None]], int]


@pytest.fixture(name="registry")
def _registry(directory: Path) -> CollectorRegistry:
    install_value_class()
    return CollectorRegistry()


def exposed(directory: Path) -> str:
    """What stock tools read of a directory."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(directory))  # type: ignore[no-untyped-call]
    return generate_latest(registry).decode()


def test_a_counter_counts_and_is_there_before_it_does(
    registry: CollectorRegistry, collected: Collected
) -> None:
    counter = Counter("c", "help", registry=registry)
    assert collected() == {("c_total", ()): 0}

    counter.inc()
    counter.inc(1.5)

    assert collected() == {("c_total", ()): 2.5}
    assert registry.get_sample_value("c_total") == 2.5


def test_a_counter_can_be_reset(registry: CollectorRegistry, collected: Collected) -> None:
    counter = Counter("c", "help", registry=registry)
    counter.inc(3)

    counter.reset()

    assert collected() == {("c_total", ()): 0}


def test_two_metrics_of_one_key_share_their_cell(directory: Path, collected: Collected) -> None:
    """As two modules do that register the same counter in registries of their own."""
    install_value_class()
    one = Counter("c", "help", registry=CollectorRegistry())
    two = Counter("c", "help", registry=CollectorRegistry())

    one.inc(1)
    two.inc(2)
    one.inc(4)

    assert collected() == {("c_total", ()): 7}


def test_a_child_after_a_fork_counts_apart(
    registry: CollectorRegistry, collected: Collected, fork: Fork
) -> None:
    counter = Counter("c", "help", ["l"], registry=registry)
    gauge = Gauge("g", "help", registry=registry, multiprocess_mode="livesum")
    counter.labels("x").inc(1)
    gauge.set(10)

    def child() -> None:
        counter.labels("x").inc(10)
        counter.labels("y").inc(1)
        gauge.inc(1)
        assert collected()["g", ()] == 11

    fork(child)
    counter.labels("x").inc(100)

    assert collected() == {
        ("c_total", (("l", "x"),)): 111,
        ("c_total", (("l", "y"),)): 1,
        ("g", ()): 10,
    }


def test_stock_tools_read_our_gauges_and_pass_over_the_rest(
    registry: CollectorRegistry, directory: Path
) -> None:
    """Columnar files are not theirs to read; they must not trip over them either."""
    Counter("c", "Counts.", ["l"], registry=registry).labels("x").inc(3)
    Gauge("g", "Shows.", registry=registry, multiprocess_mode="max").set(4)
    Summary("s", "KindTotals.", registry=registry).observe(5)
    Histogram("h", "Spreads.", registry=registry, buckets=(1, 2)).observe(1.5)

    assert exposed(directory) == "# HELP g Shows.\n# TYPE g gauge\ng 4.0\n"


def test_a_help_that_is_no_text_harms_nobody(
    registry: CollectorRegistry, collected: Collected
) -> None:
    nothing: Any = None
    Counter("c", nothing, registry=registry).inc(2)

    assert collected() == {("c_total", ()): 2}


def test_metrics_that_cannot_cross_processes_still_refuse(registry: CollectorRegistry) -> None:
    """prometheus_client says so itself, by asking the value class."""
    with pytest.raises((ValueError, RuntimeError)):
        Enum("e", "help", states=["a"], registry=registry, namespace="").state("b")
    info = Info("i", "help", registry=registry)
    info.info({"version": "1"})
    assert registry.get_sample_value("i_info", {"version": "1"}) == 1


def test_hostile_label_values_do_no_harm(registry: CollectorRegistry, collected: Collected) -> None:
    counter = Counter("c", "help", ["l"], registry=registry)
    for value in ("\ud800", "a\nb", 'a"b', "\\", "\0", "é" * 1000, ""):
        counter.labels(value).inc()

    found = collected()

    assert len(found) == 7
    assert all(value == 1 for value in found.values())
    for name, labels in found:
        assert name.encode()
        assert str(labels).encode()


def test_threads_lose_no_increment(registry: CollectorRegistry, collected: Collected) -> None:
    counter = Counter("c", "help", registry=registry)

    def run() -> None:
        for _ in range(2000):
            counter.inc()

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert collected() == {("c_total", ()): 16000}


def test_exemplars_are_kept_for_the_scrape(registry: CollectorRegistry, directory: Path) -> None:
    histogram = Histogram("h", "help", registry=registry, buckets=(1, 2))
    histogram.observe(1.5, {"trace_id": "ab" * 16})
    histogram.observe(0.5, {"span": "not ours to keep"})

    exemplars = Collector().collect().exemplars

    assert [(k, v[2.0].trace_id, v[2.0].value) for k, v in exemplars.items()] == [
        (("h", ()), "ab" * 16, 1.5)
    ]


steps = st.lists(
    st.tuples(
        st.sampled_from(["counter", "summary", "histogram", "gauge", "inc", "dec", "recent"]),
        st.sampled_from(["a", "b", "c"]),
        st.floats(min_value=0, max_value=1e12, allow_nan=False),
    ),
    max_size=30,
)


@settings(
    max_examples=examples(50),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=steps)
def test_the_same_calls_give_the_same_exposition(steps: list[tuple[str, str, float]]) -> None:
    """One process with our value class, one with prometheus_client's; each read by its own."""

    def play() -> None:
        registry = CollectorRegistry()
        buckets = (0.1, 1, 1000)
        counter = Counter("c", "Counts.", ["l"], registry=registry)
        summary = Summary("s", "KindTotals.", ["l"], registry=registry)
        histogram = Histogram("h", "Spreads.", ["l"], registry=registry, buckets=buckets)
        gauge = Gauge("g", "Shows.", ["l"], registry=registry, multiprocess_mode="sum")
        recent = Gauge("r", "Lasts.", ["l"], registry=registry, multiprocess_mode="mostrecent")
        for what, label, amount in steps:
            match what:
                case "counter":
                    counter.labels(label).inc(amount)
                case "summary":
                    summary.labels(label).observe(amount)
                case "histogram":
                    histogram.labels(label).observe(amount)
                case "gauge":
                    gauge.labels(label).set(amount)
                case "inc":
                    gauge.labels(label).inc(amount)
                case "dec":
                    gauge.labels(label).dec(amount)
                case "recent":
                    recent.labels(label).set(amount)

    texts = []
    for ours in (True, False):
        with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
            patch.setenv("PROMETHEUS_MULTIPROC_DIR", name)
            STORAGE.switch_to(Path(name))
            stock = values.MultiProcessValue(lambda: "1")  # type: ignore[no-untyped-call]
            values.ValueClass = SlotValue if ours else stock
            play()
            body = render(Collector().collect(), negotiate()).body.decode()
            texts.append(sorted((body if ours else exposed(Path(name))).splitlines()))
            stock.close_all_files()
            STORAGE.switch_to(None)

    assert texts[0] == texts[1]
