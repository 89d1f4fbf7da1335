"""Metrics that an application defines: summed over processes, bounded, unable to fail it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atom_platform.extension.application_metrics import counter, gauge, histogram
from atom_platform.metrics import label_limits
from atom_platform.metrics.custom import custom_definitions
from atom_platform.metrics.scrape.exposition import negotiate
from atom_platform.metrics.scrape.page import SharedScrape
from tests.unit.metrics.conftest import Samples

Collected = Callable[[], Samples]
Fork = Callable[[Callable[[], None]], int]


def test_values_of_processes_are_combined(
    directory: Path, collected: Collected, fork: Fork
) -> None:
    orders = counter("orders_total", "Orders.", labels=["kind"])
    queued = gauge("jobs_queued", "Jobs.", mode="livesum")
    sizes = histogram("upload_bytes", "Uploads.", buckets=(10, 1000))

    def child() -> None:
        orders.inc(kind="a")
        sizes.observe(2000)

    fork(child)
    orders.inc(2, kind="a")
    queued.set(7)
    queued.inc(-3)
    sizes.observe(500)

    found = collected()
    assert found["orders_total", (("kind", "a"),)] == 3
    assert found["jobs_queued", ()] == 4
    assert found["upload_bytes_count", ()] == 2
    assert found["upload_bytes_sum", ()] == 2500
    assert found["upload_bytes_bucket", (("le", "1000.0"),)] == 1


def test_an_unknown_value_counts_as_other(directory: Path, collected: Collected) -> None:
    orders = counter("orders_total", "Orders.", labels=["kind"], values={"kind": ["a", "b"]})

    for kind in ("a", "c", "d"):
        orders.inc(kind=kind)

    assert {
        labels: value for (name, labels), value in collected().items() if name == "orders_total"
    } == {(("kind", "a"),): 1, (("kind", "other"),): 2}


def test_a_label_without_values_is_limited(directory: Path, collected: Collected) -> None:
    label_limits.set_max_values(2)
    orders = counter("orders_total", "Orders.", labels=["shop"])

    for shop in ("x", "y", "z", "z"):
        orders.inc(shop=shop)

    found = collected()
    assert found["orders_total", (("shop", "other"),)] == 2
    assert found["metric_label_overflows_total", (("metric", "orders_total"),)] == 2


@pytest.mark.parametrize(
    ("amount", "labels"),
    [(1, {}), (1, {"shop": "x"}), (1, {"kind": "a", "x": "y"}), (-1, {"kind": "a"}), ("?", {})],
)
def test_a_wrong_call_does_not_raise_and_is_counted(
    directory: Path, collected: Collected, amount: Any, labels: dict[str, str]
) -> None:
    orders = counter("orders_total", "Orders.", labels=["kind"])

    orders.inc(amount, **labels)

    SharedScrape().answer(negotiate())  # a scrape counts the problems noted so far
    found = collected()
    assert found["metric_errors_total", (("kind", "record"),)] == 1
    assert not [name for name, _ in found if name == "orders_total"]


def test_time_measures_a_block_or_a_function(collected: Collected, directory: Path) -> None:
    seconds = histogram("import_seconds", "Imports.", labels=["kind"])

    @seconds.time(kind="function")
    def work(result: int) -> int:
        return result

    with pytest.raises(KeyError), seconds.time(kind="block"):
        raise KeyError

    assert [work(1), work(2)] == [1, 2]
    found = collected()
    assert found["import_seconds_count", (("kind", "function"),)] == 2
    assert found["import_seconds_count", (("kind", "block"),)] == 1


def test_a_metric_is_exposed_before_it_is_counted() -> None:
    used = (
        counter("orders_total", "Orders.", labels=["kind"], values={"kind": ["a"]}),
        gauge("jobs_queued", "Jobs.", mode="livemax"),
    )

    text = SharedScrape().answer(negotiate()).body.decode()

    assert 'orders_total{kind="a"} 0.0\n' in text
    assert "# HELP orders_total Orders.\n# TYPE orders_total counter\n" in text
    assert "jobs_queued 0.0\n" in text
    assert all(metric.definition in custom_definitions() for metric in used)


def test_the_same_definition_returns_the_same_metric() -> None:
    first = counter("orders_total", "Orders.", labels=["kind"])

    assert counter("orders_total", "Orders.", labels=["kind"]) is first


@pytest.mark.parametrize(
    "make",
    [
        lambda: counter("orders_total", "Other text.", labels=["kind"]),
        lambda: counter("orders_total", "Orders.", labels=["shop"]),
        lambda: gauge("orders", "Orders.", mode="livesum", labels=["kind"]),
    ],
)
def test_another_definition_of_the_same_name_is_refused(make: Callable[[], object]) -> None:
    first = counter("orders_total", "Orders.", labels=["kind"])

    with pytest.raises(ValueError, match="name of another metric"):
        make()
    assert first.definition in custom_definitions()


def test_a_name_is_free_once_its_metric_is_garbage() -> None:
    """Two tests of an application may each define the same name."""
    before = len(custom_definitions())
    first = counter("orders_total", "Orders.")
    del first
    gc.collect()

    assert counter("orders_total", "Other text.", labels=["kind"])
    assert len(custom_definitions()) <= before + 1


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: counter("orders", "x"), "must end in _total"),
        (lambda: counter("or ders_total", "x"), "not a valid metric name"),
        (lambda: counter("http_requests_total", "x"), "of the platform"),
        (lambda: gauge("http_requests", "x", mode="livesum"), "of the platform"),
        (lambda: gauge("jobs_count", "x", mode="livesum"), "another kind"),
        (lambda: gauge("jobs_total", "x", mode="livesum"), "another kind"),
        (lambda: counter("a_total", "x", labels=["le"]), "not a valid label name"),
        (lambda: counter("a_total", "x", labels=["__name"]), "not a valid label name"),
        (lambda: counter("a_total", "x", labels=["a-b"]), "not a valid label name"),
        (lambda: counter("a_total", "x", labels=["a", "a"]), "repeated"),
        (lambda: counter("a_total", "x", values={"a": ["b"]}), "does not have"),
        (lambda: histogram("a_seconds", "x", buckets=()), "buckets"),
        (lambda: histogram("a_seconds", "x", buckets=(2, 1)), "buckets"),
        (lambda: histogram("a_seconds", "x", buckets=(1, 1)), "buckets"),
    ],
)
def test_an_invalid_definition_is_refused(make: Callable[[], object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        make()
