"""Execution ids are UUIDs that sort by the time of the start."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta, timezone

from atom_platform.agents.model import new_execution_id, timestamp

START_NS = 1_771_269_300_123_456_789


def test_an_id_is_a_uuid_of_version_7() -> None:
    parsed = uuid.UUID(new_execution_id(START_NS))

    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert parsed.int >> 80 == START_NS // 1_000_000


def test_ids_sort_by_start_within_a_millisecond() -> None:
    starts = [START_NS // 1_000_000 * 1_000_000 + offset for offset in range(0, 1_000_000, 250)]

    ids = [new_execution_id(start) for start in starts]

    assert ids == sorted(ids)


def test_ids_of_one_moment_differ() -> None:
    assert len({new_execution_id(START_NS) for _ in range(1000)}) == 1000


def test_timestamps_are_rfc_3339_in_utc_with_milliseconds() -> None:
    moment = datetime(2026, 2, 16, 20, 15, 0, 7_999, timezone(timedelta(hours=1)))

    assert timestamp(moment) == "2026-02-16T19:15:00.007Z"
    assert timestamp(datetime(2026, 2, 16, tzinfo=UTC)) == "2026-02-16T00:00:00.000Z"
