"""The responses that the accept loop gives to probes."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest

from atom_platform.extension.request_record import RequestRecord
from atom_platform.server.probe_responder import (
    MAX_POSTPONED,
    UNREADY_BATCH_SECONDS,
    ProbeResponder,
)
from atom_platform.server.request_head import ProbeRequest
from tests.support.polling import wait_until

LIVE = ProbeRequest("GET", "/health/live", "1.1", False, "id-1", None)
READY = ProbeRequest("GET", "/health/ready", "1.1", False, "id-2", None)


@dataclass
class Readiness:
    status: int
    body: bytes


def responder(ready: Readiness | None, observed: list[RequestRecord]) -> ProbeResponder:
    return ProbeResponder(
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
    request_: ProbeRequest, start: bytes, body: bytes
) -> None:
    observed: list[RequestRecord] = []

    answer = responder(Readiness(503, b"no"), observed).respond(
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

    answer = responder(None, observed).respond(READY, keep_alive=False, remote_addr="::1")

    assert answer is None
    assert not observed


def test_an_observer_that_fails_costs_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError

    answers = ProbeResponder(live_body=lambda: b"alive", ready_answer=lambda: None, observe=fail)

    given = [answers.respond(LIVE, keep_alive=True, remote_addr="::1") for _ in range(3)]

    assert all(answer is not None and answer.endswith(b"alive") for answer in given)
    assert [record.message for record in caplog.records] == ["probe_not_observed"]


def test_unready_answers_are_sent_in_batches() -> None:
    """Clients that ask again at once would otherwise starve liveness of CPU."""
    answers = responder(Readiness(503, b"no"), [])
    first, second = object(), object()
    answers.postpone(first, READY, 10)  # type: ignore[arg-type]  # it is only handed back
    assert answers.seconds_to_batch(time.monotonic()) == 0
    assert answers.take_postponed() == [(first, READY, 10)]
    answers.respond(READY, keep_alive=False, remote_addr="::1")

    answers.postpone(second, READY, 10)  # type: ignore[arg-type]
    due = answers.seconds_to_batch(time.monotonic())
    early = answers.take_postponed()
    wait_until(lambda: answers.seconds_to_batch(time.monotonic()) == 0)

    assert due is not None
    assert 0 < due <= UNREADY_BATCH_SECONDS
    assert early == []
    assert answers.take_postponed() == [(second, READY, 10)]
    assert answers.seconds_to_batch(time.monotonic()) is None


def test_ready_answers_wait_for_no_batch() -> None:
    answers = responder(Readiness(200, b"ok"), [])
    answers.respond(READY, keep_alive=False, remote_addr="::1")

    answers.postpone(object(), READY, 10)  # type: ignore[arg-type]

    assert answers.seconds_to_batch(time.monotonic()) == 0


@pytest.mark.parametrize(("waiting", "at_once"), [(1, True), (MAX_POSTPONED, False)])
def test_a_stop_or_a_crowd_ends_the_wait(waiting: int, at_once: bool) -> None:
    answers = responder(Readiness(503, b"no"), [])
    answers.respond(READY, keep_alive=False, remote_addr="::1")
    for _ in range(waiting):
        answers.postpone(object(), READY, 10)  # type: ignore[arg-type]

    assert len(answers.take_postponed(at_once=at_once)) == waiting
