"""Which image is run."""

from __future__ import annotations

from collections.abc import Iterator

from atom_platform.doctor.finding import Finding, warning

__all__ = ["check_image"]


def check_image(area: str, image: str) -> Iterator[Finding]:
    """Yield what is to be said about the name *image*."""
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    if not image or digest or (tag and tag != "latest"):
        return
    yield warning(
        area,
        "image-latest",
        f"The image is {name}" + ("" if tag else ", which means :latest"),
        why="Two replicas may run two versions, and a rollback has nothing to go back to.",
        do="Name a version, or better a digest: image@sha256:….",
    )
