"""`python -m atom_platform doctor`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from atom_platform.cgroups import cpu_limit
from atom_platform.doctor.database import check_database
from atom_platform.doctor.disk import check_disk
from atom_platform.doctor.finding import Finding, trouble
from atom_platform.doctor.lint.manifests import check_files
from atom_platform.doctor.metrics import check_metrics
from atom_platform.doctor.output import Redactor, as_json, as_text
from atom_platform.doctor.service import check_service
from atom_platform.doctor.settings import check_settings, read_settings
from atom_platform.settings import Settings

__all__ = ["main"]

EPILOG = """\
Without FILES the settings, the metrics directory, the database, the disk and a service that runs
here are examined. With FILES those are examined instead: Kubernetes manifests (YAML) and ECS task
definitions (JSON), against the figures that the service would have with their settings.

The exit status is 0 when nothing is wrong, 1 when something is, and 2 for a wrong command line.
"""


def main(arguments: Sequence[str]) -> int:
    """Examine what *arguments* ask for, print the findings, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m atom_platform doctor",
        description="Find out what is wrong, why it matters, and what to do.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="FILES")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--url", help="where the service runs (default: http://127.0.0.1:$PORT)")
    try:
        options = parser.parse_args(arguments)
    except SystemExit as stop:  # argparse has printed what is wrong
        return int(stop.code or 0)

    settings, _ = read_settings(os.environ)
    redact = Redactor(
        [settings.database_url, settings.smtp_url, options.url or ""],
        secrets=[settings.metrics_token.value] if settings.metrics_token else [],
    )
    findings = list(_quietly(lambda: _examine(options)))
    _print((as_json if options.json else as_text)(findings, redact))
    return 1 if any(finding.severity == "trouble" for finding in findings) else 0


def _examine(options: argparse.Namespace) -> Iterator[Finding]:
    settings, errors = read_settings(os.environ)
    looks: list[tuple[str, Callable[[], Iterator[Finding]]]] = []
    if options.files:
        looks.append(("files", lambda: check_files(options.files)))
    else:
        looks.append(("settings", lambda: check_settings(os.environ, limit_cpus=cpu_limit())))
        looks.append(("metrics", lambda: check_metrics(settings)))
        if not any("DATABASE_URL" in str(error) for error in errors):
            looks.append(("database", lambda: check_database(settings)))
        looks.append(("disk", lambda: check_disk(settings)))
    if options.url or not options.files:
        url = options.url or f"http://127.0.0.1:{settings.port}"
        looks.append(("service", lambda: _check_service(url, settings, bool(options.url))))
    for area, look in looks:
        try:
            yield from look()
        except Exception as error:  # one look that fails must not hide what the others see
            yield trouble(
                area,
                "doctor-failed",
                f"This could not be examined: {type(error).__name__}: {error}",
                why="Whatever is wrong here stays hidden.",
                do="Correct what the text names; else it is a defect of the doctor.",
            )


def _check_service(url: str, settings: Settings, expected: bool) -> Iterator[Finding]:
    """Ask as Prometheus would: with the token, and on the management port of the service itself."""
    management_url = None
    if settings.management_port is not None and urlsplit(url).port == settings.port:
        management_url = f"{url.rpartition(':')[0]}:{settings.management_port}"
    token = settings.metrics_token.value if settings.metrics_token else None
    yield from check_service(url, expected=expected, token=token, management_url=management_url)


def _print(text: str) -> None:
    """Print *text* whatever the terminal can show; names in files may be anything."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))


def _quietly(examine: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """Run *examine* without log lines between the findings: they are written for the service."""
    previous = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        return list(examine())
    finally:
        logging.disable(previous)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
