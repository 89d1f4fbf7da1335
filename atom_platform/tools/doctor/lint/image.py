"""Which image is run."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from atom_platform.tools.doctor.finding import Finding, warning

__all__ = ["check_image"]


def check_image(
    area: str, image: str, *, tagged_elsewhere: Collection[str] = ()
) -> Iterator[Finding]:
    """
    Yield what is to be said about the name *image*.

    Args:
        tagged_elsewhere: Names to which a kustomization adds the version.
    """
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    if not image or digest or image.startswith("${") or (tag and tag != "latest"):
        return
    if name.removesuffix(":latest") in tagged_elsewhere:
        return
    yield warning(
        area,
        "image-latest",
        f"The image is {name}" + ("" if tag else ", which means :latest"),
        why="Two replicas may run two versions, and a rollback has nothing to go back to.",
        do="Name a version, or better a digest: image@sha256:….",
    )
