"""The command `doctor`: which parts it examines, and how it prints the findings."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import click

from atom_platform.cgroups import cpu_limit
from atom_platform.settings import Settings
from atom_platform.tools.doctor.database import check_database
from atom_platform.tools.doctor.directories import check_disk, check_metrics
from atom_platform.tools.doctor.findings import Finding, Redactor, as_json, as_text, error
from atom_platform.tools.doctor.manifests import check_files
from atom_platform.tools.doctor.service import check_service
from atom_platform.tools.doctor.settings import check_settings, read_settings

__all__ = ["command"]


@click.command(name="doctor")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--json", "json_wanted", is_flag=True, help="Print one JSON object.")
@click.option("--url", help="Where the service runs.  [default: http://127.0.0.1:$PORT]")
def command(files: tuple[Path, ...], json_wanted: bool, url: str | None) -> int:
    """
    Find errors, say why they matter, and what to do about them.

    Without FILES it examines the settings, the metrics directory, the database, the disk and a
    service that runs here. With FILES it examines those instead: Kubernetes manifests and ECS task
    definitions, against the timings that the service would have with their settings.

    The exit status is 0 when nothing is wrong, 1 when something is, and 2 for a wrong command line.
    """
    settings, _ = read_settings(os.environ)
    redact = Redactor(
        [settings.database_url, settings.smtp_url, url or ""],
        secrets=[settings.metrics_token.value] if settings.metrics_token else [],
    )
    findings = list(_quietly(lambda: _examine(files, url)))
    _print((as_json if json_wanted else as_text)(findings, redact))
    return 1 if any(finding.severity == "error" for finding in findings) else 0


def _examine(files: Sequence[Path], url: str | None) -> Iterator[Finding]:
    settings, errors = read_settings(os.environ)
    examinations: list[tuple[str, Callable[[], Iterator[Finding]]]] = []
    if files:
        examinations.append(("files", lambda: check_files(files)))
    else:
        examinations.append(
            ("settings", lambda: check_settings(os.environ, limit_cpus=cpu_limit()))
        )
        examinations.append(("metrics", lambda: check_metrics(settings)))
        if not any("DATABASE_URL" in str(problem) for problem in errors):
            examinations.append(("database", lambda: check_database(settings)))
        examinations.append(("disk", lambda: check_disk(settings)))
    if url or not files:
        address = url or f"http://127.0.0.1:{settings.port}"
        examinations.append(("service", lambda: _check_service(address, settings, bool(url))))
    for area, examine in examinations:
        try:
            yield from examine()
        except Exception as problem:  # one failure must not hide the other findings
            yield error(
                area,
                "doctor-failed",
                f"This could not be examined: {type(problem).__name__}: {problem}",
                why="Errors of this part stay hidden.",
                do="Correct what the text names; otherwise report a defect of the doctor.",
            )


def _check_service(url: str, settings: Settings, expected: bool) -> Iterator[Finding]:
    """Ask as Prometheus does: with the token, and on the service's management port."""
    management_url = None
    if settings.management_port is not None and urlsplit(url).port == settings.port:
        management_url = f"{url.rpartition(':')[0]}:{settings.management_port}"
    token = settings.metrics_token.value if settings.metrics_token else None
    yield from check_service(url, expected=expected, token=token, management_url=management_url)


def _print(text: str) -> None:
    """Print *text*, with escapes for what the terminal's encoding lacks."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))


def _quietly(examine: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """Run *examine* without log lines between the findings."""
    previous = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        return list(examine())
    finally:
        logging.disable(previous)
