"""The page's scripts compute what they say, in the browser that runs them."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Route

from atom_platform.status.views import STATIC, TYPES
from tests.support.browser import launched, visiting

ORIGIN = "http://127.0.0.1/health/assets/version/"

Run = Callable[..., Any]


@pytest.fixture(scope="module", name="run")
def _run() -> Iterator[Run]:
    """Return what imports a script and evaluates an expression with its names."""

    def answer(route: Route) -> None:
        path = STATIC / route.request.url.removeprefix(ORIGIN)
        if route.request.url == f"{ORIGIN}empty":
            route.fulfill(body="<!doctype html>", content_type="text/html")
        else:
            route.fulfill(body=path.read_text(), content_type=TYPES[Path(path).suffix])

    with launched() as browser, visiting(browser, locale="en-GB", timezone_id="UTC") as visit:
        visit.page.route("**/*", answer)
        visit.page.goto(f"{ORIGIN}empty")

        def run(script: str, expression: str, argument: Any = None) -> Any:
            code = f"""async (given) => {{
                const names = await import("{ORIGIN}{script}");
                const code = "return {expression}";
                const evaluate = new Function(...Object.keys(names), "given", code);
                return evaluate(...Object.values(names), given);
            }}"""
            return visit.page.evaluate(code, argument)

        yield run


def prometheus_quantile(q: float, buckets: Sequence[tuple[float, float]]) -> float:
    """Return what histogram_quantile does, by its documentation."""
    total = buckets[-1][1]
    if total == 0:
        return math.nan
    rank, lower, before = q * total, 0.0, 0.0
    for upper, count in buckets:
        if count >= rank:
            if math.isinf(upper):
                return lower
            return lower + (upper - lower) * (rank - before) / (count - before)
        lower, before = upper, count
    raise AssertionError(buckets)


def test_quantiles_are_those_of_prometheus(run: Run) -> None:
    dice = random.Random(9)  # the same cases each time
    bounds = [0.001, 0.0025, 0.005, 0.01, 0.1, 1.0, math.inf]
    cases = []
    for _ in range(200):
        increments = [dice.choice([0, 0, 1, 7, 1000]) for _ in bounds]
        counts = itertools.accumulate(increments)
        cases.append((dice.choice([0.5, 0.95, 0.99]), list(zip(bounds, counts, strict=True))))

    found = run("quantile.js", "given.map(([q, buckets]) => quantile(q, buckets))", cases)

    expected = [prometheus_quantile(q, buckets) for q, buckets in cases]
    assert found == pytest.approx(expected, nan_ok=True)
    assert any(map(math.isnan, expected))
    assert len(set(expected)) > 50


def test_reads_the_text_format(run: Run) -> None:
    text = (
        "# HELP a_total Help.\n# TYPE a_total counter\n"
        'a_total{one="x,y=\\"}\\\\n",two="1\\n2"} 3.5 1700000000\n'
        'b_bucket{le="+Inf"} 4e+03\nc NaN\nd -Inf\n\nnonsense\n'
    )

    found = run("exposition.js", "[...parse(given)].map(([name, [first]]) => [name, first])", text)

    assert found[0] == ["a_total", {"labels": {"one": 'x,y="}\\n', "two": "1\n2"}, "value": 3.5}]
    assert found[1] == ["b_bucket", {"labels": {"le": "+Inf"}, "value": 4000}]
    assert found[2][0] == "c"
    assert math.isnan(found[2][1]["value"])
    assert found[3][1]["value"] == -math.inf
    assert len(found) == 4


READINGS = """
const at = (seconds, lines) => {
  const samples = new Map();
  for (const [name, labels, value] of lines) {
    samples.set(name, [...(samples.get(name) ?? []), { labels, value }]);
  }
  return reading(samples, seconds * 1000);
};
const requests = (status, value, endpoint = "/a") =>
  ["http_requests_total", { method: "GET", endpoint, status }, value];
"""


def readings(expression: str) -> str:
    body = READINGS.replace("\n", " ").replace('"', '\\"')
    return f"(() => {{ {body} return {expression.replace(chr(34), chr(92) + chr(34))}; }})()"


def test_what_happened_is_the_difference(run: Run) -> None:
    found = run(
        "reading.js",
        readings(
            'between(at(0, [requests("200", 100), requests("500", 4)]),'
            ' at(10, [requests("200", 170), requests("500", 34), requests("503", 0)]))'
        ),
    )

    assert (found["requests"], found["errors"], found["perSecond"]) == (100, 30, 10)
    assert found["errorShare"] == pytest.approx(0.3)


def test_health_requests_are_left_out_of_the_total(run: Run) -> None:
    found = run(
        "reading.js",
        readings(
            'between(at(0, []), at(10, [requests("200", 5), requests("200", 9, "/health/live")]))'
        ),
    )

    assert found["requests"] == 5
    assert {each["endpoint"]: each["isHealth"] for each in found["endpoints"]} == {
        "/a": False,
        "/health/live": True,
    }


def test_a_counter_that_began_anew_is_never_negative(run: Run) -> None:
    found = run(
        "reading.js",
        readings('between(at(0, [requests("200", 100)]), at(10, [requests("200", 3)]))'),
    )

    assert found["requests"] == 3


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        pytest.param([], [], id="none"),
        pytest.param(
            [(1, 10, False), (2, 11, False), (1, 20, True), (2, 21, True)],
            [(10, 21)],
            id="one-seen-by-both",
        ),
        pytest.param(
            [(1, 10, False), (1, 12, True), (2, 30, False)], [(10, 12), (30, None)], id="two"
        ),
        pytest.param([(2, 10, True)], [], id="its-beginning-is-forgotten"),
        pytest.param(
            [(7, 10, False), (1, 40, False), (1, 45, True)], [(10, 10), (40, 45)], id="died"
        ),
        pytest.param(
            [(7, 10, False), (7, 15, True), (7, 20, False)], [(10, 15), (20, 20)], id="died-later"
        ),
    ],
)
def test_outages_of_a_check(
    run: Run, turns: list[tuple[int, int, bool]], expected: list[tuple[int, int | None]]
) -> None:
    """Workers 1 and 2 live, 7 does not."""
    given = [
        {"pid": pid, "at": at, "healthy": healthy, "message": "m"} for pid, at, healthy in turns
    ]

    found = run("checks.js", "outages(given, new Set([1, 2]))", given)

    assert [(each["from"], each["to"]) for each in found] == expected


def test_retries_less_often_while_the_service_is_down(run: Run) -> None:
    waits = run(
        "client.js",
        "[0, 1, 2, 3, 4, 20].map((times) => pause(times, 2000, { random: () => 0.5 }))",
    )

    assert waits == [2000, 2000, 4000, 8000, 15000, 15000]


def test_lines_of_one_request_are_one_row(run: Run) -> None:
    errors = [
        {"timestamp": "b", "request_id": "r1", "status": 500, "endpoint": "/a", "pid": 1},
        {"timestamp": "a", "request_id": "r1", "exception_type": "ValueError", "pid": 1},
        {"timestamp": "a", "event": "alone", "pid": 1},
    ]

    one, other = run("view.js", "byRequest(given)", errors)

    assert (one["timestamp"], one["status"], one["exception_type"]) == ("b", 500, "ValueError")
    assert other["event"] == "alone"


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("duration(0.0000123)", "0.0123 ms"),
        ("duration(0.4444)", "444 ms"),
        ("duration(61.26)", "61.3 s"),
        ("duration(NaN)", "–"),
        ("percent(0)", "0 %"),
        ("percent(0.0004)", "< 0.1 %"),
        ("percent(0.034)", "3.4 %"),
        ("percent(1)", "100 %"),
        ("rate(0.126)", "0.13"),
        ("rate(1234.5)", "1,235"),
        ("bytes(1024 * 1024 * 74.4)", "74 MB"),
        ("bytes(1024 ** 3 * 1.5)", "1.50 GB"),
        ("age(0.4)", "0 s"),
        ("age(59.9)", "59 s"),
        ("age(3600)", "1 h"),
        ("age(90061)", "1 d 1 h"),
        ("count(null)", "–"),
        ("moment(0, new Date(1000))", "00:00:00"),
        ("moment(0, new Date(1e9))", "1 Jan 1970, 00:00:00"),
        ("moment(undefined)", "–"),
    ],
)
def test_figures_read_well(run: Run, call: str, text: str) -> None:
    assert run("format.js", call) == text
