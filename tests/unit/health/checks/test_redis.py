"""redis_check against a real redis-server: up, protected, silent, full and stopped."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from atom_platform.health.check import CheckFailed
from atom_platform.health.checks.redis import redis_check
from tests.support.polling import wait_until
from tests.support.redis import RedisServer
from tests.support.stalls import scaled


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    try:
        yield server
    finally:
        server.kill()


def test_a_server_that_answers_is_healthy_and_its_connection_kept(server: RedisServer) -> None:
    check = redis_check(server.url, timeout_seconds=30)
    results = [check() for _ in range(3)]
    with redis.Redis.from_url(server.url) as client:
        ours = [each for each in client.client_list() if each["cmd"] == "ping"]

    check.close()

    assert {(each.healthy, each.message) for each in results} == {(True, "Redis accessible")}
    assert len(ours) == 1


def test_a_connection_closed_between_two_runs_is_no_outage(server: RedisServer) -> None:
    check = redis_check(server.url, timeout_seconds=30)
    check()
    server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    assert check().healthy
    check.close()


def test_a_wrong_password_is_reported_and_not_repeated(server: RedisServer) -> None:
    server.command("CONFIG", "SET", "requirepass", "right")
    try:
        check = redis_check(server.url.replace("//", "//:hunter2@"), timeout_seconds=30)
        with pytest.raises(CheckFailed, match=r"^Redis authentication failed$"):
            check()
        check.close()
    finally:
        server.command("CONFIG", "SET", "requirepass", "", password="right")


def test_a_silent_server_is_a_timeout_and_cancel_ends_the_wait(server: RedisServer) -> None:
    patient, impatient = (
        redis_check(server.url, timeout_seconds=seconds) for seconds in (300.0, 0.2)
    )
    patient()
    ended: list[CheckFailed] = []

    def wait() -> None:
        try:
            patient()
        except CheckFailed as error:
            ended.append(error)

    def cancelled() -> bool:
        patient.cancel()
        return bool(ended)

    thread = threading.Thread(target=wait)
    server.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(CheckFailed, match=r"^Redis timeout$"):
            impatient()
        thread.start()
        wait_until(cancelled, seconds=60)
    finally:
        server.process.send_signal(signal.SIGCONT)
    thread.join(scaled(60))

    assert patient().healthy
    patient.close()
    impatient.close()


def test_a_stopped_server_is_unhealthy_until_it_is_back(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    server.start()
    check = redis_check(server.url, timeout_seconds=30)
    try:
        check()
        server.kill()
        with pytest.raises(CheckFailed, match=r"^Redis not reachable$"):
            check()
        server.start()

        assert check().healthy
    finally:
        check.close()
        server.kill()


def test_a_url_of_another_scheme_is_rejected() -> None:
    with pytest.raises(ValueError, match="redis"):
        redis_check("http://localhost")


def test_a_client_without_known_sockets_is_logged_and_used(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("atom_platform.health.checks._compat_redis.IN_USE", "_no_such_attribute")
    check = redis_check(server.url, timeout_seconds=30)

    check.cancel()

    assert check().healthy
    assert [record.message for record in caplog.records] == ["redis_version_unproven"]
    check.close()
