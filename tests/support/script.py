"""Real processes for tests: a script each, told what to do line by line."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.support.stalls import scaled

__all__ = ["Script", "running_script"]

ROOT = Path(__file__).resolve().parents[2]

#: Runs the code, then evaluates each line it is sent and answers with the value as JSON.
_LOOP = """
import json, os, pathlib, sys
scope = {}
exec(compile(%r, "script", "exec"), scope)
if "SCRIPT_MEMORY" in os.environ:
    for name, module in list(sys.modules.items()):
        if name.startswith("atom_platform.") and hasattr(module, "SHARED_MEMORY"):
            module.SHARED_MEMORY = pathlib.Path(os.environ["SCRIPT_MEMORY"])
for line in iter(sys.stdin.readline, ""):
    try:
        answer = eval(line, scope)
    except SyntaxError:
        exec(line, scope)
        answer = None
    print(json.dumps(answer), flush=True)
"""


class Script:
    """
    A process that runs *code* and then what `ask` sends it.

    Args:
        memory: What it takes for `/dev/shm` once *code* was run, its temporary directory inside.
            It meets no private metrics directory of another service there.
    """

    def __init__(
        self, code: str, *, env: Mapping[str, str] | None = None, memory: Path | None = None
    ) -> None:
        environment = {"PATH": os.environ["PATH"], **(env or {})}
        if memory is not None:
            disk = memory / "tmp"
            disk.mkdir(exist_ok=True)
            environment = {"SCRIPT_MEMORY": str(memory), "TMPDIR": str(disk), **environment}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LOOP % code],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, expression: str) -> Any:
        """Evaluate one line in the process, and return the value."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(expression + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the script ended at: {expression}"
        return json.loads(answer)

    def end(self) -> None:
        """Let it run out, as a service that stops does."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(scaled(20))
        self._close()

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(scaled(20))
        self._close()

    def _close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


@contextlib.contextmanager
def running_script(
    code: str, *, env: Mapping[str, str] | None = None, memory: Path | None = None
) -> Iterator[Script]:
    """Start a script, and end it and what it has forked afterwards, whatever happened."""
    script = Script(code, env=env, memory=memory)
    try:
        yield script
    finally:
        script.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(script.pid, signal.SIGKILL)
