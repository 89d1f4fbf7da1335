"""
The text formats, written from totals: only series whose numbers changed are written anew.

What stands here is what prometheus_client's encoders write for the same samples; names that need
escaping, which nothing of ours has, are left to them.

The body of a scrape, in the format that the scraper asks for.

The negotiation is prometheus_client's own, and so is the text of whatever we do not write faster.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder, generate_latest
from prometheus_client.samples import Exemplar as ClientExemplar
from prometheus_client.samples import Sample as ClientSample

from atom_platform.metrics.recording import ERRORS
from atom_platform.metrics.samples import Exemplar, FamilySamples, Labels, Sample
from atom_platform.metrics.scrape.collector import Collection
from atom_platform.metrics.scrape.gzip_cache import Gzip
from atom_platform.metrics.scrape.series import label_text, value_text
from atom_platform.metrics.scrape.summed_family import AddedFamily, Piece

__all__ = [
    "EndOfFile",
    "Exposition",
    "Format",
    "added_lines",
    "expose",
    "head",
    "is_plain",
    "negotiated",
    "sample_lines",
]

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


#: Escaping schemes that leave names as they are when every character of them is plain.
_LEAVING_PLAIN_NAMES: Final = ("", "underscores", "allow-utf-8")


@dataclass(frozen=True, slots=True)
class Exposition:
    """
    The answer to a scrape.

    Attributes:
        body: Empty when there was nothing to expose, which is an error and not an answer.
    """

    body: bytes
    content_type: str
    gzipped: bool


@dataclass(frozen=True, slots=True)
class Format:
    """
    What a scraper asked for.

    Attributes:
        names: The families or samples to restrict it to, as `name[]` does; none for everything.
    """

    content_type: str
    gzipped: bool
    names: frozenset[str]


def negotiated(*, accept: str = "", accept_encoding: str = "", names: Sequence[str] = ()) -> Format:
    """Return the format for these headers; whatever they hold, it is one."""
    _, content_type = _chosen(accept)
    return Format(content_type, _accepts_gzip(accept_encoding), frozenset(names))


def expose(collection: Collection, wanted: Format, gzip: Gzip | None = None) -> Exposition:
    """
    Return *collection* in the format *wanted*.

    Args:
        gzip: What has compressed the former ones, and remembers.
    """
    openmetrics = wanted.content_type.startswith("application/openmetrics-text")
    families: list[AddedFamily | FamilySamples] = [*collection.table.families.values()]
    families += collection.gauges
    lines: list[bytes] = []
    for family in sorted(families, key=lambda each: each.name):
        lines += _family_lines(family, collection, wanted, openmetrics=openmetrics)
    if lines and openmetrics:
        lines.append(EndOfFile)
    body = (gzip or Gzip()).of(lines) if lines and wanted.gzipped else b"".join(lines)
    return Exposition(body, wanted.content_type, wanted.gzipped)


def _family_lines(
    family: AddedFamily | FamilySamples,
    collection: Collection,
    wanted: Format,
    *,
    openmetrics: bool,
) -> list[bytes]:
    whole = not wanted.names or bool(wanted.names & {family.name, f"{family.name}_total"})
    exemplars = collection.exemplars if openmetrics else {}
    escaping = wanted.content_type.partition("escaping=")[2]
    if whole and escaping in _LEAVING_PLAIN_NAMES and is_plain(family):
        first = head(family.name, family.kind, family.help, openmetrics=openmetrics)
        if isinstance(family, AddedFamily):
            return [first, *added_lines(family, collection.totals[family.kind], exemplars)]
        return [first, sample_lines(family.samples)]
    samples = collection.samples(family)
    if not whole:
        samples = [sample for sample in samples if sample.name in wanted.names]
        if not samples:
            return []
    return [_left_to_client(family, samples, wanted.content_type)]


def _left_to_client(
    family: AddedFamily | FamilySamples, samples: Iterable[Sample], content_type: str
) -> bytes:
    encoder, _ = _chosen(content_type)
    metric = Metric("unnamed", family.help, family.kind)
    metric.name = family.name
    metric.samples = [_client_sample(each) for each in samples]
    return encoder(_Registry(metric)).removesuffix(EndOfFile)


def _chosen(accept: str) -> tuple[Callable[[Any], bytes], str]:
    try:
        return choose_encoder(accept)
    except Exception:  # it trips over versions that are no numbers
        ERRORS.add(("negotiation",))
        return generate_latest, CONTENT_TYPE_PLAIN_0_0_4


def _accepts_gzip(accept_encoding: str) -> bool:
    for each in accept_encoding.split(","):
        coding, _, parameters = each.partition(";")
        if coding.strip().lower() in ("gzip", "*"):
            quality = parameters.strip().lower().removeprefix("q=")
            return not parameters or quality.strip(" 0.") != ""
    return False


class _Registry:
    """One family, as prometheus_client's encoders want it."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return [self._metric]


def _client_sample(sample: Sample) -> ClientSample:
    exemplar = sample.exemplar
    return ClientSample(
        sample.name,
        dict(sample.labels),
        sample.value,
        None,
        ClientExemplar({"trace_id": exemplar.trace_id}, exemplar.value, exemplar.timestamp)
        if exemplar
        else None,
    )
