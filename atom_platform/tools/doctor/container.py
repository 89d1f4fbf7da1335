"""
The container that a manifest starts: what the manifest says, and the timings our service has in it.

The shape of Kubernetes objects and ECS task definitions is left to their own validators
(`kubectl --dry-run=server`, kubeconform, kube-linter, cfn-lint). Whatever has an unexpected shape
reads as absent here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from atom_platform.logs.redact import is_secret, redact_text
from atom_platform.settings import Settings, SettingsError
from atom_platform.tools.doctor.findings import Finding
from atom_platform.tools.doctor.rules import finding
from atom_platform.tools.doctor.settings import known_variables, read_settings

__all__ = [
    "ANSWER_SECONDS",
    "DETECTION_SECONDS",
    "Container",
    "Timings",
    "at",
    "check_grace",
    "check_secrets",
    "check_settings",
    "items",
    "mapping",
    "number",
    "text",
    "timings_of",
]

ANSWER_SECONDS: Final = 0.5
"""Every probe is answered within this time, whatever the dependencies do."""

DETECTION_SECONDS: Final = 1.5
"""Readiness reports a silent dependency at most this long after the check's deadline."""

GRACEFUL_SECONDS: Final = 30.0
"""`graceful_timeout` of our gunicorn.conf.py, which is gunicorn's own default too."""

#: Values that only stand for a secret.
PLACEHOLDERS: Final = ("${", "$(", "{{", "<")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """
    Settings and timings that a deployment has to fit.

    Attributes:
        settings: The settings, with defaults where the manifest does not show the value.
        errors: The settings that the service would refuse.
        graceful_seconds: How long gunicorn lets requests finish.
        port: Where the service listens; gunicorn's flags win.
        knows_database: Whether DATABASE_URL is given, as a value or by a secret.
    """

    settings: Settings
    errors: tuple[SettingsError, ...]
    graceful_seconds: float
    port: int
    knows_database: bool

    @property
    def probe_ports(self) -> set[int]:
        """The ports that answer probes."""
        return {self.port, self.settings.management_port or self.port}

    @property
    def stop_seconds(self) -> float:
        """From SIGTERM to the last moment at which a request may be served."""
        return self.settings.drain_seconds + self.graceful_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """
    A container that runs the service.

    Attributes:
        area: File, object and container, as the findings name it.
        spec: The container's own part of the manifest.
        owner: The pod's spec, or the ECS task definition.
        environ: The variables whose values the manifest shows.
        timings: What the service will be like.
        replicas: How many of them will run.
        annotations: The pod's annotations.
    """

    area: str
    spec: dict[str, Any]
    owner: dict[str, Any]
    environ: dict[str, str]
    timings: Timings
    replicas: float = 1
    annotations: dict[str, Any] = field(default_factory=dict)

    @property
    def uses_sqlite(self) -> bool:
        """Whether the service stores in an SQLite file, as by default."""
        url = self.environ.get("DATABASE_URL", "")
        return not self.timings.knows_database or url.startswith("sqlite")


def timings_of(environ: Mapping[str, str], *, names: set[str], command: str) -> Timings:
    """
    Return the timings of a service.

    Args:
        environ: The variables whose values are known.
        names: The names of all variables.
        command: The command line, as far as the manifest has one.
    """
    known = {
        name: value
        for name, value in environ.items()
        # The token file lies in the container; here it cannot be read.
        if name != "ATOM_METRICS_TOKEN_FILE" and not value.startswith(PLACEHOLDERS)
    }
    settings, errors = read_settings(known)
    flags = f"{environ.get('GUNICORN_CMD_ARGS', '')} {command}"
    graceful = re.findall(r"--graceful-timeout[= ]\s*([0-9]+)", flags)
    bound = re.findall(r"(?:-b|--bind)[= ]?\s*\S*:([0-9]{1,5})\b", flags)
    return Timings(
        settings=settings,
        errors=tuple(errors),
        graceful_seconds=float(graceful[-1]) if graceful else _configured_graceful_seconds(),
        port=int(bound[-1]) if bound else settings.port,
        knows_database="DATABASE_URL" in names,
    )


def _configured_graceful_seconds() -> float:
    """Read ./gunicorn.conf.py without running it: that would take the metrics directory."""
    try:
        source = Path("gunicorn.conf.py").read_text()
    except (OSError, UnicodeDecodeError):
        return GRACEFUL_SECONDS
    found = re.findall(r"^graceful_timeout\s*=\s*([0-9]+)", source, re.MULTILINE)
    return float(found[-1]) if found else GRACEFUL_SECONDS


def check_settings(container: Container) -> Iterator[Finding]:
    """Yield settings that the service would refuse, and settings that show a secret."""
    for wrong in container.timings.errors:
        yield finding(container.area, "setting-invalid", str(wrong))
    yield from check_secrets(container.area, container.environ)


def check_secrets(area: str, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield each setting in *environ* whose value shows a secret: a token, a URL's password."""
    for name in sorted(known_variables() & environ.keys()):
        value = environ[name]
        if not value or value.startswith(PLACEHOLDERS):
            continue
        mounted = name.endswith("_FILE") and value.startswith("/")
        secret = "://" not in value and is_secret(name, value) and not mounted
        if secret or redact_text(value) != value:
            yield finding(area, "secret-in-plain-text", f"{name} shows its secret")


def check_grace(
    container: Container, *, name: str, seconds: float, given: bool, hook_seconds: float = 0
) -> Iterator[Finding]:
    """
    Yield a grace period that ends before the service has stopped, and a service without a drain.

    Args:
        name: What the orchestrator calls its grace period.
        seconds: How long it is.
        given: Whether the manifest sets it; otherwise *seconds* is the default.
        hook_seconds: How long a preStop hook waits beside the drain.
    """
    timings, drain = container.timings, container.timings.settings.drain_seconds
    stop_seconds = hook_seconds + timings.stop_seconds
    if seconds <= stop_seconds:
        what = (
            f"{name} is {seconds:g}{'' if given else ' (the default)'}; stopping may take "
            f"{stop_seconds:g} s: preStop {hook_seconds:g}, drain {drain:g}, "
            f"graceful_timeout {timings.graceful_seconds:g}"
        )
        yield finding(container.area, "grace-short", what, name=name, needed=int(stop_seconds) + 5)
    if not hook_seconds and not drain:
        yield finding(container.area, "drain-missing", "SIGTERM closes the port at once")


def mapping(value: Any) -> dict[str, Any]:
    """Return *value* if it is a mapping, otherwise an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[dict[str, Any]]:
    """Return the mappings in *value* if it is a list, otherwise none."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def at(value: Any, *keys: str) -> Any:
    """Return the value under the path *keys*, or None."""
    for key in keys:
        value = mapping(value).get(key)
    return value


def text(value: Any) -> str:
    """Return *value* as text: a list as one line, None as nothing."""
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "" if value is None else str(value)


def number(value: Any, default: float) -> float:
    """Return *value* if it is a number, or text that reads as one, otherwise *default*."""
    if isinstance(value, bool):
        return default
    try:
        return float(value)
    except (TypeError, ValueError):
        return default
