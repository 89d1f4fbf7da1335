"""Runs a function in a forked child, as a worker of a preloaded server is."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable
from typing import Any

__all__ = ["in_child"]


def in_child(work: Callable[[], Any]) -> Any:
    """
    Return what *work* returns (through JSON) in a child of this process.

    The child ends without running anything of the test runner's.
    """
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write, json.dumps(work()).encode())
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read()
    status = os.waitpid(pid, 0)[1]
    assert status == 0, "the child failed; its traceback is on stderr"
    return json.loads(said)
