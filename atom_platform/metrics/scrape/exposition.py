"""
The body of a scrape in the requested exposition format.

The text equals that of prometheus_client's encoders, but only series with changed values are
formatted again. Content negotiation, and families whose names need escaping, are left to
prometheus_client.
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

from atom_platform.metrics.families import METRIC_ERROR_COUNT
from atom_platform.metrics.samples import Exemplar, FamilySamples, Labels, Sample
from atom_platform.metrics.scrape.collector import MetricsSnapshot
from atom_platform.metrics.scrape.gzip_cache import GzipCache
from atom_platform.metrics.scrape.series import label_text, value_text
from atom_platform.metrics.scrape.summed_family import SummedFamily, TextChunk

__all__ = [
    "END_OF_EXPOSITION",
    "Exposition",
    "ExpositionFormat",
    "family_header",
    "has_plain_names",
    "negotiate",
    "render",
    "sample_lines",
    "summed_lines",
]

#: The last line of an OpenMetrics exposition. Without it, the exposition is truncated.
END_OF_EXPOSITION: Final = b"# EOF\n"

#: The size of each cache of names; a service has about a hundred.
_REMEMBERED: Final = 1024
_PLAIN_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_PLAIN_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def has_plain_names(family: SummedFamily | FamilySamples) -> bool:
    """Return whether no name in *family* needs escaping."""
    if not _is_plain_name(family.name):
        return False
    if isinstance(family, SummedFamily):
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
def family_header(name: str, kind: str, help_text: str, *, openmetrics: bool) -> bytes:
    """Return the HELP and TYPE lines of a family."""
    help_text = help_text.replace("\\", r"\\").replace("\n", r"\n")
    if openmetrics:
        help_text = help_text.replace('"', r"\"")
    elif kind == "counter":
        name += "_total"
    return f"# HELP {name} {help_text}\n# TYPE {name} {kind}\n".encode()


def summed_lines(
    family: SummedFamily,
    totals: list[float],
    exemplars: Mapping[tuple[str, Labels], dict[float, Exemplar]],
) -> list[bytes]:
    """Return the text of *family* in chunks, with the given exemplars."""
    texts = family.texts(totals)
    if not exemplars or not any(name == family.name for name, _ in exemplars):
        return texts
    return [
        _with_exemplars(family.name, chunk, text, exemplars)
        for chunk, text in zip(family.chunks(), texts, strict=True)
    ]


def sample_lines(samples: Iterable[Sample]) -> bytes:
    """Return the line of each sample."""
    return "".join(
        [f"{each.name}{label_text(each.labels)} {value_text(each.value)}\n" for each in samples]
    ).encode()


def _with_exemplars(
    family: str,
    chunk: TextChunk,
    text: bytes,
    exemplars: Mapping[tuple[str, Labels], dict[float, Exemplar]],
) -> bytes:
    found = [exemplars.get((family, each.labels)) for each in chunk.series]
    if not any(found):
        return text
    lines = text.split(b"\n")  # not splitlines: labels may hold a \r
    begin = 0
    for series, of_buckets in zip(chunk.series, found, strict=True):
        for at, bound in enumerate(series.bounds() if of_buckets else (), begin):
            exemplar = of_buckets and of_buckets.get(bound)
            if exemplar:
                value = value_text(exemplar.value)
                told = f' # {{trace_id="{exemplar.trace_id}"}} {value} {exemplar.timestamp}'
                lines[at] += told.encode()
        begin += series.line_count()
    return b"\n".join(lines)


#: Escaping schemes that do not change plain names.
_LEAVING_PLAIN_NAMES: Final = ("", "underscores", "allow-utf-8")


@dataclass(frozen=True, slots=True)
class Exposition:
    """
    The response to a scrape.

    Attributes:
        body: Empty if there is nothing to expose, which is an error.
        content_type: The value of `Content-Type`.
        gzipped: Whether *body* is compressed.
    """

    body: bytes
    content_type: str
    gzipped: bool


@dataclass(frozen=True, slots=True)
class ExpositionFormat:
    """
    The format that a scraper requested.

    Attributes:
        content_type: The negotiated media type.
        gzipped: Whether the scraper accepts gzip.
        names: The families or samples to expose, as given by `name[]`. Empty: all.
    """

    content_type: str
    gzipped: bool
    names: frozenset[str]


def negotiate(
    *, accept: str = "", accept_encoding: str = "", names: Sequence[str] = ()
) -> ExpositionFormat:
    """Return the format for these request headers. Invalid headers give the default format."""
    _, content_type = _chosen(accept)
    return ExpositionFormat(content_type, _accepts_gzip(accept_encoding), frozenset(names))


def render(
    snapshot: MetricsSnapshot, wanted: ExpositionFormat, gzip: GzipCache | None = None
) -> Exposition:
    """
    Return *snapshot* in the format *wanted*.

    Args:
        gzip: The cache of compressed chunks of earlier scrapes.
    """
    openmetrics = wanted.content_type.startswith("application/openmetrics-text")
    families: list[SummedFamily | FamilySamples] = [*snapshot.table.families.values()]
    families += snapshot.gauges
    lines: list[bytes] = []
    for family in sorted(families, key=lambda each: each.name):
        lines += _family_lines(family, snapshot, wanted, openmetrics=openmetrics)
    if lines and openmetrics:
        lines.append(END_OF_EXPOSITION)
    body = (gzip or GzipCache()).compress(lines) if lines and wanted.gzipped else b"".join(lines)
    return Exposition(body, wanted.content_type, wanted.gzipped)


def _family_lines(
    family: SummedFamily | FamilySamples,
    snapshot: MetricsSnapshot,
    wanted: ExpositionFormat,
    *,
    openmetrics: bool,
) -> list[bytes]:
    """Return the text of *family*, or nothing if the scraper did not request it."""
    whole = not wanted.names or bool(wanted.names & {family.name, f"{family.name}_total"})
    exemplars = snapshot.exemplars if openmetrics else {}
    escaping = wanted.content_type.partition("escaping=")[2]
    if whole and escaping in _LEAVING_PLAIN_NAMES and has_plain_names(family):
        first = family_header(family.name, family.kind, family.help, openmetrics=openmetrics)
        if isinstance(family, SummedFamily):
            return [first, *summed_lines(family, snapshot.totals[family.kind], exemplars)]
        return [first, sample_lines(family.samples)]
    samples = snapshot.samples(family)
    if not whole:
        samples = [sample for sample in samples if sample.name in wanted.names]
        if not samples:
            return []
    return [_render_with_client(family, samples, wanted.content_type)]


def _render_with_client(
    family: SummedFamily | FamilySamples, samples: Iterable[Sample], content_type: str
) -> bytes:
    encoder, _ = _chosen(content_type)
    metric = Metric("unnamed", family.help, family.kind)
    metric.name = family.name
    metric.samples = [_client_sample(each) for each in samples]
    return encoder(_Registry(metric)).removesuffix(END_OF_EXPOSITION)


def _chosen(accept: str) -> tuple[Callable[[Any], bytes], str]:
    try:
        return choose_encoder(accept)
    except Exception:  # it raises for version parameters that are no numbers
        METRIC_ERROR_COUNT.add(("negotiation",))
        return generate_latest, CONTENT_TYPE_PLAIN_0_0_4


def _accepts_gzip(accept_encoding: str) -> bool:
    for each in accept_encoding.split(","):
        coding, _, parameters = each.partition(";")
        if coding.strip().lower() in ("gzip", "*"):
            quality = parameters.strip().lower().removeprefix("q=")
            return not parameters or quality.strip(" 0.") != ""
    return False


class _Registry:
    """A registry of one family, for the encoders of prometheus_client."""

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
