"""`python -m atom_platform top`."""

from __future__ import annotations

import argparse
import http.client
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from atom_platform.doctor.asking import Reply, asking, reason
from atom_platform.metrics.samples import ParsedExposition
from atom_platform.settings import Settings
from atom_platform.top import terminal
from atom_platform.top.frame import Picture, draw
from atom_platform.top.view import Check, checks_of, figures_of
from atom_platform.top.window import Window

__all__ = ["main"]

EPILOG = """\
Rates and quantiles are those of the last seconds; the first frame, and --once, show all since the
service was started. `q` ends it. Where the service is and what it wants to be shown is read from
PORT, ATOM_MANAGEMENT_PORT, ATOM_METRICS_TOKEN and ATOM_METRICS_TOKEN_FILE. NO_COLOR is obeyed.

With --once the exit status is 0 when the service is ready, and 1 when it is not or does not answer.
"""

#: Why there may be no metrics at an address that answers otherwise.
WITHOUT_METRICS = {
    401: "it wants a token: set ATOM_METRICS_TOKEN",
    403: "it wants another token: see ATOM_METRICS_TOKEN",
    404: "not at this address: ask the management port, if there is one",
}


def main(arguments: Sequence[str], *, environ: Mapping[str, str] = os.environ) -> int:
    """Show what *arguments* ask for until told to stop, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m atom_platform top",
        description="Show how a service is doing, in a terminal.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("url", nargs="?", help="of the service (default: the one here)")
    parser.add_argument("--once", action="store_true", help="print one frame and exit")
    parser.add_argument("--every", type=_seconds, default=2.0, help="seconds between frames (2)")
    parser.add_argument("--window", type=_seconds, default=30.0, help="seconds rates are of (30)")
    try:
        options = parser.parse_args(arguments)
        settings = Settings.from_environ(environ, without=("DATABASE_URL",))
        here = f"http://127.0.0.1:{settings.management_port or settings.port}"
        token = settings.metrics_token.value if settings.metrics_token else None
        watch = Watch(options.url or here, token=token, window_seconds=options.window)
    except SystemExit as stop:  # argparse has printed what is wrong
        return int(stop.code or 0)
    except ValueError as error:  # a SettingsError among them
        print(f"top: {error}", file=sys.stderr)
        return 2
    colours = sys.stdout.isatty() and not environ.get("NO_COLOR")
    if options.once:
        picture = watch.look()
        print("\n".join(_frame(picture, height=None, colours=colours)))
        return 0 if picture.status == "ready" else 1
    try:
        _run(watch, every_seconds=options.every, colours=colours)
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:  # nobody reads on, and Python would try once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.1 <= value <= 86_400:
        raise argparse.ArgumentTypeError("from 0.1 to 86400")
    return value


class Watch:
    """
    Asks one service again and again.

    Raises:
        ValueError: *url* is none of HTTP.
    """

    def __init__(self, url: str, *, token: str | None, window_seconds: float) -> None:
        self._get: Callable[[str], Reply] = asking(url, token=token)
        self._address = url.rstrip("/")
        self._window = Window(seconds=window_seconds)

    def look(self) -> Picture:
        """Ask it, and return what there is to show, whatever it answered."""
        notices: list[str] = []
        checks: tuple[Check, ...] = ()
        figures = None
        at = time.time()
        try:
            ready = self._get("/health/ready")
            body = ready.json()
            status = str(body.get("status") or f"status {ready.status}")
            checks = checks_of(body)
            at = _clock_of(body, otherwise=at)
            metrics = self._get("/health/metrics")
            if metrics.status == 200:
                scrape = ParsedExposition(metrics.body.decode("utf-8", "replace"))
                figures = figures_of(scrape, self._window.add(scrape, at=at), at=at)
            else:
                why = WITHOUT_METRICS.get(metrics.status, "see its log")
                notices.append(f"no metrics: it answers {metrics.status}; {why}")
        except (OSError, http.client.HTTPException) as error:
            status = "no answer"
            notices.append(f"no answer: {reason(error)}")
        except ValueError:
            notices.append("no metrics: what it answers is no Prometheus text")
        shown_at = datetime.fromtimestamp(at, UTC).strftime("%H:%M:%SZ")
        return Picture(self._address, status, shown_at, notices, checks, figures)


def _clock_of(body: Mapping[str, Any], *, otherwise: float) -> float:
    """Return the time by the service's clock, which is what its start is told by."""
    try:
        return datetime.fromisoformat(str(body.get("timestamp"))).timestamp()
    except ValueError:
        return otherwise


def _run(watch: Watch, *, every_seconds: float, colours: bool) -> None:
    if not sys.stdout.isatty():  # into a file or a pipe: one frame below the other
        while True:
            frame = _frame(watch.look(), height=None, colours=False)
            print("\n".join(frame), end="\n\n", flush=True)
            time.sleep(every_seconds)
    with terminal.borrowed():
        while True:
            height = shutil.get_terminal_size().lines
            terminal.show(_frame(watch.look(), height=height, colours=colours))
            if terminal.key_within(every_seconds) in ("q", "Q"):
                return


def _frame(picture: Picture, *, height: int | None, colours: bool) -> list[str]:
    width = shutil.get_terminal_size((100, 24)).columns
    return draw(picture, width=width, height=height, colours=colours)
