"""
What is logged can be changed while the service runs, in all its processes, and ends by itself.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from atom_platform.logs import get_logger
from atom_platform.logs.levels import Levels, LevelsFile, watch_levels
from tests.support.polling import wait_until
from tests.support.service import ROOT
from tests.support.stalls import scaled
from tests.unit.logs.conftest import Log


class Clock:
    """A clock that stands still until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(name="clock")
def _clock() -> Clock:
    return Clock()


@pytest.fixture(name="file")
def _file(log: Log, tmp_path: Path, clock: Clock) -> LevelsFile:
    log.configure(level="INFO", levels={"noisy": "ERROR"})
    return LevelsFile(tmp_path / "levels", clock=clock)


def levels() -> tuple[str, str, str]:
    """Return the levels of three loggers, by the least line they would write."""
    return tuple(  # type: ignore[return-value]
        logging.getLevelName(logging.getLogger(name).getEffectiveLevel())
        for name in ("", "noisy", "other")
    )


def test_without_a_file_no_level_changes(file: LevelsFile, log: Log) -> None:
    file.poll()

    assert levels() == ("INFO", "ERROR", "INFO")
    assert log.lines() == []


def test_levels_are_replaced_and_restored(file: LevelsFile, log: Log) -> None:
    file.write(Levels(level="DEBUG"))
    file.poll()
    assert levels() == ("DEBUG", "ERROR", "DEBUG")

    file.write(Levels(loggers={"noisy": "DEBUG", "other": "CRITICAL"}))
    file.poll()
    assert levels() == ("INFO", "DEBUG", "CRITICAL")

    file.clear()
    file.poll()
    assert levels() == ("INFO", "ERROR", "INFO")
    assert [line["event"] for line in log.lines()] == ["log_levels_changed"] * 3


def test_levels_end_at_their_time(file: LevelsFile, clock: Clock) -> None:
    file.write(Levels(level="DEBUG", until=1010.0))
    file.poll()
    assert levels()[0] == "DEBUG"

    clock.now = 1010.0
    file.poll()
    assert levels()[0] == "INFO"

    file.poll()
    assert levels()[0] == "INFO"


def test_configuring_again_keeps_the_replaced_levels(file: LevelsFile, log: Log) -> None:
    """SIGHUP configures again, and the file has not changed."""
    file.write(Levels(level="DEBUG"))
    file.poll()

    log.configure(level="WARNING")

    assert levels()[0] == "DEBUG"


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '"x"', '{"level": "LOUD"}', '{"loggers": {"a": 7}}', '{"until": "soon"}', "\0"],
)
def test_an_invalid_file_is_logged_once_and_changes_nothing(
    file: LevelsFile, log: Log, tmp_path: Path, text: str
) -> None:
    file.write(Levels(level="DEBUG"))
    file.poll()
    (tmp_path / "levels").write_text(text)

    for _ in range(3):
        file.poll()

    assert levels()[0] == "DEBUG"
    assert [line["event"] for line in log.lines()].count("log_levels_rejected") == 1


def test_only_a_regular_file_is_read(file: LevelsFile, log: Log, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text('{"level": "DEBUG"}')
    (tmp_path / "levels").symlink_to(elsewhere)
    for _ in range(3):
        file.poll()
    assert levels()[0] == "INFO"
    assert [line["event"] for line in log.lines()] == ["log_levels_rejected"]

    (tmp_path / "levels").unlink()
    (tmp_path / "levels").mkdir()
    file.poll()
    assert levels()[0] == "INFO"


def test_a_pipe_without_a_writer_blocks_nothing(file: LevelsFile, tmp_path: Path) -> None:
    """It is the thread that writes the log that reads the file."""
    path = tmp_path / "levels"
    os.mkfifo(path)
    thread = threading.Thread(target=file.poll, daemon=True)
    thread.start()
    thread.join(scaled(30))
    hangs = thread.is_alive()
    if hangs:
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))

    assert not hangs
    assert levels()[0] == "INFO"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_the_file_of_another_user_is_not_read(file: LevelsFile, log: Log, tmp_path: Path) -> None:
    path = tmp_path / "levels"
    file.write(Levels(level="DEBUG"))
    os.chown(path, 12345, 12345)
    file.poll()

    assert levels()[0] == "INFO"
    assert [line["event"] for line in log.lines()] == ["log_levels_rejected"]


def test_an_unknown_level_is_refused(file: LevelsFile) -> None:
    with pytest.raises(ValueError, match="one of"):
        file.write(Levels(level="LOUD"))


def test_the_writing_thread_polls_the_file(log: Log, tmp_path: Path) -> None:
    logger = get_logger("watched")
    file = watch_levels(tmp_path / "levels")
    log.writer.start()

    file.write(Levels(level="DEBUG"))

    wait_until(lambda: logger.isEnabledFor(logging.DEBUG))
    file.clear()
    wait_until(lambda: not logger.isEnabledFor(logging.DEBUG))


def test_forked_processes_poll_the_file_too(tmp_path: Path) -> None:
    code = f"""
        import os, sys, time
        from pathlib import Path
        from atom_platform.logs import configure_structlog, get_logger
        from atom_platform.logs.levels import Levels, watch_levels
        configure_structlog()
        log = get_logger("x")
        file = watch_levels(Path({str(tmp_path / "levels")!r}))
        for child in range(3):
            if os.fork() == 0:
                log.info("ready")
                deadline = time.monotonic() + 20
                while not log.isEnabledFor(10) and time.monotonic() < deadline:
                    time.sleep(0.01)
                log.debug("seen", child=child)
                sys.exit()
        file.write(Levels(level="DEBUG"))
        for child in range(3):
            os.wait()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        capture_output=True,
        timeout=scaled(60),
        check=True,
    )

    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["child"] for line in lines if line["event"] == "seen"} == {0, 1, 2}
