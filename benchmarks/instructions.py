"""
Machine instructions a request takes in process: `python -m benchmarks.instructions CONTENDER …`.

Needs valgrind. The number is the same on a loaded machine as on an idle one, to about one in two
hundred. It excludes cache misses, of which our code has many because it is small and spread. A
source file that changes during the measurement is compiled in one of the two runs, and spoils it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from typing import Final

from benchmarks.servers import ROOT

__all__ = ["instructions_per_request"]

#: The difference of two runs leaves the start of the interpreter out.
_FEW: Final = 200
_MANY: Final = 700
_RUN: Final = """
import gc, os, sys
from benchmarks.in_process import timed_contender
run = timed_contender(sys.argv[1])
gc.freeze()
run(int(sys.argv[2]))
os._exit(0)
"""


def instructions_per_request(module: str) -> float:
    """Return the instructions of a request to the contender *module*, over all threads."""
    return (_instructions(module, _MANY) - _instructions(module, _FEW)) / (_MANY - _FEW)


def _instructions(module: str, requests: int) -> int:
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable]
    with tempfile.TemporaryDirectory(prefix="atom-bench-") as directory:
        ended = subprocess.run(
            [*command, "-c", _RUN, module, str(requests)],
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONHASHSEED": "0",
                "PROMETHEUS_MULTIPROC_DIR": directory,
                "DATABASE_URL": f"sqlite:///{directory}/atom.db",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=600,
            check=True,
        )
    found = re.search(r"Collected : (\d+)", ended.stderr)
    if found is None:
        raise RuntimeError(ended.stderr[-500:])
    return int(found[1])


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(f"{name:16} {instructions_per_request(name):10.0f}", flush=True)
