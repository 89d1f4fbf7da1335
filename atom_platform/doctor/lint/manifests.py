"""Which files are examined, and by whose rules."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from atom_platform.doctor.finding import Finding, note, trouble
from atom_platform.doctor.lint.ecs import check_task_definition, find_task_definition
from atom_platform.doctor.lint.kubernetes import check_objects
from atom_platform.doctor.lint.shape import items

__all__ = ["check_files"]

SUFFIXES = (".yaml", ".yml", ".json")


class _Unreadable(Exception):
    """A file that cannot be examined; the text says why."""


def check_files(paths: Sequence[Path]) -> Iterator[Finding]:
    """Yield what is to be said about the deployment files in *paths*, directories included."""
    objects: list[tuple[str, dict[str, Any]]] = []
    for path in _expanded(paths):
        try:
            documents = _documents(path)
        except _Unreadable as error:
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
            task = find_task_definition(document)
            if task is not None:
                known = True
                yield from check_task_definition(str(path), task)
            elif "kind" in document:
                known = True
                objects.append((str(path), document))
        if not known:
            yield note(str(path), "file-unknown", "Neither Kubernetes objects nor an ECS task")
    # Together, because one file's Deployment may use another file's ConfigMap.
    yield from check_objects(objects)


def _expanded(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(each for each in path.rglob("*") if each.suffix in SUFFIXES)
        else:
            yield path


def _documents(path: Path) -> list[dict[str, Any]]:
    """Return the objects in *path*, those inside of Kubernetes lists included."""
    try:
        content = path.read_text(encoding="utf-8")
    except OSError as error:
        raise _Unreadable(f"It cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _Unreadable("It is no text in UTF-8") from None
    loaded = _json(content) if path.suffix == ".json" else _yaml(content)
    documents: list[dict[str, Any]] = []
    for document in items(loaded):
        documents += items(document["items"]) if "items" in document else [document]
    return documents


def _json(content: str) -> list[Any]:
    try:
        return [json.loads(content)]
    except (ValueError, RecursionError) as error:
        raise _Unreadable(f"It is no JSON: {error}") from None


def _yaml(content: str) -> list[Any]:
    try:
        import yaml
    except ImportError:
        raise _Unreadable("YAML files need PyYAML: pip install pyyaml") from None
    try:
        return list(yaml.safe_load_all(content))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        place = getattr(error, "problem_mark", None)
        line = f" in line {place.line + 1}" if place else ""
        raise _Unreadable(f"It is no YAML: {getattr(error, 'problem', error)}{line}") from None
