"""The small application, with a page of metrics that no socket takes in one piece."""

from __future__ import annotations

from tests.support.application import app
from tests.support.records import count_request

__all__ = ["app"]

for number in range(1000):
    path = f"/{number}/{'x' * 80}"
    app.add_url_rule(path, path, lambda: "")
    count_request("GET", path, 200, 0.01)
