"""Every source of log lines writes the same JSON, with the same keys first."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import textwrap
import threading
import warnings
from typing import Any

import pytest
import structlog

from atom_platform.logs import RequestContext, configure_structlog, get_logger
from atom_platform.logs.config import reset_logging, set_line_counters
from tests.support.service import ROOT
from tests.support.stalls import scaled
from tests.unit.logs.conftest import Log

at_the_top = get_logger("made.before")


def keys(line: dict[str, Any]) -> list[str]:
    return list(line)


@pytest.fixture(autouse=True, params=["the short way", "the way of records"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test on both paths; the fast one must be forced, as pytest handles all records."""
    short = request.param == "the short way"
    monkeypatch.setattr("atom_platform.logs.logger.is_only_handler", lambda logger: short)


def test_the_example_of_the_guide_logs_its_fields(log: Log) -> None:
    logger = get_logger("core.agent_service")

    logger.info("Agent started", agent_id="agent-123", request_id="req-456")

    line = log.line()
    assert keys(line) == ["timestamp", "level", "logger", "event", "agent_id", "request_id"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("timestamp"))
    assert line == {
        "level": "INFO",
        "logger": "core.agent_service",
        "event": "Agent started",
        "agent_id": "agent-123",
        "request_id": "req-456",
    }


def test_bound_fields_come_before_fields_of_the_call(log: Log) -> None:
    with RequestContext(request_id="r", user_id="u"):
        at_the_top.bind(bound=1).info("e", b=2, a=1)

    assert keys(log.line())[4:] == ["request_id", "user_id", "bound", "b", "a"]


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "critical"])
def test_each_level_has_its_name(log: Log, level: str) -> None:
    log.configure(level="DEBUG")

    getattr(at_the_top, level)("e")
    getattr(logging.getLogger("std"), level)("e")
    at_the_top.log(getattr(logging, level.upper()), "e")

    assert [line["level"] for line in log.lines()] == [level.upper()] * 3


def test_a_standard_logger_writes_the_same_line(log: Log) -> None:
    with RequestContext(request_id="r"):
        logging.getLogger("a.library").warning("%s of %d", "one", 2, extra={"path": "/x", "n": 3})

    line = log.line()
    assert keys(line) == ["timestamp", "level", "logger", "event", "request_id", "path", "n"]
    assert (line["logger"], line["event"], line["path"]) == ("a.library", "one of 2", "/x")


def test_structlogs_get_logger_writes_the_same_line(log: Log) -> None:
    with structlog.contextvars.bound_contextvars(theirs=1):
        structlog.get_logger("direct").info("e", a=1)

    line = log.line()
    assert (line["logger"], line["theirs"], line["a"]) == ("direct", 1, 1)


def test_a_traceback_is_one_string(log: Log) -> None:
    try:
        raise ValueError("broken")
    except ValueError as error:
        at_the_top.exception("a")
        logging.getLogger("std").exception("b")
        at_the_top.error("c", exc_info=error)
        at_the_top.error("d", exc_info=True)

    for line in log.lines():
        assert line["exception"].startswith("Traceback (most recent call last):\n")
        assert line["exception"].endswith("ValueError: broken")
        assert "exc_info" not in line


def test_a_stack_is_one_string(log: Log) -> None:
    at_the_top.info("a", stack_info=True)
    logging.getLogger("std").info("b", stack_info=True)

    for line in log.lines():
        assert "test_a_stack_is_one_string" in line["stack"]
        assert "stack_info" not in line


def test_without_an_exception_there_is_no_exception_field(log: Log) -> None:
    at_the_top.error("a", exc_info=True)
    at_the_top.error("b", exc_info=None)

    assert all("exception" not in line for line in log.lines())


def test_a_field_cannot_replace_a_reserved_key(log: Log) -> None:
    fake = {"timestamp": "t", "level": "FAKE", "logger": "x", "event": "y"}

    at_the_top.bind(**fake).info("real", **fake)
    logging.getLogger("made.before").info(
        "real", extra={"level": "FAKE", "logger": "x", "timestamp": "t", "event": "y"}
    )
    with RequestContext(**fake):
        at_the_top.info("real")

    for line in log.lines():
        assert keys(line)[:4] == ["timestamp", "level", "logger", "event"]
        assert (line["level"], line["logger"], line["event"]) == ("INFO", "made.before", "real")
        assert (line["level_"], line["logger_"], line["event_"]) == ("FAKE", "x", "y")


def test_text_with_newlines_stays_in_one_line(log: Log) -> None:
    forged = 'x"}\n{"level":"ERROR","event":"forged"}\r\n'

    at_the_top.info(forged, field=forged, **{forged: 1})

    assert log.line()["event"] == forged


def test_logging_never_raises() -> None:
    lines, status = run(
        """
        import logging
        from atom_platform.logs import configure_structlog, get_logger
        class Broken:
            def __str__(self): raise RuntimeError
            __repr__ = __str__
        class BrokenError(Exception):
            __str__ = Broken.__str__
        configure_structlog()
        log, standard = get_logger("x"), logging.getLogger("y")
        log.info("%d", "x")
        log.info("%s %s", "x")
        log.info(Broken(), broken=Broken())
        log.info()
        log.info({"a": 1})
        log.error("a", exc_info=BrokenError())
        standard.info("%d", "x")
        standard.info(Broken())
        standard.info("a", extra={"b": Broken()})
        standard.error("a", exc_info=BrokenError())
        standard.info({"a": 1})
        """
    )

    assert status == 0
    assert len(lines) == 11
    assert lines[0]["arguments"] == ["x"]
    assert lines[6]["arguments"] == ["x"]
    assert all(isinstance(line["event"], str) for line in lines)


def test_single_loggers_may_have_a_level(log: Log) -> None:
    log.configure(level="INFO", levels={"noisy": "ERROR", "curious": "DEBUG"})

    for name in ("noisy", "noisy.child", "curious", "other"):
        get_logger(name).debug("debug")
        logging.getLogger(name).warning("warning")

    assert [(line["logger"], line["level"]) for line in log.lines()] == [
        ("curious", "DEBUG"),
        ("curious", "WARNING"),
        ("other", "WARNING"),
    ]


def test_a_second_configuration_restores_the_levels_of_the_first(log: Log) -> None:
    log.configure(levels={"noisy": "ERROR"})
    log.configure(level="WARNING")

    logging.getLogger("noisy").warning("w")
    logging.getLogger("noisy").info("i")

    assert log.line()["event"] == "w"


def test_configuring_twice_writes_once(log: Log) -> None:
    log.configure()
    configure_structlog()

    at_the_top.info("e")

    assert log.line()["event"] == "e"


def test_warnings_are_logged(log: Log) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        log.configure()
        warnings.warn("careful", DeprecationWarning, stacklevel=1)

    line = log.line()
    assert (line["logger"], line["level"]) == ("py.warnings", "WARNING")
    assert (line["event"], line["category"]) == ("careful", "DeprecationWarning")
    assert line["file"] == __file__


def test_an_exception_that_ends_a_thread_is_logged(log: Log) -> None:
    def work() -> None:
        raise ValueError("in a thread")

    thread = threading.Thread(target=work, name="worker-7")
    thread.start()
    thread.join()

    line = log.line()
    assert (line["level"], line["event"]) == ("CRITICAL", "uncaught_exception_in_thread")
    assert line["thread"] == "worker-7"
    assert line["exception"].endswith("ValueError: in a thread")


def test_an_unraisable_exception_is_logged(log: Log) -> None:
    class Unfinished:
        def __del__(self) -> None:
            raise ValueError("in a finalizer")

    Unfinished()

    line = log.line()
    assert (line["level"], line["event"]) == ("ERROR", "unraisable_exception")
    assert line["exception"].endswith("ValueError: in a finalizer")


def test_structlogs_capture_logs_works(log: Log) -> None:
    with structlog.testing.capture_logs() as captured:
        at_the_top.info("seen", a=1)

    assert captured == [{"event": "seen", "a": 1, "log_level": "info"}]
    assert log.lines() == []


def test_lines_are_counted_by_level_and_a_failing_counter_costs_none(log: Log) -> None:
    counted: dict[str, int] = {}

    def count(level: str, lines: int) -> None:
        counted[level] = counted.get(level, 0) + lines

    set_line_counters(message=count)
    for _ in range(3):
        at_the_top.info("e")
    logging.getLogger("std").error("e")
    assert len(log.lines()) == 4
    set_line_counters(message=lambda level, lines: [][lines])
    at_the_top.info("e")

    assert len(log.lines()) == 5
    assert counted == {"INFO": 3, "ERROR": 1}


def test_reset_logging_restores_the_previous_state() -> None:
    reset_logging()  # another test may have made an application in this process
    root = logging.getLogger()
    plain = logging.StreamHandler(sys.stderr)
    root.addHandler(plain)
    before = (list(root.handlers), root.level, sys.excepthook, threading.excepthook)
    try:
        configure_structlog(level="ERROR", levels={"x": "DEBUG"})
        assert plain not in root.handlers
        reset_logging()

        after = (list(root.handlers), root.level, sys.excepthook, threading.excepthook)
        assert {*after[0]} == {*before[0]}
        assert after[1:] == before[1:]
        assert logging.getLogger("x").level == logging.NOTSET
        assert not structlog.is_configured()
    finally:
        root.removeHandler(plain)


def test_the_console_format_is_readable(log: Log) -> None:
    log.configure(format="console")

    try:
        raise ValueError("broken")
    except ValueError:
        at_the_top.exception("it_failed", agent_id="a", password="hunter2", evil="\x1b[2J\n")

    text = log.text()
    assert "it_failed" in text
    assert "agent_id" in text
    assert "hunter2" not in text
    assert "\x1b[2J" not in text
    assert "\n    Traceback" in text


def run(code: str) -> tuple[list[dict[str, Any]], int]:
    """Run *code* in a new process; every line on its two outputs must be JSON."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=scaled(60),
        check=False,
    )
    return [json.loads(line) for line in done.stdout.splitlines()], done.returncode


def test_an_uncaught_exception_is_written_before_the_process_ends() -> None:
    lines, status = run(
        """
        from atom_platform.logs import configure_structlog, get_logger
        configure_structlog()
        get_logger("x").info("first")
        raise ValueError("password=hunter2")
        """
    )

    assert status == 1
    assert [line["event"] for line in lines] == ["first", "uncaught_exception"]
    assert lines[1]["level"] == "CRITICAL"
    assert lines[1]["exception"].endswith("ValueError: password=[redacted]")


def test_printed_text_is_logged() -> None:
    lines, status = run(
        """
        import os, sys, traceback
        from atom_platform.logs import configure_structlog
        from atom_platform.logs.config import capture_output
        configure_structlog()
        capture_output()
        capture_output()
        print("one"); print("two\\nthree")
        print("half ", end=""); print("whole")
        print("to stderr", file=sys.stderr)
        sys.stdout.buffer.write(b"bytes\\n")
        assert sys.stdout.fileno() == 1
        try:
            {}["k"]
        except KeyError:
            traceback.print_exc()
        try:
            try:
                {}["k"]
            except KeyError as error:
                raise ValueError("chained") from error
        except ValueError:
            traceback.print_exc()
        print("unfinished", end="")
        """
    )

    assert status == 0
    shown = [(line["logger"], line["event"]) for line in lines]
    assert shown == [
        ("stdout", "one"),
        ("stdout", "two"),
        ("stdout", "three"),
        ("stdout", "half whole"),
        ("stderr", "to stderr"),
        ("stdout", "bytes"),
        ("stderr", "KeyError: 'k'"),
        ("stderr", "KeyError: 'k'"),
        ("stderr", "The above exception was the direct cause of the following exception:"),
        ("stderr", "ValueError: chained"),
        ("stdout", "unfinished"),
    ]
    assert lines[6]["exception"].startswith("Traceback")
    assert lines[9]["exception"].startswith("Traceback")


def test_a_recursion_error_is_logged() -> None:
    lines, _ = run(
        """
        from atom_platform.logs import configure_structlog, get_logger
        configure_structlog()
        def f(): f()
        try:
            f()
        except RecursionError:
            get_logger("x").exception("too deep")
        """
    )

    assert lines[0]["event"] == "too deep"
    assert "RecursionError" in lines[0]["exception"]
