"""What happens at a fork happens in the order that `atom_platform.forking` states."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from atom_platform.forking import PARTS, at_fork
from tests.support.stalls import scaled

PACKAGE = Path(__file__).resolve().parents[2] / "atom_platform"

#: Registers callbacks in the wrong order, and prints what runs where.
OUT_OF_ORDER = """
import os, sys
from atom_platform.forking import PARTS, at_fork

def say(what):
    line = " ".join(what) + "\\n"
    return lambda: os.write(1, line.encode())

for part in reversed(PARTS):
    at_fork(part, before=say(["before", part]), after_in_parent=say(["parent", part]),
            after_in_child=say(["child", part]))
pid = os.fork()
if pid == 0:
    os._exit(0)
os.waitpid(pid, 0)
"""

ONE_FAILS = """
import os
from atom_platform.forking import at_fork

def fail():
    raise SystemExit("lost directory")

at_fork("request_ids", after_in_child=fail)
at_fork("signals", after_in_child=lambda: os.write(1, b"signals\\n"))
pid = os.fork()
if pid == 0:
    os._exit(3)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""

EVERY_MODULE = """
import importlib, pkgutil
import atom_platform
from atom_platform.forking import PARTS, registered_parts

for module in pkgutil.walk_packages(atom_platform.__path__, "atom_platform."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(*sorted(set(PARTS) - set(registered_parts())))
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=scaled(60), check=True
    )


def test_callbacks_run_in_the_stated_order_whatever_the_order_of_imports() -> None:
    lines = [line.split() for line in run(OUT_OF_ORDER).stdout.splitlines()]

    def order(when: str) -> list[str]:
        return [part for happened, part in lines if happened == when]

    assert order("before") == list(reversed(PARTS))
    assert order("parent") == list(PARTS)
    assert order("child") == list(PARTS)


@pytest.mark.parametrize(
    ("earlier", "later", "reason"),
    [
        ("request_ids", "log_writer", "a line may need an id"),
        ("metrics_storage", "log_writer", "a log line is counted under the storage's lock"),
        ("log_writer", "scrape", "what follows may log"),
        ("log_writer", "health_registry", "what follows may log"),
        ("log_writer", "database_engine", "what follows may log"),
        ("database_pool_gauges", "database_engine", "dropped connections change the gauges"),
        ("database_engine", "signals", "a handler finds everything restored"),
    ],
)
def test_a_part_comes_after_the_parts_it_uses(earlier: str, later: str, reason: str) -> None:
    assert PARTS.index(earlier) < PARTS.index(later), reason


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(ValueError, match="'metric_storage' is not one of the parts"):
        at_fork("metric_storage", after_in_child=lambda: None)


def test_a_callback_that_fails_neither_stops_the_others_nor_the_fork() -> None:
    done = run(ONE_FAILS)

    assert done.stdout.split() == ["signals", "3"]
    assert "lost directory" in done.stderr


def test_each_part_of_the_list_is_registered_by_a_module() -> None:
    assert run(EVERY_MODULE).stdout.split() == []


def test_no_other_module_registers_with_the_interpreter() -> None:
    """Its callbacks would run in the order of imports."""
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "register_at_fork"
    }

    assert users == {"forking.py"}
