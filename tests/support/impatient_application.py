"""The small application, in a process that gives every socket a timeout."""

from __future__ import annotations

import socket

from tests.support.application import app

__all__ = ["app"]

socket.setdefaulttimeout(5)
