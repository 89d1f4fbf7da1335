"""A record is made if another handler or filter wants it, and not made otherwise."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import pytest

from atom_platform.logs import get_logger
from atom_platform.logs.records import HANDLER, is_only_handler
from tests.unit.logs.conftest import Log


class Listener(logging.Handler):
    """Another handler, which keeps what it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Send pytest's own handlers away; not a fixture, because it adds them after the fixtures."""
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, [HANDLER]
    try:
        yield
    finally:
        root.handlers = handlers


def test_pytests_caplog_works(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    get_logger("captured").warning("seen twice", a=1)

    assert caplog.messages == ["seen twice"]
    assert log.line()["a"] == 1


@pytest.mark.parametrize("where", ["", "family", "family.child"])
def test_another_handler_on_any_parent_gets_the_record(log: Log, where: str) -> None:
    listener = Listener()
    with alone():
        assert is_only_handler(logging.getLogger("family.child"))
        logging.getLogger(where or None).addHandler(listener)
        assert not is_only_handler(logging.getLogger("family.child"))
        get_logger("family.child").error("e", exc_info=ValueError("x"), a=1)
    logging.getLogger(where or None).removeHandler(listener)

    (record,) = listener.records
    assert (record.name, record.getMessage(), record.levelno) == ("family.child", "e", 40)
    assert record.exc_info is not None
    assert log.line()["a"] == 1


def test_filters_are_applied(log: Log) -> None:
    class Nothing(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            return "secret plan" not in record.getMessage()

    nothing = Nothing()
    for filtered in (logging.getLogger("filtered"), HANDLER):
        filtered.addFilter(nothing)
        with alone():
            get_logger("filtered").info("secret plan")
        filtered.removeFilter(nothing)

    assert log.lines() == []


def test_a_logger_that_does_not_propagate_is_not_written(log: Log) -> None:
    logging.getLogger("to.itself").propagate = False
    with alone():
        get_logger("to.itself").info("nothing")
    logging.getLogger("to.itself").propagate = True

    assert log.lines() == []


def test_both_paths_make_the_same_line(log: Log) -> None:
    listener = Listener()
    with alone():
        for _ in range(2):
            try:
                raise ValueError("x")
            except ValueError:
                get_logger("same").bind(b=1).exception("%s", "e", a=1, event="x", level="y")
            logging.getLogger().addHandler(listener)

    assert len(listener.records) == 1
    one, other = log.lines()
    del one["timestamp"], other["timestamp"]
    assert list(one.items()) == list(other.items())
