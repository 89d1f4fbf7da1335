"""A moment without a free thread passes, and the worker serves on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.client import Client
from tests.support.load import slow_readers
from tests.support.service import Service
from tests.support.stalls import scaled

Connect = Callable[[Service], Client]

PATH = "/health/metrics"


@pytest.fixture(name="flag")
def _flag(tmp_path: Path) -> Path:
    """While it exists there is no thread."""
    return tmp_path / "no-more-threads"


@pytest.fixture(name="threadless")
def _threadless(serve: Callable[..., Service], flag: Path) -> Iterator[Service]:
    service = serve(
        app="tests.support.threadless_application:app",
        env={"WEB_CONCURRENCY": "1", "NO_MORE_THREADS": str(flag)},
    )
    (pid,) = service.workers()
    flag.touch()

    yield service

    flag.unlink(missing_ok=True)
    assert service.workers() == [pid]
    began = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - began < scaled(10)  # nothing is still waited for


@pytest.mark.parametrize(
    ("path", "status"), [(PATH, 200), ("/pid", 500)], ids=["by-application", "not-at-all"]
)
def test_without_a_thread_requests_get_an_error_and_later_ones_an_answer(
    threadless: Service, connect: Connect, flag: Path, path: str, status: int
) -> None:
    """The application needs a thread for a scrape too, but has one since the first probe."""
    assert connect(threadless).ask(path).status == status
    assert connect(threadless).ask("/health/live").status == 200

    flag.unlink()

    assert [connect(threadless).ask(path).status for _ in range(3)] == [200] * 3
    assert threadless.sample("gunicorn_threads_busy") == 0


def test_a_slow_client_does_not_end_other_scrapes(
    threadless: Service, connect: Connect, flag: Path
) -> None:
    flag.unlink()
    assert connect(threadless).ask(PATH).status == 200
    flag.touch()
    with slow_readers(threadless, 1):
        assert connect(threadless).ask(PATH, "Accept-Encoding: gzip").status == 200
    flag.unlink()

    assert [connect(threadless).ask(PATH).status for _ in range(3)] == [200] * 3
