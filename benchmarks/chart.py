"""A bar chart as SVG: a dozen rectangles need no plotting library."""

from __future__ import annotations

from html import escape
from typing import Final

from benchmarks.run import Section

__all__ = ["bars"]

_WIDTH: Final = 640
_LABEL: Final = 210
_ROW: Final = 26
_OURS: Final = "#2b6cb0"
_THEIRS: Final = "#a0aec0"


def bars(section: Section) -> str:
    """Return medians as bars, and from the lowest to the highest reading as a line on each."""
    rows = {n: row for n, row in section.rows.items() if row.of(section.chart)}
    most = max((row.spread(section.chart)[1] for row in rows.values()), default=0.0) or 1.0
    scale = (_WIDTH - _LABEL - 90) / most
    height = 40 + _ROW * len(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'font-family="sans-serif" font-size="12" role="img">',
        f"<title>{escape(section.title)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="8" y="20" font-weight="bold">{escape(section.title)}'
        f" ({escape(section.chart)})</text>",
    ]
    for number, (name, row) in enumerate(rows.items()):
        y = 34 + number * _ROW
        median, (low, high) = row.median(section.chart), row.spread(section.chart)
        fill = _OURS if name.startswith(("ours", "the service")) else _THEIRS
        middle = y + 9
        parts += [
            f'<text x="{_LABEL - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{_LABEL}" y="{y}" width="{median * scale:.1f}" height="18" fill="{fill}"/>',
            f'<line x1="{_LABEL + low * scale:.1f}" x2="{_LABEL + high * scale:.1f}" '
            f'y1="{middle}" y2="{middle}" stroke="#1a202c"/>',
            f'<text x="{_LABEL + high * scale + 6:.1f}" y="{y + 13}">{median:,.4g}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
