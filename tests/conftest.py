"""What every test may use: a real service, a real PostgreSQL, and a clean environment."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.support.examples import examples
from tests.support.postgres import PostgreSQL, running_postgresql
from tests.support.service import Service, running_service
from tests.support.stalls import STALLS

# No deadline for one example: a busy machine breaks it, and says nothing about the code.
hypothesis.settings.register_profile("suite", deadline=None, max_examples=examples(100))
hypothesis.settings.load_profile("suite")


def pytest_configure(config: pytest.Config) -> None:
    """
    Measure the machine from the first test on, and keep run files apart.

    The services of this test process announce themselves in a directory of its own: neither those
    of another test process nor a developer's own service are ever met there.
    """
    STALLS.start()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell's background job ignores Ctrl-C, and so would every process that a test starts.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    runtime = tempfile.mkdtemp(prefix="atom-test-run-")
    config.add_cleanup(lambda: shutil.rmtree(runtime, ignore_errors=True))
    os.environ["XDG_RUNTIME_DIR"] = runtime


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let captured output cross from one test process to another: hostile text is no UTF-8."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting of the developer's shell must not decide a test."""
    for variable in list(os.environ):
        if variable.startswith("ATOM_") or variable in {
            "DATABASE_URL",
            "GUNICORN_CMD_ARGS",
            "PORT",
            "PROMETHEUS_MULTIPROC_DIR",
            "WEB_CONCURRENCY",
        }:
            monkeypatch.delenv(variable)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A server that every test may use and none may harm; faults need one of their own."""
    with running_postgresql() as server:
        yield server


@pytest.fixture(name="start_service")
def _start_service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Return a function that starts a service; all of them end with the test."""
    with ExitStack() as stack:

        def start(**kwargs: Any) -> Service:
            return stack.enter_context(running_service(tmp_path, **kwargs))

        yield start
