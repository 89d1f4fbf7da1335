"""The scrape as plain prometheus_client does it, for comparison."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

__all__ = ["bury", "directory_kib", "stock_answer"]


def stock_answer(directory: Path, *, compressed: bool = False) -> bytes:
    """Do what `make_wsgi_app` of prometheus_client does in multiprocess mode."""
    # Imported here: prometheus_client looks for its directory when it is imported.
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.metrics_core import Metric
    from prometheus_client.multiprocess import MultiProcessCollector
    from prometheus_client.openmetrics.exposition import generate_latest as openmetrics

    class Sorted:
        """In order of the slots: a sum's last bit depends on the order, and stock's is chance."""

        def collect(self) -> Iterable[Metric]:
            files = sorted(map(str, directory.glob("*.db")))
            merge: Callable[..., Iterable[Metric]] = MultiProcessCollector.merge
            return merge(files, accumulate=True)

    registry = CollectorRegistry()
    registry.register(Sorted())
    render: Callable[..., bytes] = openmetrics if compressed else generate_latest
    body = render(registry)
    return gzip.compress(body) if compressed else body


def bury(directory: Path, workers: int) -> None:
    """
    Write into *directory* the files that *workers* more workers would have left.

    They are the first worker's files under other names, as if each had counted what it has.
    """
    (first, *_) = sorted({each.stem.rpartition("_")[2] for each in directory.glob("*.db")})
    for file in sorted(directory.glob(f"*_{first}.db")):
        kind = file.stem.rpartition("_")[0]
        for number in range(workers):
            shutil.copyfile(file, directory / f"{kind}_dead{number:04}.db")


def directory_kib(directory: Path) -> float:
    """Return the size of the files with numbers in *directory*, ours or stock's."""
    files = [each for each in directory.iterdir() if each.suffix in (".db", ".columnar")]
    return sum(each.stat().st_size for each in files) / 1024
