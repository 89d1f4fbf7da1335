"""The sections of a run: one module per question, with a function that makes its tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from benchmarks.run import SectionMaker
from benchmarks.sections.counting import counting
from benchmarks.sections.faults import faults
from benchmarks.sections.guide import guide
from benchmarks.sections.memory import memory
from benchmarks.sections.requests import in_process, liveness, over_http
from benchmarks.sections.scrape import scrape

__all__ = ["SECTIONS"]

#: In this order. Memory is first: pages that other servers share with a worker would not count
#: as its own. Faults come after all that want healthy servers.
SECTIONS: Final[Mapping[str, SectionMaker]] = {
    "memory": memory,
    "in_process": in_process,
    "liveness": liveness,
    "over_http": over_http,
    "guide": guide,
    "faults": faults,
    "counting": counting,
    "scrape": scrape,
}
