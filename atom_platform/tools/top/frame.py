"""Draws a frame: lines of plain text, with colours where they are wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from atom_platform.tools.top.view import Check, Endpoint, Figures

__all__ = ["Picture", "draw"]

RED: Final = "31"
GREEN: Final = "32"
YELLOW: Final = "33"
BOLD: Final = "1"
REVERSE: Final = "7"

#: What a worn-out operator should see first.
MANY_ERRORS: Final = 0.01
COLUMNS: Final = f"{'RATE':>10}{'5XX':>9}{'P50':>10}{'P95':>10}{'P99':>10}"
NARROWEST: Final = 20


@dataclass(frozen=True, slots=True)
class Picture:
    """
    What there is to show.

    Attributes:
        address: Of the service.
        status: `ready`, `not_ready`, `draining`, or that there was no answer.
        time: When, in words.
        notices: Sentences about what could not be found out.
        checks: The readiness checks.
        figures: None when no scrape succeeded.
    """

    address: str
    status: str
    time: str
    notices: Sequence[str]
    checks: Sequence[Check]
    figures: Figures | None


def draw(picture: Picture, *, width: int, height: int | None, colours: bool) -> list[str]:
    """
    Return the lines of a frame, none wider than *width*.

    Args:
        height: The most lines there may be; endpoints that find no room are summed up in one.
        colours: Whether to use ANSI's.
    """

    def paint(text: str, *codes: str) -> str:
        # What a service calls its endpoints and checks must not steer the terminal.
        text = "".join(each if each.isprintable() else "?" for each in text)[:width]
        return f"\x1b[{';'.join(codes)}m{text}\x1b[0m" if colours and codes else text

    lines = [paint(*_headline(picture))]
    lines += [paint(notice, YELLOW) for notice in picture.notices]
    if picture.figures:
        lines += [paint(text, *codes) for text, *codes in _summary(picture.figures)]
    for index, check in enumerate(picture.checks):
        title = "checks" if index == 0 else ""
        word = "ok" if check.healthy else "UNHEALTHY"
        text = f"{title:<10}{check.name:<12} {word:<10} {check.message}"
        lines.append(paint(text, *([] if check.healthy else [RED, BOLD])))
    if picture.figures:
        lines += ["", paint(f"{'ENDPOINT':<{_rule_width(width)}}{COLUMNS}", REVERSE)]
        room = None if height is None else max(height - len(lines), 1)
        shown, rest = _fitting(picture.figures.endpoints, room)
        lines += [paint(_row(each, width), *_warned(each)) for each in shown]
        if rest:
            lines.append(paint(f"... and {len(rest)} more, {_rate(sum(e.rate for e in rest))}"))
    return lines if height is None else lines[:height]


def _headline(picture: Picture) -> tuple[str, ...]:
    figures = picture.figures
    text = f"{picture.status.upper():<10}{picture.address}  {picture.time}"
    if figures:
        text += f"  version {figures.version}  up {_stretch(figures.uptime_seconds)}"
        text += "  (since its start)" if figures.from_start else f"  (last {figures.seconds:.0f} s)"
    return text, BOLD, GREEN if picture.status == "ready" else RED


def _summary(figures: Figures) -> Iterator[tuple[str, ...]]:
    text = f"requests  {_rate(figures.rate)}   5xx {figures.errors:.2%}"
    text += f"   in progress {figures.in_progress:.0f}"
    if figures.errors_logged:
        text += f"   errors logged {figures.errors_logged:.0f}"
    yield text, *([RED] if figures.errors >= MANY_ERRORS else [])

    text = f"workers   {figures.workers:.0f}"
    if figures.threads:  # other worker classes do not tell
        text += f"   threads busy {figures.threads_busy:.0f}/{figures.threads:.0f}"
    text += f"   backlog {figures.backlog:.0f}"
    text += f"   memory {figures.memory_bytes / 2**20:.0f} MiB   CPU {figures.cpu:.0%}"
    text += f"   open files {figures.open_files:.0f}"
    if figures.bad_exits:
        text += f"   died {figures.bad_exits:.0f}"
    full = figures.threads and figures.threads_busy >= figures.threads
    yield text, *([YELLOW] if full or figures.bad_exits else [])

    text = (
        f"agents    {figures.active_agents:.0f} active   runs {_rate(sum(figures.runs.values()))}"
    )
    for status, rate in sorted(figures.runs.items()):
        if rate:
            text += f"   {status} {_rate(rate)}"
    yield (text,)

    pool = figures.pool
    if not any(pool.values()):  # an application without a database, perhaps
        return
    text = f"pool      {pool['active']:.0f} in use   {pool['idle']:.0f} idle"
    text += f"   of {pool['max']:.0f}   {pool['waiting']:.0f} waiting"
    yield text, *([RED] if pool["waiting"] else [])


def _fitting(
    endpoints: Sequence[Endpoint], room: int | None
) -> tuple[Sequence[Endpoint], Sequence[Endpoint]]:
    if room is None or len(endpoints) <= room:
        return endpoints, ()
    return endpoints[: room - 1], endpoints[room - 1 :]


def _rule_width(width: int) -> int:
    return max(width - len(COLUMNS), NARROWEST)


def _row(endpoint: Endpoint, width: int) -> str:
    room = _rule_width(width)
    rule = endpoint.rule if len(endpoint.rule) < room else endpoint.rule[: room - 2] + "~"
    latencies = "".join(f"{_latency(each):>10}" for each in endpoint.latencies)
    return f"{rule:<{room}}{_rate(endpoint.rate):>10}{endpoint.errors:>9.2%}{latencies}"


def _warned(endpoint: Endpoint) -> list[str]:
    return [RED] if endpoint.errors >= MANY_ERRORS else []


def _rate(rate: float) -> str:
    return f"{rate:.0f}/s" if rate >= 100 else f"{rate:.2f}/s"


def _latency(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def _stretch(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
