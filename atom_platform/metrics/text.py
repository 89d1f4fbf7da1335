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

from atom_platform.metrics.multiprocess.added import AddedFamily
from atom_platform.metrics.multiprocess.families import Exemplar, FamilySamples, Labels, Sample
from atom_platform.metrics.multiprocess.pieces import Piece
from atom_platform.metrics.multiprocess.series import label_text, value_text

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
    texts = family.texts(totals)
    if not exemplars or not any(name == family.name for name, _ in exemplars):
        return texts
    return [
        _with_exemplars(family.name, piece, text, exemplars)
        for piece, text in zip(family.pieces(), texts, strict=True)
    ]


def sample_lines(samples: Iterable[Sample]) -> bytes:
    """Return the line of each sample."""
    return "".join(
        [f"{each.name}{label_text(each.labels)} {value_text(each.value)}\n" for each in samples]
    ).encode()


def _with_exemplars(
    family: str,
    piece: Piece,
    text: bytes,
    exemplars: Mapping[tuple[str, Labels], dict[float, Exemplar]],
) -> bytes:
    found = [exemplars.get((family, each.labels)) for each in piece.series]
    if not any(found):
        return text
    lines = text.split(b"\n")  # not splitlines: labels may hold a \r
    begin = 0
    for series, of_buckets in zip(piece.series, found, strict=True):
        for at, bound in enumerate(series.bounds() if of_buckets else (), begin):
            exemplar = of_buckets and of_buckets.get(bound)
            if exemplar:
                value = value_text(exemplar.value)
                told = f' # {{trace_id="{exemplar.trace_id}"}} {value} {exemplar.timestamp}'
                lines[at] += told.encode()
        begin += series.height()
    return b"\n".join(lines)
