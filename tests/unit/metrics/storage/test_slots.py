"""A slot has at most one holder, and the kernel releases it when that process ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from atom_platform.metrics.storage.slots import SlotFile
from tests.support.script import Script, running_script

HOLDER = """
import os
from pathlib import Path
from atom_platform.metrics.storage.slots import SlotFile

def open_slots(path):
    global slots
    slots = SlotFile(Path(path))

def claim_in_child():
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writes, str(slots.claim()).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    return int(os.read(reads, 9))
"""


@pytest.fixture(name="holder")
def _holder(tmp_path: Path) -> Iterator[Callable[[], Script]]:
    with ExitStack() as stack:

        def start() -> Script:
            script = stack.enter_context(running_script(HOLDER))
            script.ask(f"open_slots({str(tmp_path)!r})")
            return script

        yield start


def test_the_lowest_free_slot_is_taken(holder: Callable[[], Script]) -> None:
    first, second, third = holder(), holder(), holder()

    taken = [each.ask("slots.claim()") for each in (first, second, third)]
    second.kill()

    assert taken == [0, 1, 2]
    assert holder().ask("slots.claim()") == 1


def test_the_preferred_slot_is_taken_if_it_is_free(holder: Callable[[], Script]) -> None:
    assert holder().ask("slots.claim(preferred=7)") == 7
    assert holder().ask("slots.claim(preferred=7)") == 0


def test_a_forked_child_does_not_hold_its_parents_slot(holder: Callable[[], Script]) -> None:
    one = holder()

    assert one.ask("slots.claim()") == 0
    assert one.ask("claim_in_child()") == 1
    assert one.ask("claim_in_child()") == 1  # the first child is gone
    assert holder().ask("slots.claim()") == 1  # and the parent still holds its own


def test_others_see_who_holds_a_slot(holder: Callable[[], Script], tmp_path: Path) -> None:
    one = holder()
    slots = SlotFile(tmp_path)

    slot = one.ask("slots.claim()")

    assert slots.holder(slot) == one.pid
    assert slots.live_holder(slot) is None
    one.ask("slots.mark_live(0)")
    assert slots.live_holder(slot) == one.pid
    one.kill()
    assert slots.holder(slot) is None
    assert slots.live_holder(slot) is None
    slots.close()


def test_a_deleted_lock_file_is_noticed(tmp_path: Path) -> None:
    slots = SlotFile(tmp_path)
    assert slots.is_current()

    slots.path.unlink()
    assert not slots.is_current()
    slots.path.touch()
    assert not slots.is_current()
    slots.close()
