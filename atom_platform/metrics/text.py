"""
The text formats, written from totals: only series whose numbers changed are written anew.

What stands here is what prometheus_client's encoders write for the same samples; names that need
escaping, which nothing of ours has, are left to them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Final

from atom_platform.metrics.multiprocess.families import Exemplar, FamilySamples, Labels, Sample
from atom_platform.metrics.multiprocess.series import Series, label_text, value_text
from atom_platform.metrics.multiprocess.table import AddedFamily

__all__ = ["EndOfFile", "added_lines", "head", "is_plain", "sample_lines"]

#: How an OpenMetrics exposition ends; one that does not was cut off.
EndOfFile: Final = b"# EOF\n"

#: Names that are remembered; those of a service are a hundred.
_REMEMBERED: Final = 1024
_PLAIN_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_PLAIN_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def is_plain(family: AddedFamily | FamilySamples) -> bool:
    """Return whether every name in *family* can be written as it is."""
    if not _is_plain_name(family.name):
        return False
    if isinstance(family, AddedFamily):
        names = family.label_names
    else:
        names = {name for sample in family.samples for name, _ in sample.labels}
    return all(map(_is_plain_label, names))


@functools.lru_cache(_REMEMBERED)
def _is_plain_name(name: str) -> bool:
    return _PLAIN_NAME.fullmatch(name) is not None


@functools.lru_cache(_REMEMBERED)
def _is_plain_label(name: str) -> bool:
    return _PLAIN_LABEL.fullmatch(name) is not None


@functools.lru_cache(_REMEMBERED)
def head(name: str, kind: str, help_text: str, *, openmetrics: bool) -> bytes:
    """Return the lines that come before a family's first sample."""
    help_text = help_text.replace("\\", r"\\").replace("\n", r"\n")
    if openmetrics:
        help_text = help_text.replace('"', r"\"")
    elif kind == "counter":
        name += "_total"
    return f"# HELP {name} {help_text}\n# TYPE {name} {kind}\n".encode()


def added_lines(
    family: AddedFamily,
    totals: list[float],
    exemplars: Mapping[tuple[str, Labels], dict[float, Exemplar]],
) -> list[bytes]:
    """Return the text of *family* in pieces; exemplars only if there are any given."""
    if not exemplars or not any(name == family.name for name, _ in exemplars):
        return family.pieces(totals)

    def text(series: Series) -> str:
        found = exemplars.get((family.name, series.labels))
        return _with_exemplars(series, totals, found) if found else series.text(totals)

    return ["".join(map(text, group)).encode() for group in family.groups()]


def sample_lines(samples: Iterable[Sample]) -> bytes:
    """Return the line of each sample."""
    return "".join(
        [f"{each.name}{label_text(each.labels)} {value_text(each.value)}\n" for each in samples]
    ).encode()


def _with_exemplars(series: Series, totals: list[float], exemplars: dict[float, Exemplar]) -> str:
    lines = series.text(totals).split("\n")  # not splitlines: labels may hold a \r
    for at, bound in enumerate(series.bounds()):
        exemplar = exemplars.get(bound)
        if exemplar is not None:
            value = value_text(exemplar.value)
            lines[at] += f' # {{trace_id="{exemplar.trace_id}"}} {value} {exemplar.timestamp}'
    return "\n".join(lines)
