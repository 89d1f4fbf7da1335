"""A signal to a worker that starts reaches it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from tests.support.stalls import scaled

BORN = """
import os, signal
from atom_platform.server import hooks

class Worker: pass

def queue_up(number, frame):  # as the arbiter's handler: of no effect in the child
    pass

signal.signal(signal.SIGTERM, queue_up)
hooks.pre_fork(None, Worker())
pid = os.fork()
if pid == 0:
    os.kill(os.getpid(), signal.SIGTERM)
    hooks.post_fork(None, Worker())
    os._exit(3)  # the signal was lost
_, status = os.waitpid(pid, 0)
blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
print(os.WTERMSIG(status) if os.WIFSIGNALED(status) else "lost", sorted(blocked))
"""


def test_a_signal_right_after_the_fork_is_not_lost() -> None:
    """And the parent holds nothing any more."""
    done = subprocess.run(
        [sys.executable, "-c", BORN],
        env={"PATH": os.environ["PATH"], "DATABASE_URL": "sqlite://"},
        capture_output=True,
        text=True,
        timeout=scaled(60),
        check=True,
    )

    assert done.stdout.split("\n")[0] == f"{signal.SIGTERM.value} []", done.stderr
