"""Times are written as the guide writes them."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

import pytest

from atom_platform.timestamps import rfc3339, rfc3339_now


@pytest.mark.parametrize(
    ("unix_seconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1771269300.0, "2026-02-16T19:15:00.000Z"),
        (1771269300.0419, "2026-02-16T19:15:00.041Z"),
        (1771269300.9999, "2026-02-16T19:15:00.999Z"),
        (1771269301.0, "2026-02-16T19:15:01.000Z"),
    ],
)
def test_format(unix_seconds: float, text: str) -> None:
    assert rfc3339(unix_seconds) == text


def test_now_is_now() -> None:
    before = time.time()

    text = rfc3339_now()

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    told = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z").astimezone(UTC).timestamp()
    assert before - 0.001 <= told <= time.time()


def test_now_goes_on_within_and_across_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second is formatted once and kept; nothing else may be."""
    moments = iter([1771269300_041_000_000, 1771269300_999_000_000, 1771269301_000_000_000])
    monkeypatch.setattr(time, "time_ns", lambda: next(moments))

    assert [rfc3339_now() for _ in range(3)] == [
        "2026-02-16T19:15:00.041Z",
        "2026-02-16T19:15:00.999Z",
        "2026-02-16T19:15:01.000Z",
    ]
