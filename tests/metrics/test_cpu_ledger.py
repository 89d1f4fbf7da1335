"""CPU time never goes back, whoever reads it and whichever arbiter has left."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from atom_platform.metrics.cpu_ledger import CpuLedger, Reading


def test_what_one_worker_told_no_other_takes_back(tmp_path: Path) -> None:
    """A reading across a death lacks the dead one's ticks for a moment."""
    one, other = CpuLedger(tmp_path, "life"), CpuLedger(tmp_path, "life")

    told = [
        one.advance(lambda: Reading(100, (7,))),
        other.advance(lambda: Reading(90, (7,))),
        one.advance(lambda: Reading(130, (7,))),
    ]

    assert told == [100, 100, 130]


def test_an_arbiter_that_leaves_takes_nothing_along(tmp_path: Path) -> None:
    ledger = CpuLedger(tmp_path, "life")

    told = [
        ledger.advance(lambda: Reading(1000, (7,))),
        ledger.advance(lambda: Reading(1200, (7, 8))),
        ledger.advance(lambda: Reading(150, (8,))),
        ledger.advance(lambda: Reading(170, (8,))),
    ]

    assert told == [1000, 1200, 1200, 1220]


@pytest.mark.parametrize("before", [b"", b"nonsense", b"another 500 0 7\n"])
def test_another_life_or_none_is_a_new_beginning(tmp_path: Path, before: bytes) -> None:
    (tmp_path / ".cpu").write_bytes(before)

    assert CpuLedger(tmp_path, "life").advance(lambda: Reading(3, (7,))) == 3


def test_who_holds_it_for_ever_is_not_waited_for(tmp_path: Path) -> None:
    ledger = CpuLedger(tmp_path, "life")
    ledger.advance(lambda: Reading(3, (7,)))

    with (tmp_path / ".cpu").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            ledger.advance(lambda: Reading(4, (7,)))
