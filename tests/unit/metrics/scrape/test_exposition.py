"""The text of a scrape: what prometheus_client would write, in whatever format was asked for."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, Summary
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.samples import Exemplar, Sample

from atom_platform.metrics import instruments, track
from atom_platform.metrics.catalog import DEFINITIONS
from atom_platform.metrics.scrape.collector import Collector, MetricsSnapshot
from atom_platform.metrics.scrape.exposition import Exposition, negotiate, render
from atom_platform.metrics.scrape.page import SharedScrape
from atom_platform.metrics.storage.storage import STORAGE
from atom_platform.metrics.storage.value_class import install_value_class
from tests.support.examples import examples
from tests.support.records import count_request
from tests.support.stalls import scaled

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
#: What a Prometheus 3 sends.
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


class Client:
    """The same collection, as prometheus_client's encoders want it."""

    def __init__(self, collection: MetricsSnapshot) -> None:
        self._collection = collection

    def collect(self) -> list[Metric]:
        metrics = []
        for family in self._collection.families():
            metric = Metric("x", family.help, family.kind)
            metric.name = family.name
            for each in family.samples:
                exemplar = each.exemplar and Exemplar(
                    {"trace_id": each.exemplar.trace_id},
                    each.exemplar.value,
                    each.exemplar.timestamp,
                )
                metric.samples.append(
                    Sample(each.name, dict(each.labels), each.value, None, exemplar or None)
                )
            metrics.append(metric)
        return metrics


texts = st.text(st.characters(codec="utf-8"), max_size=6)
numbers = st.floats() | st.integers(-(10**17), 10**17).map(float) | st.sampled_from([1e6, 999999.5])


@pytest.mark.parametrize(
    "accept",
    [
        "",
        OPENMETRICS,
        PROMETHEUS,
        "text/plain;version=1.0.0;escaping=dots",
        "application/openmetrics-text;version=1.0.0;escaping=values",
    ],
)
@settings(
    max_examples=examples(40),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    rounds=st.lists(st.lists(st.tuples(texts, numbers), max_size=4), min_size=1, max_size=3),
    help_text=texts,
)
def test_the_text_is_prometheus_clients_own(
    accept: str, rounds: list[list[tuple[str, float]]], help_text: str
) -> None:
    """Byte for byte, whatever the labels and numbers, and from kept text as from new."""
    with TemporaryDirectory() as name:
        STORAGE.switch_to(Path(name))
        install_value_class()
        registry = CollectorRegistry()
        counter = Counter("c", help_text, ["l%"], registry=registry)
        gauge = Gauge("g", help_text, ["l"], registry=registry, multiprocess_mode="livesum")
        histogram = Histogram(
            "h_seconds", help_text, ["l", "z"], registry=registry, buckets=(0.1, 1, 1e6, 2e7)
        )
        summary = Summary("a.b", help_text, ["l"], registry=registry)
        collector = Collector()
        for steps in rounds:
            for label, number in steps:
                counter.labels(label).inc(abs(number) if number == number else 1)
                gauge.labels(label).set(number)
                histogram.labels(label, "x").observe(number)
                summary.labels(label).observe(number)
            with STORAGE.lock:
                for label, number in steps:
                    histogram.labels(label, "x").observe(
                        number, {"trace_id": "0123456789abcdef" * 2}
                    )

            collection = collector.collect()
            encoder, content_type = choose_encoder(accept)
            expected = encoder(Client(collection))

            answer = render(collection, negotiate(accept=accept))
            assert answer == Exposition(
                expected if collection.families() else b"", content_type, gzipped=False
            )
        STORAGE.switch_to(None)


def test_every_family_has_its_head_before_its_first_sample() -> None:
    """Also those that were never counted."""
    text = SharedScrape().answer(negotiate()).body.decode()

    for definition in DEFINITIONS:
        head = f"# HELP {definition.name} {definition.help}\n# TYPE {definition.name} "
        assert f"{head}{definition.kind}\n" in text
    assert text.count("# TYPE ") == len(DEFINITIONS)


def test_known_label_sets_start_at_zero() -> None:
    text = SharedScrape().answer(negotiate()).body.decode()

    assert 'gunicorn_worker_exits_total{reason="out_of_memory"} 0.0\n' in text
    assert 'db_query_duration_seconds_bucket{le="+Inf",operation="select"} 0.0\n' in text
    assert 'log_messages_total{level="ERROR"} 0.0\n' in text
    assert "active_agents 0.0\n" in text
    assert "http_request_queue_seconds_count 0.0\n" in text
    assert "agent_executions_total{" not in text


@pytest.fixture(name="busy")
def _busy(directory: Path) -> SharedScrape:
    count_request("GET", '/a"\\\n', 200, 0.01, trace_id="ab" * 16)
    count_request("GET", "/b", 500, 1e9)
    with track.track_agent("\ud800"):
        pass
    instruments.set_app_info("1", "3.11", "abc")
    instruments.record_check("database", True, 0.1)
    return SharedScrape()


@pytest.mark.parametrize("accept", ["", OPENMETRICS, PROMETHEUS])
def test_strict_parsers_accept_it(busy: SharedScrape, accept: str) -> None:
    answer = busy.answer(negotiate(accept=accept))

    parse = parse_openmetrics if "openmetrics" in accept else parse_text
    families = {family.name: family for family in parse(answer.body.decode())}

    labels = {"method": "GET", "endpoint": "/b", "status": "500"}
    assert families["http_requests"].samples
    assert any(sample.labels == labels for sample in families["http_requests"].samples)


def test_promtool_accepts_it(busy: SharedScrape) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")

    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=busy.answer(negotiate()).body,
        capture_output=True,
        timeout=scaled(60),
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_openmetrics_shows_the_trace_of_a_bucket(busy: SharedScrape) -> None:
    text = busy.answer(negotiate(accept=OPENMETRICS)).body.decode()
    plain = busy.answer(negotiate()).body.decode()

    (line,) = [line for line in text.splitlines() if "trace_id" in line]
    assert line.startswith("http_request_duration_seconds_bucket{")
    assert ' 1.0 # {trace_id="abababababababababababababababab"} 0.01 ' in line
    assert "trace_id" not in plain
    assert text.endswith("# EOF\n")


@pytest.mark.parametrize(
    ("accept_encoding", "gzipped"),
    [
        ("", False),
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip;q=0.0", False),
        ("*", True),
        ("series_key", False),
        (",;=,\x00", False),
    ],
)
def test_gzip_when_it_is_asked_for(busy: SharedScrape, accept_encoding: str, gzipped: bool) -> None:
    answer = busy.answer(negotiate(accept_encoding=accept_encoding))

    assert answer.gzipped is gzipped
    body = gzip.decompress(answer.body) if gzipped else answer.body
    assert body.startswith(b"# HELP active_agents")


@pytest.mark.parametrize(
    "accept",
    [
        "text/plain;version=abc",
        "application/openmetrics-text;version=abc",
        "application/openmetrics-text;version=1.a.0",
        "text/plain;version=1.0.0;escaping=nonsense",
        "application/openmetrics-text;version=",
        ";;;,,,===",
        "x" * 8000,
        "text/plain;version=" + "9" * 5000,
        "\ud800",
    ],
)
def test_nonsense_in_accept_gets_an_answer(busy: SharedScrape, accept: str) -> None:
    answer = busy.answer(negotiate(accept=accept))

    assert b"# TYPE http_requests" in answer.body


def test_a_negotiation_that_failed_is_counted(busy: SharedScrape) -> None:
    busy.answer(negotiate(accept="text/plain;version=abc"))

    text = busy.answer(negotiate()).body.decode()

    assert 'metric_errors_total{kind="negotiation"} 1.0\n' in text


@settings(max_examples=examples(300), deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["text/plain", "application/openmetrics-text", ";", ",", "=", "version", "escaping"]
        )
        | st.sampled_from(["1.0.0", "0.0.4", "abc", "q=0.5", "*/*", "utf-8", "dots", "é", "\t"]),
        max_size=12,
    ).map("".join)
)
def test_any_accept_is_negotiated(accept: str) -> None:
    assert negotiate(accept=accept).content_type


@pytest.mark.parametrize(
    ("names", "starts"),
    [
        (["http_requests_total"], {"http_requests_total"}),
        (["http_requests"], {"http_requests_total"}),
        (
            ["http_request_duration_seconds"],
            {f"http_request_duration_seconds_{part}" for part in ("bucket", "count", "sum")},
        ),
        (["http_request_duration_seconds_count"], {"http_request_duration_seconds_count"}),
        (["active_agents", "nonsense"], {"active_agents"}),
    ],
)
def test_names_restrict_it(busy: SharedScrape, names: list[str], starts: set[str]) -> None:
    text = busy.answer(negotiate(names=names)).body.decode()

    found = {
        line.split("{")[0].split(" ")[0] for line in text.splitlines() if not line.startswith("#")
    }
    assert found == starts


def test_names_that_nothing_has_leave_nothing(busy: SharedScrape) -> None:
    for accept in ("", OPENMETRICS):
        assert busy.answer(negotiate(accept=accept, names=["nope"])).body == b""


def test_a_gauge_and_a_counter_of_one_name_are_not_both_exposed(directory: Path) -> None:
    """Two modules that disagree must not make the whole scrape unreadable."""
    install_value_class()
    Counter("x", "Counts.", registry=CollectorRegistry()).inc()
    Gauge("x", "Shows.", registry=CollectorRegistry(), multiprocess_mode="livesum").set(1)
    collector = Collector()

    body = render(collector.collect(), negotiate()).body.decode()

    assert body.count("# TYPE") == 1
    list(parse_text(body))


def test_collections_can_be_replaced(directory: Path) -> None:
    collection = replace(Collector().collect(), gauges=[])

    assert render(collection, negotiate()).body == b""


def test_a_piece_of_text_that_is_as_it_was_is_the_same_object(directory: Path) -> None:
    """That is what lets a later scrape leave its compression out."""
    for number in range(100):
        count_request("GET", f"/{number:03}", 200, 0.01)
    collector = Collector()

    def chunks() -> list[bytes]:
        collection = collector.collect()
        family = collection.table.families["http_request_duration_seconds"]
        return family.texts(collection.totals["histogram"])

    before = chunks()
    count_request("GET", "/040", 200, 0.01)
    after = chunks()

    changed = [
        at for at, (new, old) in enumerate(zip(after, before, strict=True)) if new is not old
    ]
    assert changed == [2]
    assert b"".join(after) != b"".join(before)
