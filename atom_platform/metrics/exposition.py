"""
The body of a scrape, in the format that the scraper asks for.

The negotiation is prometheus_client's own, and so is the text of what we do not write faster.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder, generate_latest
from prometheus_client.samples import Exemplar as ClientExemplar
from prometheus_client.samples import Sample as ClientSample

from atom_platform.metrics.multiprocess.families import FamilySamples, Sample
from atom_platform.metrics.recording import ERRORS

__all__ = ["Exposition", "expose"]

#: Level 1: a fifth of the time of level 6, for text that any level makes small.
_GZIP_LEVEL: Final = 1


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


def expose(
    families: Iterable[FamilySamples],
    *,
    accept: str = "",
    accept_encoding: str = "",
    names: Sequence[str] = (),
) -> Exposition:
    """
    Return *families* in the format that the headers ask for; whatever they hold, it is one.

    Args:
        names: The families or samples to restrict it to, as `name[]` does.
    """
    encoder, content_type = _negotiated(accept)
    chosen = _restricted(families, frozenset(names)) if names else list(families)
    if not chosen:
        return Exposition(b"", content_type, gzipped=False)
    body = encoder(_Registry(chosen))
    if _accepts_gzip(accept_encoding):
        return Exposition(gzip.compress(body, _GZIP_LEVEL, mtime=0), content_type, gzipped=True)
    return Exposition(body, content_type, gzipped=False)


def _negotiated(accept: str) -> tuple[Callable[[Any], bytes], str]:
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
            return quality.strip(" 0.") != "" or not parameters
    return False


def _restricted(families: Iterable[FamilySamples], names: frozenset[str]) -> list[FamilySamples]:
    chosen = []
    for family in families:
        if names & {family.name, f"{family.name}_total"}:
            chosen.append(family)
        elif samples := [sample for sample in family.samples if sample.name in names]:
            chosen.append(FamilySamples(family.name, family.kind, family.help, samples))
    return chosen


class _Registry:
    """The families as prometheus_client's encoders want them."""

    def __init__(self, families: Iterable[FamilySamples]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        for family in self._families:
            metric = Metric(family.name, family.help, family.kind)
            metric.samples = [_sample(each) for each in family.samples]
            yield metric


def _sample(sample: Sample) -> ClientSample:
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
