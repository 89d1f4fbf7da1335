"""
The body of a scrape, in the format that the scraper asks for.

The negotiation is prometheus_client's own, and so is the text of whatever we do not write faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder, generate_latest
from prometheus_client.samples import Exemplar as ClientExemplar
from prometheus_client.samples import Sample as ClientSample

from atom_platform.metrics.families import METRIC_ERROR_COUNT
from atom_platform.metrics.gzipped import Gzip
from atom_platform.metrics.multiprocess.added import AddedFamily
from atom_platform.metrics.multiprocess.collection import Collection
from atom_platform.metrics.multiprocess.families import FamilySamples, Sample
from atom_platform.metrics.text import EndOfFile, added_lines, head, is_plain, sample_lines

__all__ = ["Exposition", "Format", "expose", "negotiated"]

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
