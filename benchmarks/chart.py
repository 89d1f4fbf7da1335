"""A bar chart as SVG: a dozen rectangles need no plotting library."""

from __future__ import annotations

from html import escape
from typing import Final

from benchmarks.promises import OURS
from benchmarks.run import Section

__all__ = ["bars"]

_WIDTH: Final = 640
_LABEL: Final = 210
_ROW: Final = 26
#: For light pages, then for dark ones.
_STYLE: Final = (
    ".paper{fill:#fff}.text{fill:#1a202c}.ours{fill:#2b6cb0}.theirs{fill:#a0aec0}"
    ".spread{stroke:#1a202c}@media (prefers-color-scheme:dark){.paper{fill:#0f172a}"
    ".text{fill:#e2e8f0}.ours{fill:#3b82f6}.theirs{fill:#64748b}.spread{stroke:#e2e8f0}}"
)


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
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" width="{_WIDTH}" height="{height}"/>',
        f'<text class="text" x="8" y="20" font-weight="bold">{escape(section.title)}'
        f" ({escape(section.chart)})</text>",
    ]
    for number, (name, row) in enumerate(rows.items()):
        y = 34 + number * _ROW
        median, (low, high) = row.median(section.chart), row.spread(section.chart)
        whose = "ours" if name.startswith(OURS) else "theirs"
        middle = y + 9
        left, right = _LABEL + low * scale, _LABEL + high * scale
        parts += [
            f'<text class="text" x="{_LABEL - 8}" y="{y + 13}" text-anchor="end">'
            f"{escape(name)}</text>",
            f'<rect class="{whose}" x="{_LABEL}" y="{y}" width="{median * scale:.1f}" '
            f'height="18"/>',
            f'<line class="spread" x1="{left:.1f}" x2="{right:.1f}" y1="{middle}" y2="{middle}"/>',
            f'<text class="text" x="{right + 6:.1f}" y="{y + 13}">{median:,.4g}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
