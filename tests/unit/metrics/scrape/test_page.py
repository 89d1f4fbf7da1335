"""A scrape may share a collection that started after it arrived, and never an older one."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from atom_platform.metrics import instruments
from atom_platform.metrics.samples import FamilySamples
from atom_platform.metrics.scrape.exposition import negotiate
from atom_platform.metrics.scrape.page import SharedScrape
from tests.support.polling import wait_until
from tests.support.stalls import scaled

WANTED = negotiate(names=["log_messages_total"])


class Clock:
    """Counts how often it was read: once by who arrives, once by each collection."""

    def __init__(self) -> None:
        self.readings = 0

    def __call__(self) -> int:
        self.readings += 1
        return self.readings


class Gate:
    """Lets a collection begin, and holds it there until it is told to go on."""

    def __init__(self) -> None:
        self.entered = 0
        self._open = threading.Semaphore(0)

    def __call__(self) -> Iterable[FamilySamples]:
        self.entered += 1
        self._open.acquire()
        return ()

    def release(self, times: int = 1) -> None:
        self._open.release(times)


def errors(body: bytes) -> float:
    (line,) = [line for line in body.decode().splitlines() if 'level="ERROR"' in line]
    return float(line.rpartition(" ")[2])


def test_who_arrives_during_a_collection_gets_a_newer_one_and_shares_it() -> None:
    gate, clock = Gate(), Clock()
    scrape = SharedScrape(gate, clock=clock)
    answers: dict[int, float] = {}

    def run(number: int) -> None:
        answers[number] = errors(scrape.answer(WANTED).body)

    first = threading.Thread(target=run, args=(0,))
    first.start()
    wait_until(lambda: gate.entered == 1)
    instruments.count_log_message("ERROR")  # after the first collection read it
    late = [threading.Thread(target=run, args=(number,)) for number in range(1, 6)]
    for thread in late:
        thread.start()
    wait_until(lambda: clock.readings == 2 + 5)
    gate.release(10)
    for thread in [first, *late]:
        thread.join(scaled(10))

    assert answers == {0: 0, 1: 1, 2: 1, 3: 1, 4: 1, 5: 1}
    assert gate.entered == 2


def test_one_after_the_other_never_share() -> None:
    scrape = SharedScrape()
    seen = []
    for _ in range(3):
        instruments.count_log_message("ERROR")
        seen.append(errors(scrape.answer(WANTED).body))

    assert seen == [1, 2, 3]


def test_who_asks_for_several_formats_gets_one_collection() -> None:
    gate = Gate()
    gate.release()
    scrape = SharedScrape(gate)
    formats = [WANTED, negotiate(accept="application/openmetrics-text"), WANTED]

    answers = scrape.answers(formats)

    assert gate.entered == 1
    assert {answers[each].content_type.partition(";")[0] for each in formats} == {
        "text/plain",
        "application/openmetrics-text",
    }
