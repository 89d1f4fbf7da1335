"""
Print every alert that Alertmanager sends, one JSON object per line, in the demo.

Standard library only: `python webhook.py [PORT]`. The path of the request names the receiver. With
port 0 it takes a free one; the first line says which.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Webhook(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        for alert in json.loads(body)["alerts"]:
            say(
                receiver=self.path.strip("/"),
                status=alert["status"],
                alertname=alert["labels"]["alertname"],
                labels=alert["labels"],
                annotations=alert["annotations"],
                starts_at=alert["startsAt"],
                ends_at=alert["endsAt"],
            )
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Log nothing: only the alerts are printed."""


def say(**fields: Any) -> None:
    # One write a line: two alerts may arrive at once.
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def main() -> None:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8080
    # Every address: inside a container the sender is somewhere else.
    with ThreadingHTTPServer(("0.0.0.0", port), Webhook) as server:  # noqa: S104
        say(listening=server.server_port)
        server.serve_forever()


if __name__ == "__main__":
    main()
