"""redis_check against a real redis-server: there, protected, silent, full and gone."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from atom_platform.health.checks.redis import redis_check
from atom_platform.health.result import CheckFailed
from tests.polling import free_port, wait_until
from tests.tools import needs


class Server:
    """One redis-server of the test's own, on loopback."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._command = [
            needs("redis-server", package="redis-server"),
            *(
                "--port",
                str(self.port),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--dir",
                str(directory),
            ),
        ]

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        wait_until(self.answers, seconds=60)

    def answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=1, retry=None) as client:
                client.ping()
        except redis.RedisError as error:
            return "NOAUTH" in str(error)
        return True

    def command(self, *words: str, password: str | None = None) -> None:
        with redis.Redis.from_url(self.url, password=password, socket_timeout=30) as client:
            client.execute_command(*words)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait(30)


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("redis"))
    server.start()
    try:
        yield server
    finally:
        server.kill()


def test_one_that_answers_is_healthy_and_keeps_its_connection(server: Server) -> None:
    check = redis_check(server.url, timeout_seconds=30)
    results = [check() for _ in range(3)]
    with redis.Redis.from_url(server.url) as client:
        ours = [each for each in client.client_list() if each["cmd"] == "ping"]

    check.close()

    assert {(each.healthy, each.message) for each in results} == {(True, "Redis accessible")}
    assert len(ours) == 1


def test_a_connection_that_was_closed_meanwhile_is_no_outage(server: Server) -> None:
    check = redis_check(server.url, timeout_seconds=30)
    check()
    server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    assert check().healthy
    check.close()


def test_a_wrong_password_is_told_without_it(server: Server) -> None:
    server.command("CONFIG", "SET", "requirepass", "right")
    try:
        check = redis_check(server.url.replace("//", "//:hunter2@"), timeout_seconds=30)
        with pytest.raises(CheckFailed, match=r"^Redis authentication failed$"):
            check()
        check.close()
    finally:
        server.command("CONFIG", "SET", "requirepass", "", password="right")


def test_silence_is_a_timeout_and_cancel_ends_the_wait(server: Server) -> None:
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
    thread.join(60)

    assert patient().healthy
    patient.close()
    impatient.close()


def test_one_that_is_gone_is_told_and_found_again(tmp_path: Path) -> None:
    server = Server(tmp_path)
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


def test_what_is_no_url_of_redis_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="redis"):
        redis_check("http://localhost")
