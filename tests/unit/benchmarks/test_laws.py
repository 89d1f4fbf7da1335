"""A law found from points made by it is that law."""

from __future__ import annotations

import pytest

from benchmarks.laws import fit, straight


def test_the_exponent_of_a_square_is_two() -> None:
    law = fit([(size, 3.0 * size**2) for size in (1.0, 10.0, 600.0)])

    assert law.exponent == pytest.approx(2.0)
    assert law.at(20.0) == pytest.approx(1200.0)
    assert (law.least, law.most, law.points) == (1.0, 600.0, 3)
    assert law.worst == pytest.approx(1.0)


def test_what_does_not_grow_has_exponent_nought() -> None:
    assert fit([(1.0, 5.0), (10.0, 5.0), (100.0, 5.0)]).exponent == pytest.approx(0.0)


def test_the_worst_point_is_told_as_a_factor() -> None:
    """Up by two in the middle of a flat line: the line goes up by a third of it, in logarithms."""
    law = fit([(1.0, 1.0), (10.0, 2.0), (100.0, 1.0)])

    assert law.exponent == pytest.approx(0.0)
    assert law.worst == pytest.approx(2.0 ** (2 / 3))


def test_the_end_is_told_apart_from_the_whole() -> None:
    """Ten at any size, and one more for each: flat at first, and proportional in the end."""
    law = fit([(size, 10.0 + size) for size in (1.0, 1e5, 10.0, 1e6)])

    assert law.exponent < 0.95
    assert law.last == pytest.approx(1.0, abs=0.001)


def test_two_sizes_make_no_law() -> None:
    with pytest.raises(ValueError, match="three sizes"):
        fit([(1.0, 1.0), (10.0, 2.0), (10.0, 3.0)])


def test_a_straight_line_has_intercept_and_slope() -> None:
    assert straight([(1.0, 12.5), (8.0, 16.0), (16.0, 20.0)]) == pytest.approx((12.0, 0.5))
