"""A small monitored application whose views misbehave on request."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import threading
import time

from flask import Flask, Response, request

from atom_platform.monitoring import Monitoring
from atom_platform.server.worker_exits import request_restart

__all__ = ["app"]

app = Flask(__name__)
Monitoring(app)


@app.get("/pid")
def pid() -> str:
    return str(os.getpid())


@app.get("/restart")
def restart() -> str:
    request_restart("drill")
    return str(os.getpid())


@app.get("/frozen")
def frozen() -> str:
    """How many objects the garbage collector leaves alone."""
    return str(gc.get_freeze_count())


@app.get("/thread")
def thread() -> str:
    return threading.current_thread().name


@app.get("/sleep/<float:seconds>")
def sleep(seconds: float) -> str:
    """What every thread of a busy service does."""
    time.sleep(seconds)
    return str(os.getpid())


@app.get("/spin/<float:seconds>")
def spin(seconds: float) -> str:
    """Hold the interpreter as hard as Python code can."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass
    return "spun"


@app.post("/echo")
def echo() -> bytes:
    return request.get_data()


@app.post("/ignore")
def ignore() -> str:
    """Answer without reading the body."""
    return "ignored"


@app.get("/stream/<int:pieces>")
def stream(pieces: int) -> Response:
    return Response((b"x" * 65_536 for _ in range(pieces)), mimetype="text/plain")


@app.get("/end/<how>")
def end(how: str) -> str:
    """End this worker in one of the ways that workers end."""
    if how == "signal":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif how == "status":
        os._exit(7)
    elif how == "hang":
        ctypes.PyDLL(None).sleep(60)  # a C call that keeps the interpreter's lock: nothing runs
    elif how == "exit":
        raise SystemExit(0)
    return ""


@app.get("/hoard")
def hoard() -> str:
    """Take memory until the kernel has had enough."""
    pieces = []
    while True:
        pieces.append(os.urandom(1 << 20))
