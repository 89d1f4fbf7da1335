"""The objects in a file, whichever of YAML and JSON it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from atom_platform.tools.doctor.lint.shape import items

__all__ = ["UnreadableError", "documents_in"]


class UnreadableError(Exception):
    """A file that cannot be examined; the text says why."""


def documents_in(path: Path) -> list[dict[str, Any]]:
    """
    Return the objects in *path*, those inside of Kubernetes lists included.

    Raises:
        UnreadableError: It cannot be read, or is neither.
    """
    try:
        content = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UnreadableError(f"It cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UnreadableError("It is no text in UTF-8") from None
    documents: list[dict[str, Any]] = []
    for document in items(_json(content) if path.suffix == ".json" else _yaml(content)):
        documents += items(document["items"]) if "items" in document else [document]
    return documents


def _json(content: str) -> list[Any]:
    try:
        return [json.loads(content)]
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"It is no JSON: {error}") from None


def _yaml(content: str) -> list[Any]:
    try:
        import yaml
    except ImportError:
        raise UnreadableError("YAML files need PyYAML: pip install pyyaml") from None

    class Loader(yaml.SafeLoader):
        """Reads tags that are not YAML's own (CloudFormation's `!Ref`) as placeholders."""

    def placeholder(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> str:
        if suffix == "Sub" and isinstance(node, yaml.ScalarNode):
            return str(node.value)
        return "${" + suffix + "}"

    Loader.add_multi_constructor("!", placeholder)
    try:
        return list(yaml.load_all(content, Loader))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        place = getattr(error, "problem_mark", None)
        line = f" in line {place.line + 1}" if place else ""
        raise UnreadableError(f"It is no YAML: {getattr(error, 'problem', error)}{line}") from None
