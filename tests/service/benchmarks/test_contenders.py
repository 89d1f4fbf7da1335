"""Real processes, once and small: that they measure what their tables say."""

from __future__ import annotations

import pytest

from benchmarks.counting import counting_figures
from benchmarks.fleet import Fleet, contender
from benchmarks.in_process import contenders_in_process
from benchmarks.scraping import scrape_figures
from tests.support.polling import wait_until


def test_ours_and_stock_read_the_same_and_lose_nothing_of_those_that_are_gone() -> None:
    found = scrape_figures(workers=2, sets=5, recycled=3)

    assert (found["workers"], found["sets"], found["recycled"]) == (2, 5, 3)
    assert found["same_samples"] == 1.0
    assert found["recycled_counts_lost"] == 0.0
    assert found["recycled_directory_ratio"] == 1.0
    assert all(found[f"{state}_ms"] > 0 for state in ("unchanged", "one_percent", "all", "cold"))


def test_a_directory_without_stock_beside_it_stays_as_it_is() -> None:
    """The one who scrapes takes a slot too, and not one that a recycled worker had."""
    assert scrape_figures(workers=1, sets=5, recycled=2, stock_too=False)[
        "recycled_directory_ratio"
    ] == pytest.approx(1.0)


def test_stock_pays_for_those_that_are_gone() -> None:
    """Otherwise its line along recycled workers would be flat as ours is."""
    fresh, later = (scrape_figures(workers=1, sets=20, recycled=recycled) for recycled in (0, 20))

    assert later["stock_directory_kib"] == pytest.approx(21 * fresh["stock_directory_kib"])
    assert later["stock_ms"] > 3 * fresh["stock_ms"]


def test_without_stock_there_is_no_figure_of_it() -> None:
    assert not [
        name for name in scrape_figures(workers=1, sets=2, stock_too=False) if "stock" in name
    ]


def test_counting_knows_as_many_label_sets_as_it_says() -> None:
    found = counting_figures(30)

    assert found["sets"] == 30
    assert 0 < found["same_us"] < found["first_us"]
    assert found["in_turn_us"] > 0


def test_a_contender_in_process_is_read_beside_bare_flask() -> None:
    with contenders_in_process({"nothing": "bare_wsgi"}, turns=4) as readings:
        found = readings["nothing"]()

    assert found["over_bare_percent"] < -50


def test_a_server_is_shared_until_it_dies() -> None:
    wanted = contender("bare_wsgi", stock=True)
    with Fleet() as fleet:
        first = fleet.server(wanted)
        assert fleet.server(wanted) is first

        first.stop()
        second = fleet.server(wanted)

        assert second is not first
        assert second.get("/health/live")[0] == 200
    wait_until(lambda: second.process.poll() is not None)
