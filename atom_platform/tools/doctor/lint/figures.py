"""The figures that a service has when it is started with a file's settings."""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from atom_platform.settings import Settings, SettingsError
from atom_platform.tools.doctor.settings import read_settings

__all__ = ["ANSWER_SECONDS", "DETECTION_SECONDS", "Figures", "figures_of"]

ANSWER_SECONDS: Final = 0.5
"""Within which every probe is answered, whatever the dependencies do."""

DETECTION_SECONDS: Final = 1.5
"""How long after its deadline a silent dependency is told of at the latest."""

GUNICORN_GRACEFUL_SECONDS: Final = 30.0
"""What gunicorn itself takes for `graceful_timeout`."""

CONFIGURATIONS: Final = (
    Path("gunicorn.conf.py"),
    Path(__file__).resolve().parents[4] / "gunicorn.conf.py",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """
    What a deployment has to fit.

    Attributes:
        settings: The settings, with defaults for those that are kept in secrets.
        errors: Those that cannot be taken.
        graceful_seconds: How long gunicorn lets requests finish.
        port: Where the service listens, flags of gunicorn included.
        knows_database: Whether DATABASE_URL is given, here or by a secret.
    """

    settings: Settings
    errors: tuple[SettingsError, ...]
    graceful_seconds: float
    port: int
    knows_database: bool

    @property
    def probe_ports(self) -> set[int]:
        """Where probes are answered."""
        return {self.port, self.settings.management_port or self.port}

    @property
    def stop_seconds(self) -> float:
        """From SIGTERM to the last moment at which a request may be served."""
        return self.settings.drain_seconds + self.graceful_seconds


def figures_of(environ: Mapping[str, str], *, names: set[str], command: str) -> Figures:
    """
    Return the figures of a service.

    Args:
        environ: Its variables whose values are known.
        names: All of its variables.
        command: Its command line, as far as the file has one.
    """
    # The file is the container's, and not here to be read.
    known = {name: value for name, value in environ.items() if name != "ATOM_METRICS_TOKEN_FILE"}
    settings, errors = read_settings(known)
    flags = f"{environ.get('GUNICORN_CMD_ARGS', '')} {command}"
    graceful_seconds = _configured_graceful_seconds()
    if found := re.findall(r"--graceful-timeout[= ]\s*([0-9]+)", flags):
        graceful_seconds = float(found[-1])
    port = settings.port
    if found := re.findall(r"(?:-b|--bind)[= ]?\s*\S*:([0-9]{1,5})\b", flags):
        port = int(found[-1])
    return Figures(
        settings=settings,
        errors=tuple(errors),
        graceful_seconds=graceful_seconds,
        port=port,
        knows_database="DATABASE_URL" in names,
    )


def _configured_graceful_seconds() -> float:
    """Read gunicorn.conf.py without running it: that would take the metrics directory."""
    for path in CONFIGURATIONS:
        with contextlib.suppress(OSError, SyntaxError):
            for node in ast.parse(path.read_text()).body:
                if (
                    isinstance(node, ast.Assign)
                    and any(
                        isinstance(t, ast.Name) and t.id == "graceful_timeout" for t in node.targets
                    )
                    and isinstance(node.value, ast.Constant)
                    and isinstance(node.value.value, int | float)
                ):
                    return float(node.value.value)
            return GUNICORN_GRACEFUL_SECONDS
    return GUNICORN_GRACEFUL_SECONDS
