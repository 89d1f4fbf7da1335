"""Reads deployment files: which objects are in them, and by which rules they are examined."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from atom_platform.tools.doctor.container import items
from atom_platform.tools.doctor.ecs import check_task_definition, find_task_definitions
from atom_platform.tools.doctor.findings import Finding
from atom_platform.tools.doctor.kubernetes import check_objects
from atom_platform.tools.doctor.rules import finding

__all__ = ["check_files"]

SUFFIXES: Final = (".yaml", ".yml", ".json")


class UnreadableFileError(Exception):
    """A file that cannot be examined; the text says why."""


def check_files(paths: Sequence[Path]) -> Iterator[Finding]:
    """Yield the findings for the deployment files in *paths*, directories included."""
    objects: list[tuple[str, dict[str, Any]]] = []
    for path in _expanded(paths):
        try:
            documents = _documents_in(path)
        except UnreadableFileError as wrong:
            yield finding(str(path), "file-unreadable", str(wrong))
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
            yield finding(str(path), "file-unknown", "Neither Kubernetes objects nor an ECS task")
    # All files together: one file's Deployment may use another file's ConfigMap.
    yield from check_objects(objects)


def _expanded(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(each for each in path.rglob("*") if each.suffix in SUFFIXES)
        else:
            yield path


def _documents_in(path: Path) -> list[dict[str, Any]]:
    """
    Return the objects in *path*, those inside of Kubernetes lists included.

    Raises:
        UnreadableFileError: The file cannot be read, or is neither JSON nor YAML.
    """
    try:
        content = path.read_text(encoding="utf-8")
    except OSError as wrong:
        raise UnreadableFileError(f"It cannot be read: {wrong.strerror}") from None
    except UnicodeDecodeError:
        raise UnreadableFileError("It is no text in UTF-8") from None
    documents: list[dict[str, Any]] = []
    for document in items(_parse_json(content) if path.suffix == ".json" else _parse_yaml(content)):
        documents += items(document["items"]) if "items" in document else [document]
    return documents


def _parse_json(content: str) -> list[Any]:
    try:
        return [json.loads(content)]
    except (ValueError, RecursionError) as wrong:
        raise UnreadableFileError(f"It is no JSON: {wrong}") from None


def _parse_yaml(content: str) -> list[Any]:
    try:
        import yaml
    except ImportError:
        raise UnreadableFileError("YAML files need PyYAML: pip install pyyaml") from None

    class Loader(yaml.SafeLoader):
        """Reads tags that are not YAML's own (CloudFormation's `!Ref`) as placeholders."""

    def placeholder(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> str:
        if suffix == "Sub" and isinstance(node, yaml.ScalarNode):
            return str(node.value)
        return "${" + suffix + "}"

    Loader.add_multi_constructor("!", placeholder)
    try:
        return list(yaml.load_all(content, Loader))
    except (yaml.YAMLError, RecursionError, ValueError) as wrong:
        place = getattr(wrong, "problem_mark", None)
        line = f" in line {place.line + 1}" if place else ""
        problem = getattr(wrong, "problem", wrong)
        raise UnreadableFileError(f"It is no YAML: {problem}{line}") from None
