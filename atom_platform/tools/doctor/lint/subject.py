"""A container in a Kubernetes object, as the rules see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from atom_platform.tools.doctor.lint.figures import Figures

__all__ = ["Subject"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """
    A container that runs the service, and what is around it.

    Attributes:
        area: Its file, object and name.
        kind: Of the object.
        replicas: How many of them there will be.
        pod: The pod's spec.
        annotations: The pod's.
        container: The container itself.
        environ: Its variables whose values are known.
        names: All of its variables.
        figures: What the service will be like.
        tagged_elsewhere: Images whose version is said in another file.
    """

    area: str
    kind: str
    replicas: float
    pod: dict[str, Any]
    annotations: dict[str, Any]
    container: dict[str, Any]
    environ: dict[str, str]
    names: set[str]
    figures: Figures
    tagged_elsewhere: frozenset[str] = frozenset()
