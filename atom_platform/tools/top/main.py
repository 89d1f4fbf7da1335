"""The command `top`."""

from __future__ import annotations

import http.client
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import click

from atom_platform.metrics.samples import Exposed
from atom_platform.settings import Settings
from atom_platform.tools.service_client import Reply, client_for, describe
from atom_platform.tools.top import terminal
from atom_platform.tools.top.frame import Picture, draw
from atom_platform.tools.top.view import Check, checks_of, figures_of
from atom_platform.tools.top.window import Window

__all__ = ["command"]

SECONDS = click.FloatRange(0.1, 86_400)

#: Why there may be no metrics at an address that answers otherwise.
WITHOUT_METRICS = {
    401: "it wants a token: set ATOM_METRICS_TOKEN",
    403: "it wants another token: see ATOM_METRICS_TOKEN",
    404: "not at this address: ask the management port, if there is one",
}


@click.command(name="top")
@click.argument("url", required=False)
@click.option("--once", is_flag=True, help="Print one frame and exit.")
@click.option(
    "--every", type=SECONDS, default=2.0, show_default=True, help="Seconds between frames."
)
@click.option(
    "--window", type=SECONDS, default=30.0, show_default=True, help="Seconds that rates cover."
)
def command(url: str | None, once: bool, every: float, window: float) -> int:
    """
    Watch a service in a terminal: the one at URL, by default the one of this environment.

    Rates and quantiles cover the last seconds; the first frame, and --once, show everything since
    the service started. `q` ends it. It reads PORT, ATOM_MANAGEMENT_PORT, ATOM_METRICS_TOKEN and
    ATOM_METRICS_TOKEN_FILE, and obeys NO_COLOR.

    With --once the exit status is 0 when the service is ready, and 1 when it is not or is silent.
    """
    try:
        settings = Settings.from_environ(without=("DATABASE_URL",))
        here = f"http://127.0.0.1:{settings.management_port or settings.port}"
        token = settings.metrics_token.value if settings.metrics_token else None
        watch = Watch(url or here, token=token, window_seconds=window)
    except ValueError as error:  # a SettingsError among them
        click.echo(f"top: {error}", err=True)
        return 2
    colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    if once:
        picture = watch.look()
        click.echo("\n".join(_frame(picture, height=None, colours=colours)))
        return 0 if picture.status == "ready" else 1
    try:
        _run(watch, every_seconds=every, colours=colours)
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:  # nobody reads on, and Python would try once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


class Watch:
    """
    Asks one service again and again.

    Raises:
        ValueError: *url* is none of HTTP.
    """

    def __init__(self, url: str, *, token: str | None, window_seconds: float) -> None:
        self._get: Callable[[str], Reply] = client_for(url, token=token)
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
                scrape = Exposed(metrics.body.decode("utf-8", "replace"))
                figures = figures_of(scrape, self._window.add(scrape, at=at), at=at)
            else:
                why = WITHOUT_METRICS.get(metrics.status, "see its log")
                notices.append(f"no metrics: it answers {metrics.status}; {why}")
        except (OSError, http.client.HTTPException) as error:
            status = "no answer"
            notices.append(f"no answer: {describe(error)}")
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
