"""A chart of lines as SVG, both axes logarithmic: a power law is then a straight line."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from benchmarks.curves import Curve
from benchmarks.laws import Point

__all__ = ["lines"]

_WIDTH: Final = 800
_HEIGHT: Final = 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 78, 246, 44, 56
_APART: Final = 34  # pixels between two labels of an axis

#: Colours of the lines, on white and on black; marks distinguish the lines without colour.
_COLOURS: Final = (
    ("#1d4ed8", "#93c5fd"),
    ("#0e7490", "#67e8f9"),
    ("#047857", "#6ee7b7"),
    ("#7c3aed", "#c4b5fd"),
    ("#b45309", "#fbbf24"),
)
_MARKS: Final = (
    "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0",
    "M-4,-4h8v8h-8z",
    "M0,-5L5,4H-5z",
    "M0,-5L5,0L0,5L-5,0z",
    "M-4,-4L4,4M4,-4L-4,4",
)
_STYLE: Final = """
.paper{{fill:#fff}}.text{{fill:#1a202c}}.grid{{stroke:#e2e8f0}}.axis{{stroke:#4a5568}}{light}
@media (prefers-color-scheme:dark){{
.paper{{fill:#0f172a}}.text{{fill:#e2e8f0}}.grid{{stroke:#334155}}.axis{{stroke:#94a3b8}}{dark}}}
"""


class _Scale:
    """Where a value lies between two ends of an axis, by its logarithm."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        low, high = math.log10(min(values)), math.log10(max(values))
        # A decade at least: a tenth more must not look like a mountain.
        margin = max(0.04 * (high - low), (1 - (high - low)) / 2)
        self._low, self._high = low - margin, high + margin
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        share = (math.log10(value) - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)

    def round_values(self) -> list[float]:
        """Return the powers of ten within, and what lies between where those are few."""
        exponents = range(math.floor(self._low), math.ceil(self._high) + 1)
        steps = (1.0,) if self._high - self._low > 3 else (1.0, 2.0, 5.0)
        values = [step * 10.0**exponent for exponent in exponents for step in steps]
        return [each for each in values if self._low <= math.log10(each) <= self._high]


def lines(curve: Curve) -> str:
    """Return *curve* as an SVG for light and dark pages."""
    points = [point for line in curve.lines for point in line.points]
    across = _Scale([x for x, _ in points], _LEFT, _WIDTH - _RIGHT)
    up = _Scale([y for _, y in points], _HEIGHT - _BOTTOM, _TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'font-family="sans-serif" font-size="12" role="img">',
        f"<title>{escape(curve.title)}</title>",
        f"<style>{_STYLE.format(light=_colours(0), dark=_colours(1))}</style>",
        f'<rect class="paper" width="{_WIDTH}" height="{_HEIGHT}"/>',
        f'<text class="text" x="12" y="22" font-weight="bold">{escape(curve.title)}</text>',
        *_axes(curve, across, up),
    ]
    looks: dict[str, int] = {}
    for row, line in enumerate(curve.lines):
        # An extrapolation has the colour of its line, and is dashed.
        look = looks.setdefault(line.name.removesuffix(", extrapolated"), len(looks))
        look %= len(_COLOURS)
        on_paper = [(across(x), up(y)) for x, y in line.points]
        parts += _line(on_paper, look, measured=line.measured)
        left, middle = _WIDTH - _RIGHT + 16, _TOP + 8 + row * 20
        ends = [(left, middle), (left + 26, middle)]
        parts += _line(ends, look, measured=line.measured, marks=[(left + 13, middle)])
        parts.append(
            f'<text class="text" x="{left + 34}" y="{middle + 4}">{escape(line.name)}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _line(
    points: Sequence[Point], look: int, *, measured: bool, marks: Sequence[Point] | None = None
) -> Iterator[str]:
    path = "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashes = "" if measured else ' stroke-dasharray="5 4"'
    yield f'<path class="line{look}" d="{path}" fill="none" stroke-width="2"{dashes}/>'
    if measured:  # a mark is a measurement
        for x, y in points if marks is None else marks:
            yield (
                f'<path class="mark{look}" d="{_MARKS[look]}" stroke-width="2" '
                f'transform="translate({x:.1f},{y:.1f})"/>'
            )


def _axes(curve: Curve, across: _Scale, up: _Scale) -> Iterator[str]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    sizes = sorted({x for line in curve.lines for x, _ in line.points})
    for size in _apart(sizes, across):
        x = across(size)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}"/>'
        yield _text(f"{size:,.0f}", x, bottom + 18)
    for value in up.round_values():
        y = up(value)
        yield f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield _text(f"{value:,.10g}", _LEFT - 8, y + 4, anchor="end")
    yield f'<path class="axis" d="M{_LEFT},{_TOP}V{bottom}H{right}" fill="none"/>'
    yield _text(curve.x, (_LEFT + right) / 2, bottom + 40)
    middle = (_TOP + bottom) / 2
    yield _text(curve.y, 18, middle, turned=True)


def _apart(sizes: Sequence[float], across: _Scale) -> Iterator[float]:
    """Give those whose labels have room, the last one in any case."""
    end = across(sizes[-1])
    last = -math.inf
    for size in sizes[:-1]:
        if across(size) - last >= _APART and end - across(size) >= _APART:
            last = across(size)
            yield size
    yield sizes[-1]


def _text(text: str, x: float, y: float, *, anchor: str = "middle", turned: bool = False) -> str:
    turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
    return (
        f'<text class="text" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{turn}>'
        f"{escape(text)}</text>"
    )


def _colours(which: int) -> str:
    """Return the rules of the light page, 0, or of the dark one, 1."""
    return "".join(
        f".line{look}{{stroke:{pair[which]}}}.mark{look}{{fill:{pair[which]};stroke:{pair[which]}}}"
        for look, pair in enumerate(_COLOURS)
    )
