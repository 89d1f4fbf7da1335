"""quantile() equals Prometheus's, and Window gives the growth of counters."""

from __future__ import annotations

import json
import math
import random
import subprocess
from pathlib import Path

import pytest

from atom_platform.metrics.samples import SampleSet
from atom_platform.tools.service_client import Growth, Window, quantile
from tests.support.programs import needs
from tests.support.stalls import scaled

BOUNDS = (0.001, 0.0025, 0.1, 1.0, 10.0, math.inf)
SHARES = (0.5, 0.95, 0.99)


def histograms() -> list[dict[float, float]]:
    """Return histograms of random shapes, and edge cases."""
    chance = random.Random(7)
    made = [[chance.choice((0, 0, 1, 3, 40)) for _ in BOUNDS] for _ in range(20)]
    corners = [
        [1, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 1],
        [0, 0, 4, 0, 0, 0],
        [50, 0, 0, 0, 0, 50],
        [95, 0, 0, 5, 0, 0],
        [99, 0, 0, 0, 1, 0],
    ]
    return [cumulated(counts) for counts in made + corners if any(counts)]


def cumulated(counts: list[int]) -> dict[float, float]:
    return {bound: float(sum(counts[: n + 1])) for n, bound in enumerate(BOUNDS)}


def test_quantiles_equal_those_of_prometheus(tmp_path: Path) -> None:
    promtool = needs("promtool", package="prometheus")
    cases = histograms()
    series = [
        {
            "series": f'h_bucket{{case="{n}",le="{bound:g}"}}'.replace("inf", "+Inf"),
            "values": f"{v}",
        }
        for n, case in enumerate(cases)
        for bound, v in case.items()
    ]
    expectations = [
        {
            "expr": f"histogram_quantile({share}, h_bucket)",
            "eval_time": "0s",
            "exp_samples": [
                {"labels": f'{{case="{n}"}}', "value": quantile(share, case)}
                for n, case in enumerate(cases)
            ],
        }
        for share in SHARES
    ]
    tests = {"tests": [{"input_series": series, "promql_expr_test": expectations}]}
    (tmp_path / "tests.yaml").write_text(json.dumps(tests))  # JSON is YAML

    done = subprocess.run(
        [promtool, "test", "rules", "tests.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=scaled(60),
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert len(cases) > 20


@pytest.mark.parametrize(
    "buckets",
    [
        pytest.param({}, id="no-buckets"),
        pytest.param({math.inf: 4.0}, id="nothing-but-infinity"),
        pytest.param({1.0: 0.0, math.inf: 0.0}, id="nothing-observed"),
        pytest.param({1.0: 2.0, 5.0: 3.0}, id="no-infinity"),
    ],
)
def test_a_histogram_without_observations_has_no_quantile(buckets: dict[float, float]) -> None:
    assert quantile(0.95, buckets) is None


def scrape(requests: float, *, started: float = 1000.0) -> SampleSet:
    return SampleSet(
        {
            ("process_start_time_seconds", ()): started,
            ("http_requests_total", (("endpoint", "/a"),)): requests,
        }
    )


def requests(growth: Growth) -> float:
    return growth.samples.total("http_requests_total")


def test_the_first_scrape_covers_the_time_since_the_start() -> None:
    growth = Window(seconds=30).add(scrape(50), at=1100)

    assert (requests(growth), growth.seconds, growth.from_start) == (50, 100, True)


def test_later_scrapes_cover_the_time_between() -> None:
    window = Window(seconds=30)
    window.add(scrape(50), at=1100)

    growth = window.add(scrape(54), at=1102)

    assert (requests(growth), growth.seconds, growth.from_start) == (4, 2, False)


def test_older_scrapes_do_not_count() -> None:
    window = Window(seconds=30)
    for n in range(100):
        growth = window.add(scrape(n), at=1100 + n)

    assert (requests(growth), growth.seconds) == (30, 30)


def test_counters_of_a_restarted_service_start_at_zero() -> None:
    window = Window(seconds=30)
    window.add(scrape(5000), at=1100)
    window.add(scrape(5100), at=1102)

    growth = window.add(scrape(6, started=1103), at=1105)

    assert (requests(growth), growth.seconds, growth.from_start) == (6, 2, True)


def test_a_counter_that_decreased_has_no_negative_growth() -> None:
    """A replica behind a balancer may have started at the same moment."""
    window = Window(seconds=30)
    window.add(scrape(5000), at=1100)

    growth = window.add(scrape(40), at=1102)

    assert requests(growth) == 40


@pytest.mark.parametrize("at", [1000.0, 990.0])
def test_a_wrong_clock_does_not_divide_by_zero(at: float) -> None:
    window = Window(seconds=30)

    assert window.add(scrape(1), at=at).seconds > 0
    assert window.add(scrape(2), at=at).seconds > 0
    assert window.add(scrape(3), at=at - 5).seconds > 0
