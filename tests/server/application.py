"""A small application with what the worker looks for, and with views that misbehave on request."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import threading
import time
from types import SimpleNamespace
from typing import Any

from flask import Flask, Response, request

__all__ = ["app"]

app = Flask(__name__)
observed: list[dict[str, Any]] = []


BODY = json.dumps({"status": "alive"}).encode()


def live_body() -> bytes:
    return BODY


def observe_request(
    method: str,
    path: str,
    endpoint: str,
    status: int,
    duration_seconds: float,
    response_bytes: int,
    remote_addr: str,
    request_id: str,
    traceparent: str | None,
) -> None:
    observed.append({**locals(), "thread": threading.current_thread().name})
    del observed[:-100]


app.extensions["atom"] = SimpleNamespace(live_body=live_body, observe_request=observe_request)


def _health(body: bytes) -> Response:
    return Response(body, mimetype="application/json", headers={"Cache-Control": "no-store"})


@app.get("/health/live", strict_slashes=False)
def live() -> Response:
    response = _health(live_body())
    response.headers["X-Request-ID"] = request.headers.get("X-Request-ID", "0" * 32)
    return response


@app.get("/health/ready")
@app.get("/health/startup")
@app.get("/health/metrics")
def ready() -> Response:
    return _health(json.dumps({"thread": threading.current_thread().name}).encode())


@app.get("/observed")
def observations() -> Response:
    return Response(json.dumps(observed), mimetype="application/json")


@app.get("/pid")
def pid() -> str:
    return str(os.getpid())


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
        ctypes.PyDLL(None).sleep(60)  # a C call that keeps the interpreter lock: nothing runs
    elif how == "memory":
        hoard = []
        while True:
            hoard.append(bytearray(os.urandom(1 << 20)))
    elif how == "exit":
        raise SystemExit(0)
    return ""
