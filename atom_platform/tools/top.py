"""`top`: shows how a service is doing, in a terminal, from its metrics and its readiness."""

from __future__ import annotations

import http.client
import shutil
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from atom_platform.metrics.samples import ParsedExposition, SampleSet
from atom_platform.settings import Settings
from atom_platform.tools.service_client import Growth, Reply, Window, client_for, describe, quantile

__all__ = ["command"]

BAD_EXITS: Final = ("timeout", "killed", "out_of_memory", "crashed")

#: Machines ask these: they are listed, and left out of the sums.
PROBES: Final = "/health/"

#: From this share of 5xx answers on, a line is red.
MANY_ERRORS: Final = 0.01

#: Status of /health/metrics: what to do.
NO_METRICS: Final = {
    401: "it wants a token: set ATOM_METRICS_TOKEN",
    403: "it wants another token: see ATOM_METRICS_TOKEN",
    404: "not at this address: ask the management port, if there is one",
}

SECONDS: Final = click.FloatRange(0.1, 86_400)


@dataclass(frozen=True, slots=True)
class Observation:
    """
    What the service said at one moment.

    Attributes:
        at: Seconds since the epoch, by the service's clock.
        notice: What could not be found out, and why.
        now: The scrape; None when it failed.
    """

    address: str
    status: str
    at: float
    notice: str = ""
    checks: Any = None
    now: SampleSet | None = None
    growth: Growth | None = None


def observe(get: Callable[[str], Reply], address: str, window: Window) -> Observation:
    """Ask the service at *address* with *get*; return what is known, whatever it answered."""
    at, status, notice, checks = time.time(), "no answer", "", None
    try:
        ready = get("/health/ready")
        body = ready.json()
        status, checks = str(body.get("status") or f"status {ready.status}"), body.get("checks")
        with suppress(ValueError):
            at = datetime.fromisoformat(str(body.get("timestamp"))).timestamp()
        metrics = get("/health/metrics")
        if metrics.status == 200:
            now = ParsedExposition(metrics.body.decode("utf-8", "replace"))
            return Observation(address, status, at, "", checks, now, window.add(now, at=at))
        why = NO_METRICS.get(metrics.status, "see its log")
        notice = f"no metrics: it answers {metrics.status}; {why}"
    except (OSError, http.client.HTTPException) as error:
        status, notice = "no answer", f"no answer: {describe(error)}"
    except ValueError:
        notice = "no metrics: the answer is not in Prometheus's format"
    return Observation(address, status, at, notice, checks)


def draw(seen: Observation) -> RenderableType:
    """Return one frame."""
    checks = seen.checks if isinstance(seen.checks, dict) else {}
    checks = {name: check for name, check in checks.items() if isinstance(check, dict)}
    parts: list[RenderableType] = [_headline(seen)]
    parts += [_line(seen.notice, "yellow")] if seen.notice else []
    if seen.now and seen.growth:
        parts += _summary(seen.now, *seen.growth[:2])
    for index, (name, check) in enumerate(checks.items()):
        healthy = check.get("healthy") is True
        text = f"{'' if index else 'checks':<10}{name:<12} {'ok' if healthy else 'UNHEALTHY':<10}"
        parts.append(_line(f"{text} {check.get('message', '')}", "" if healthy else "bold red"))
    if seen.growth:
        parts += ["", _endpoints(seen.growth)]
    return Group(*parts)


def _line(text: str, style: str = "") -> Text:
    return Text(_printable(text), style=style, no_wrap=True, overflow="crop")


def _printable(text: str) -> str:
    """Replace what could steer the terminal: names come from the service."""
    return "".join(each if each.isprintable() else "?" for each in text)


def _headline(seen: Observation) -> Text:
    clock = datetime.fromtimestamp(seen.at, UTC).strftime("%H:%M:%SZ")
    text = f"{seen.status.upper():<10}{seen.address}  {clock}"
    if seen.now and seen.growth:
        versions = [version for (version,) in seen.now.by(("version",), "app_info")]
        uptime = max(seen.at - seen.now.total("process_start_time_seconds"), 0)
        minutes, seconds = divmod(int(uptime), 60)
        hours, minutes = divmod(minutes, 60)
        up = f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
        since = "since its start" if seen.growth.from_start else f"last {seen.growth.seconds:.0f} s"
        text += f"  version {versions[0] if versions else '?'}  up {up}  ({since})"
    return _line(text, "bold green" if seen.status == "ready" else "bold red")


def _summary(now: SampleSet, grown: SampleSet, seconds: float) -> Iterator[Text]:
    by_status: defaultdict[str, float] = defaultdict(float)
    for (rule, status), count in grown.by(("endpoint", "status"), "http_requests_total").items():
        if not rule.startswith(PROBES):
            by_status[status] += count
    requests, errors = sum(by_status.values()), _errors(by_status)
    logged = sum(grown.total("log_messages_total", level=each) for each in ("ERROR", "CRITICAL"))
    text = f"requests  {_rate(requests / seconds)}   5xx {errors:.2%}"
    text += f"   in progress {now.total('http_requests_in_progress'):.0f}"
    text += f"   errors logged {logged:.0f}" if logged else ""
    yield _line(text, "red" if errors >= MANY_ERRORS else "")

    threads, busy = now.total("gunicorn_threads"), now.total("gunicorn_threads_busy")
    died = sum(now.total("gunicorn_worker_exits_total", reason=why) for why in BAD_EXITS)
    text = f"workers   {now.total('gunicorn_workers'):.0f}"
    text += f"   threads busy {busy:.0f}/{threads:.0f}" if threads else ""
    text += f"   backlog {now.total('gunicorn_backlog'):.0f}"
    text += f"   memory {now.total('process_resident_memory_bytes') / 2**20:.0f} MiB"
    text += f"   CPU {grown.total('process_cpu_seconds_total') / seconds:.0%}"
    text += f"   open files {now.total('process_open_fds'):.0f}"
    text += f"   died {died:.0f}" if died else ""
    yield _line(text, "yellow" if died or (threads and busy >= threads) else "")

    runs = {k: n / seconds for (k,), n in grown.by(("status",), "agent_executions_total").items()}
    text = f"agents    {now.total('active_agents'):.0f} active   runs {_rate(sum(runs.values()))}"
    yield _line(text + "".join(f"   {k} {_rate(rate)}" for k, rate in sorted(runs.items()) if rate))

    pool = {k: now.total(f"db_connections_{k}") for k in ("active", "idle", "max", "waiting")}
    if any(pool.values()):  # an application may have no database
        text = f"pool      {pool['active']:.0f} in use   {pool['idle']:.0f} idle"
        text += f"   of {pool['max']:.0f}   {pool['waiting']:.0f} waiting"
        yield _line(text, "red" if pool["waiting"] else "")


def _endpoints(growth: Growth) -> Table:
    """Return the endpoints that were asked, the busiest first."""
    table = Table(box=None, expand=True, pad_edge=False, header_style="reverse")
    table.add_column("ENDPOINT", ratio=1, no_wrap=True, overflow="ellipsis")
    for title in ("RATE", "5XX", "P50", "P95", "P99"):
        table.add_column(title, justify="right", no_wrap=True, min_width=8)
    answers: defaultdict[str, dict[str, float]] = defaultdict(dict)
    buckets: defaultdict[str, dict[float, float]] = defaultdict(dict)
    grown, duration = growth.samples, "http_request_duration_seconds_bucket"
    for (rule, status), count in grown.by(("endpoint", "status"), "http_requests_total").items():
        answers[rule][status] = count
    for (rule, bound), count in grown.by(("endpoint", "le"), duration).items():
        buckets[rule][float(bound)] = count
    for rule, by_status in sorted(answers.items(), key=lambda item: -sum(item[1].values())):
        if count := sum(by_status.values()):
            errors = _errors(by_status)
            latencies = [_latency(quantile(share, buckets[rule])) for share in (0.5, 0.95, 0.99)]
            cells = (_rate(count / growth.seconds), f"{errors:.2%}", *latencies)
            style = "red" if errors >= MANY_ERRORS else ""
            table.add_row(Text(_printable(rule)), *cells, style=style)
    return table


def _errors(by_status: Mapping[str, float]) -> float:
    """Return the share of 5xx answers, from 0 to 1."""
    failed = sum(count for status, count in by_status.items() if status.startswith("5"))
    return failed / (sum(by_status.values()) or 1)


def _rate(rate: float) -> str:
    return f"{rate:.0f}/s" if rate >= 100 else f"{rate:.2f}/s"


def _latency(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def _run(look: Callable[[], Observation], console: Console, *, every_seconds: float) -> None:
    if not console.is_terminal:  # a file or a pipe: one frame below the other
        while True:
            console.print(draw(look()), "")
            time.sleep(every_seconds)
    for number in (signal.SIGTERM, signal.SIGHUP):  # an exception: the terminal is restored
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(draw(look()), refresh=True)
            time.sleep(every_seconds)


@click.command(name="top")
@click.argument("url", required=False)
@click.option("--once", is_flag=True, help="Print one frame and exit.")
@click.option("--every", type=SECONDS, default=2.0, show_default=True, help="Seconds per frame.")
@click.option(
    "--window", type=SECONDS, default=30.0, show_default=True, help="Seconds that rates cover."
)
def command(url: str | None, once: bool, every: float, window: float) -> int:
    """
    Watch a service in a terminal: the one at URL, by default the one of this environment.

    Rates cover the last seconds; the first frame, and --once, everything since the service started.
    It reads PORT, ATOM_MANAGEMENT_PORT, ATOM_METRICS_TOKEN and ATOM_METRICS_TOKEN_FILE, and obeys
    NO_COLOR. Ctrl-C ends it.

    With --once the exit status is 0 when the service is ready, and 1 when it is not or is silent.
    """
    try:
        settings = Settings.from_environ(without=("DATABASE_URL",))
        here = f"http://127.0.0.1:{settings.management_port or settings.port}"
        token = settings.metrics_token.value if settings.metrics_token else None
        address = (url or here).rstrip("/")
        look = partial(observe, client_for(address, token=token), address, Window(seconds=window))
    except ValueError as error:  # a SettingsError among them
        click.echo(f"top: {error}", err=True)
        return 2
    width = None if sys.stdout.isatty() else shutil.get_terminal_size((100, 24)).columns
    console = Console(width=width, highlight=False, markup=False, emoji=False)
    if once:
        seen = look()
        console.print(draw(seen))
        return 0 if seen.status == "ready" else 1
    with suppress(KeyboardInterrupt):
        _run(look, console, every_seconds=every)
    return 0
