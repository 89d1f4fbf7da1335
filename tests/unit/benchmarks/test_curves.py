"""Cases of the scrape lie on the axis they belong to, and on no other."""

from __future__ import annotations

import pytest

from benchmarks.curves import Curve, curves
from benchmarks.footprint import footprint
from tests.unit.benchmarks.tables import measured, scrape_case, section


def text_curves(*cases: tuple[int, int, int, dict[str, float]]) -> dict[str, Curve]:
    rows = {f"{w} {s} {r}": scrape_case(w, s, r, **values) for w, s, r, values in cases}
    return {each.name: each for each in curves({"scrape_text": section("scrape_text", rows)})}


def test_points_are_in_order_of_size_and_others_are_left_out() -> None:
    found = text_curves(
        *((8, sets, 0, {"all_ms": sets / 10}) for sets in (600, 20, 10_000)),
        (8, 600, 500, {"all_ms": 9.0}),
        (4, 600, 0, {"all_ms": 9.0}),
    )

    (line,) = found["scrape_text_by_sets"].lines
    assert line.points == ((20.0, 2.0), (600.0, 60.0), (10_000.0, 1000.0))
    assert list(found) == ["scrape_text_by_sets"]


def test_recycled_workers_are_counted_among_all_that_ever_lived() -> None:
    found = text_curves(*((2, 100, gone, {"all_ms": 1.0}) for gone in (0, 50, 500)))

    (line,) = found["scrape_text_by_recycled"].lines
    assert [size for size, _ in line.points] == [2, 52, 502]


def test_where_stock_was_not_run_its_law_goes_on_and_says_so() -> None:
    found = text_curves(
        *((8, sets, 0, {"all_ms": 1.0, "stock_ms": sets / 2}) for sets in (20, 100, 600)),
        (8, 10_000, 0, {"all_ms": 1.0}),
    )

    _, stock, beyond = found["scrape_text_by_sets"].lines
    assert stock.measured
    assert len(stock.points) == 3
    assert (beyond.name, beyond.measured) == ("stock, extrapolated", False)
    assert beyond.points[0] == (600.0, 300.0)
    assert beyond.points[1] == pytest.approx((10_000, 5000.0))


def test_two_sizes_make_no_curve() -> None:
    assert not text_curves(*((8, sets, 0, {"all_ms": 1.0}) for sets in (20, 100)))


def test_counting_is_drawn_along_label_sets() -> None:
    rows = {str(n): measured(sets=n, in_turn_us=0.4, same_us=0.3) for n in (10, 1000, 10_000)}

    (found,) = curves({"counting": section("counting", rows)})

    assert [line.points[-1] for line in found.lines] == [(10_000, 0.4), (10_000, 0.3)]


def test_memory_is_told_apart_into_text_and_numbers_of_each_worker() -> None:
    """12 KiB a label set, and 0.5 for each worker; in the directory 0.6 for each."""
    rows = {
        f"{w}": scrape_case(w, sets, kept_kib=sets * (12 + 0.5 * w), directory_kib=sets * w * 0.6)
        for w, sets in ((1, 600), (8, 2000), (16, 600))
    }
    small = {"small": scrape_case(8, 20, kept_kib=9999.0, directory_kib=9999.0)}
    gone = {"gone": scrape_case(8, 600, 500, kept_kib=9999.0, directory_kib=9999.0)}

    found = footprint({"scrape_sizes": section("scrape_sizes", rows | small | gone)})

    assert list(found.values()) == pytest.approx([12.0, 0.5, 0.6])


def test_memory_of_one_number_of_workers_says_nothing_about_each() -> None:
    rows = {"8": scrape_case(8, 600, kept_kib=1.0, directory_kib=1.0)}

    assert footprint({"scrape_sizes": section("scrape_sizes", rows)}) == {}
