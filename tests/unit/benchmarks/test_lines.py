"""Charts are SVG that parses, and put points where their logarithms are."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from benchmarks.chart import bars
from benchmarks.curves import Curve, Line
from benchmarks.lines import lines
from tests.unit.benchmarks.tables import measured, section

SVG = "{http://www.w3.org/2000/svg}"
CURVE = Curve(
    "scrape",
    "Scrape <text>",
    "",
    "label sets",
    "CPU ms",
    (
        Line("ours", ((10.0, 1.0), (100.0, 10.0), (1000.0, 100.0))),
        Line("stock", ((10.0, 30.0), (100.0, 300.0))),
        Line("stock, extrapolated", ((100.0, 300.0), (1000.0, 3000.0)), measured=False),
    ),
)


def drawn(curve: Curve) -> ElementTree.Element:
    return ElementTree.fromstring(lines(curve))


def path_of(line: int) -> list[tuple[float, float]]:
    """Return the corners of a line; each is followed by its sample in the legend."""
    paths = [e for e in drawn(CURVE).iter(f"{SVG}path") if "line" in str(e.get("class"))]
    found = re.findall(r"([\d.]+),([\d.]+)", str(paths[2 * line].get("d")))
    return [(float(x), float(y)) for x, y in found]


def texts(curve: Curve) -> list[str | None]:
    return [each.text for each in drawn(curve).iter(f"{SVG}text")]


def test_equal_factors_are_equal_distances() -> None:
    (x1, y1), (x2, y2), (x3, y3) = path_of(0)

    assert abs((x2 - x1) - (x3 - x2)) < 0.2
    assert abs((y1 - y2) - (y2 - y3)) < 0.2
    assert x1 < x2
    assert y1 > y2  # more is further up


def test_ours_and_stock_of_one_size_are_above_each_other() -> None:
    (ours_x, ours_y), *_ = path_of(0)
    (stock_x, stock_y), *_ = path_of(1)

    assert ours_x == stock_x
    assert stock_y < ours_y


def test_a_small_difference_looks_small() -> None:
    flat = Line("ours", ((10.0, 1.0), (100.0, 1.1), (1000.0, 1.0)))

    svg = lines(Curve("flat", "Flat", "", "workers", "ms", (flat,)))

    heights = [float(y) for y in re.findall(r'class="mark0".*translate\([\d.]+,([\d.]+)', svg)][:3]
    assert max(heights) - min(heights) < 420 / 20


def test_only_what_was_measured_has_marks() -> None:
    """Five points, and the samples of two lines in the legend."""
    svg = lines(CURVE)

    assert len(re.findall(r'class="mark\d"', svg)) == 5 + 2
    assert svg.count("stroke-dasharray") == 2  # the line, and its sample


def test_what_is_extrapolated_looks_like_what_it_goes_on_from() -> None:
    classes = re.findall(r'class="(line\d)"', lines(CURVE))

    assert classes == ["line0"] * 2 + ["line1"] * 4


def test_axes_and_lines_are_named() -> None:
    found = texts(CURVE)

    assert {"Scrape <text>", "label sets", "CPU ms", "stock, extrapolated"} <= set(found)
    assert {"10", "100", "1,000"} <= set(found)


def test_labels_that_have_no_room_are_left_out_but_the_last_is_not() -> None:
    near = Line("ours", ((1.0, 1.0), (990.0, 2.0), (1000.0, 3.0)))

    found = texts(Curve("near", "Near", "", "workers", "ms", (near,)))

    assert "1,000" in found
    assert "990" not in found


def test_charts_have_colours_for_dark_pages() -> None:
    table = section(
        "liveness", {"ours": measured(rps=3.0), "Flask": measured(rps=1.0)}, chart="rps"
    )

    for svg in (lines(CURVE), bars(table)):
        ElementTree.fromstring(svg)
        assert "prefers-color-scheme:dark" in svg.replace(": ", ":")
