"""Which files are examined, and by whose rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from atom_platform.tools.doctor.finding import Finding, note, trouble
from atom_platform.tools.doctor.lint.documents import UnreadableError, documents_in
from atom_platform.tools.doctor.lint.ecs import check_task_definition, find_task_definitions
from atom_platform.tools.doctor.lint.kubernetes import check_objects

__all__ = ["check_files"]

SUFFIXES = (".yaml", ".yml", ".json")


def check_files(paths: Sequence[Path]) -> Iterator[Finding]:
    """Yield what is to be said about the deployment files in *paths*, directories included."""
    objects: list[tuple[str, dict[str, Any]]] = []
    for path in _expanded(paths):
        try:
            documents = documents_in(path)
        except UnreadableError as error:
            yield trouble(
                str(path),
                "file-unreadable",
                str(error),
                why="It could not be examined, and whoever applies it will have the same trouble.",
                do="Correct the file, or the command line.",
            )
            continue
        known = False
        for document in documents:
            for task in find_task_definitions(document):
                known = True
                yield from check_task_definition(str(path), task)
            if "kind" in document:
                known = True
                objects.append((str(path), document))
        if not known and not path.name.startswith("kustomization."):
            yield note(str(path), "file-unknown", "Neither Kubernetes objects nor an ECS task")
    # Together, because one file's Deployment may use another file's ConfigMap.
    yield from check_objects(objects)


def _expanded(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(each for each in path.rglob("*") if each.suffix in SUFFIXES)
        else:
            yield path
