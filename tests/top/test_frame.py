"""draw() fits the terminal, and nothing in a name steers it."""

from __future__ import annotations

import re

import pytest

from atom_platform.metrics.samples import ParsedExposition
from atom_platform.top.frame import Picture, draw
from atom_platform.top.view import Check, figures_of
from atom_platform.top.window import Window

EXPOSITION = """\
# TYPE app_info gauge
app_info{version="1.2.3"} 1
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1000
# TYPE http_requests_total counter
http_requests_total{endpoint="/health/ready",method="GET",status="503"} 50
http_requests_total{endpoint="/a",method="GET",status="200"} 90
http_requests_total{endpoint="/quiet",method="GET",status="200"} 0
http_requests_total{endpoint="/a",method="POST",status="500"} 10
http_requests_total{endpoint="/b\x1b[2J",method="GET",status="200"} 100
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{endpoint="/a",method="GET",le="0.1"} 50
http_request_duration_seconds_bucket{endpoint="/a",method="GET",le="0.2"} 90
http_request_duration_seconds_bucket{endpoint="/a",method="GET",le="+Inf"} 90
http_request_duration_seconds_bucket{endpoint="/a",method="POST",le="0.1"} 0
http_request_duration_seconds_bucket{endpoint="/a",method="POST",le="0.2"} 10
http_request_duration_seconds_bucket{endpoint="/a",method="POST",le="+Inf"} 10
# TYPE db_connections_waiting gauge
db_connections_waiting 3
"""


def picture(text: str = EXPOSITION) -> Picture:
    exposed = ParsedExposition(text)
    figures = figures_of(exposed, Window(seconds=30).add(exposed, at=1100), at=1100)
    checks = (Check("database", False, "Database timeout after 5.0s"), Check("disk", True, "fine"))
    return Picture("http://10.0.0.7:8000", "not_ready", "12:00:00Z", (), checks, figures)


def shown(*, width: int = 100, height: int | None = None, colours: bool = False) -> list[str]:
    return draw(picture(), width=width, height=height, colours=colours)


def row(lines: list[str], start: str) -> list[str]:
    (line,) = [line for line in lines if line.startswith(start)]
    return re.split(r"\s{2,}", line.strip())


def test_an_endpoint_is_one_line_whatever_its_methods() -> None:
    assert row(shown(), "/a ") == ["/a", "1.00/s", "10.00%", "100.0 ms", "190.0 ms", "198.0 ms"]


def test_an_endpoint_that_nobody_asked_is_left_out() -> None:
    assert not any(line.startswith("/quiet") for line in shown())


def test_what_machines_ask_is_listed_and_left_out_of_the_sum() -> None:
    lines = shown()

    assert row(lines, "requests")[1:3] == ["2.00/s", "5xx 5.00%"]
    assert row(lines, "/health/ready")[1:3] == ["0.50/s", "100.00%"]


def test_what_is_wrong_is_said_in_words() -> None:
    """Colours alone do not reach everybody."""
    lines = shown()

    assert lines[0].startswith("NOT_READY")
    assert row(lines, "checks")[1:] == ["database", "UNHEALTHY", "Database timeout after 5.0s"]
    assert "3 waiting" in row(lines, "pool")


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    assert max(len(line) for line in shown(width=width)) <= width


@pytest.mark.parametrize("height", [1, 5, 10, 11, 24])
def test_no_frame_is_higher_than_the_terminal(height: int) -> None:
    assert len(shown(height=height)) <= height


def test_endpoints_without_room_are_summed_up() -> None:
    lines = shown(height=11)

    assert lines[-1] == "... and 2 more, 1.50/s"


def test_what_an_application_does_not_have_is_not_shown() -> None:
    bare = EXPOSITION.replace("db_connections_waiting 3", "db_connections_waiting 0")

    lines = "\n".join(draw(picture(bare), width=100, height=None, colours=False))

    assert "pool" in "\n".join(shown())
    assert "pool" not in lines
    assert "threads" not in lines


def test_names_steer_no_terminal() -> None:
    assert "\x1b" not in "".join(shown())
    assert "\x1b[2J" not in "".join(shown(colours=True))


def test_colours_only_where_wanted() -> None:
    plain = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(shown(colours=True)))

    assert plain == "\n".join(shown())


def test_without_a_scrape_there_is_still_a_frame() -> None:
    bare = Picture("http://x", "no answer", "12:00:00Z", ["no answer: refused"], (), None)

    lines = draw(bare, width=80, height=24, colours=False)

    assert lines == ["NO ANSWER http://x  12:00:00Z", "no answer: refused"]
