"""The answers of the accept loop."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from atom_platform.extension.request_record import RequestRecord
from atom_platform.server.heads import LaneRequest
from atom_platform.server.lane import LaneAnswers

LIVE = LaneRequest("GET", "/health/live", "1.1", False, "id-1", None)
READY = LaneRequest("GET", "/health/ready", "1.1", False, "id-2", None)


@dataclass
class Readiness:
    status: int
    body: bytes


def lane(ready: Readiness | None, observed: list[RequestRecord]) -> LaneAnswers:
    return LaneAnswers(
        live_body=lambda: b"alive",
        ready_answer=lambda: ready,
        observe=observed.append,
    )


@pytest.mark.parametrize(
    ("request_", "start", "body"),
    [
        (LIVE, b"HTTP/1.1 200 OK\r\n", b"\r\n\r\nalive"),
        (READY, b"HTTP/1.1 503 SERVICE UNAVAILABLE\r\n", b"\r\n\r\nno"),
    ],
)
def test_an_answer_is_complete_and_counted(
    request_: LaneRequest, start: bytes, body: bytes
) -> None:
    observed: list[RequestRecord] = []

    answer = lane(Readiness(503, b"no"), observed).render(
        request_, keep_alive=False, remote_addr="::1"
    )

    assert answer is not None
    assert answer.startswith(start)
    assert answer.endswith(body)
    (record,) = observed
    assert (record.method, record.remote_addr) == ("GET", "::1")
    assert record.path == record.endpoint == request_.path
    assert record.status == int(start.split()[1])
    assert record.body_bytes == len(body) - 4
    assert record.request_id == request_.request_id


def test_readiness_that_takes_time_is_left_to_the_application() -> None:
    """And is not counted here: the application will."""
    observed: list[RequestRecord] = []

    answer = lane(None, observed).render(READY, keep_alive=False, remote_addr="::1")

    assert answer is None
    assert not observed


def test_an_observer_that_fails_costs_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError

    answers = LaneAnswers(live_body=lambda: b"alive", ready_answer=lambda: None, observe=fail)

    given = [answers.render(LIVE, keep_alive=True, remote_addr="::1") for _ in range(3)]

    assert all(answer is not None and answer.endswith(b"alive") for answer in given)
    assert [record.message for record in caplog.records] == ["probe_not_observed"]
