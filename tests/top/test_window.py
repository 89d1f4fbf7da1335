"""Window knows what grew, whatever the service did meanwhile."""

from __future__ import annotations

import pytest

from atom_platform.metrics.samples import SampleSet
from atom_platform.top.window import Growth, Window


def scrape(requests: float, *, started: float = 1000.0) -> SampleSet:
    return SampleSet(
        {
            ("process_start_time_seconds", ()): started,
            ("http_requests_total", (("endpoint", "/a"),)): requests,
        }
    )


def requests(growth: Growth) -> float:
    return growth.samples.total("http_requests_total")


def test_the_first_scrape_tells_of_all_since_the_start() -> None:
    growth = Window(seconds=30).add(scrape(50), at=1100)

    assert (requests(growth), growth.seconds, growth.from_start) == (50, 100, True)


def test_later_ones_tell_of_the_time_between() -> None:
    window = Window(seconds=30)
    window.add(scrape(50), at=1100)

    growth = window.add(scrape(54), at=1102)

    assert (requests(growth), growth.seconds, growth.from_start) == (4, 2, False)


def test_what_is_older_than_the_window_is_left_out() -> None:
    window = Window(seconds=30)
    for n in range(100):
        growth = window.add(scrape(n), at=1100 + n)

    assert (requests(growth), growth.seconds) == (30, 30)


def test_a_service_started_anew_counts_from_nought() -> None:
    window = Window(seconds=30)
    window.add(scrape(5000), at=1100)
    window.add(scrape(5100), at=1102)

    growth = window.add(scrape(6, started=1103), at=1105)

    assert (requests(growth), growth.seconds, growth.from_start) == (6, 2, True)


def test_a_counter_that_went_back_is_not_negative() -> None:
    """A replica behind a balancer may even have been started in the same instant."""
    window = Window(seconds=30)
    window.add(scrape(5000), at=1100)

    growth = window.add(scrape(40), at=1102)

    assert requests(growth) == 40


@pytest.mark.parametrize("at", [1000.0, 990.0])
def test_a_clock_that_is_wrong_divides_by_no_nought(at: float) -> None:
    window = Window(seconds=30)

    assert window.add(scrape(1), at=at).seconds > 0
    assert window.add(scrape(2), at=at).seconds > 0
    assert window.add(scrape(3), at=at - 5).seconds > 0
