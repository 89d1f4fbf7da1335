"""
The OpenAPI document of the API, from its routes, their models and their docstrings.

SpecTree assembles it; checking requests is left to the views. SpecTree's own check answers in a
format of its own, and takes malformed JSON for an empty object.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, Final

from spectree import Response, SpecTree

from atom_platform.agents.problems import PROBLEM_TYPE
from atom_platform.agents.routes import Route
from atom_platform.agents.schemas import ProblemAnswer

__all__ = ["Document"]

_PATH_PARAMETERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "agent_id": {
        "description": "The id of an agent.",
        "schema": {"type": "string", "pattern": "^[a-z0-9-]{1,64}$"},
    },
    "execution_id": {
        "description": "The id of an execution.",
        "schema": {"type": "string", "format": "uuid"},
    },
}


class Document:
    """The OpenAPI document of one blueprint."""

    def __init__(self, *, title: str, version: str, description: str) -> None:
        self._routes: dict[str, Route] = {}
        self._tree = SpecTree(
            "flask",
            title=title,
            version=version,
            description=description,
            mode="strict",  # routes of the application that are not described here are left out
            annotations=False,
            validation_error_model=ProblemAnswer,
            naming_strategy=lambda model: model.__name__,
            nested_naming_strategy=lambda parent, child: child,
        )

    def describe(self, view: Callable[..., Any], route: Route) -> Callable[..., Any]:
        """Return *view* as it is to be registered with Flask, noted for the document."""
        answers: dict[str, Any] = {f"HTTP_{route.status}": route.answer}
        answers |= {f"HTTP_{status}": ProblemAnswer for status in route.problems}
        self._routes[route.view] = route
        described: Callable[..., Any] = self._tree.validate(
            query=route.query,
            json=route.body,
            resp=Response(**answers),
            tags=(route.tag,),
            operation_id=route.view,
            skip_validation=True,
        )(view)
        return described

    def build(self) -> dict[str, Any]:
        """Return the document; inside an application context, where the paths are read from."""
        document: dict[str, Any] = copy.deepcopy(self._tree.spec)
        document.pop("security", None)
        for operations in document["paths"].values():
            for operation in operations.values():
                _finish(operation, self._routes[operation["operationId"]])
        return document


def _finish(operation: dict[str, Any], route: Route) -> None:
    """Say what SpecTree has no words for, and leave out what it adds of its own accord."""
    if "requestBody" in operation:
        operation["requestBody"]["required"] = route.body_required
    for parameter in operation["parameters"]:
        if parameter["in"] == "path":
            parameter.update(_PATH_PARAMETERS[parameter["name"]])
    answers = operation["responses"]
    for status in set(answers) - {str(each) for each in (route.status, *route.problems)}:
        del answers[status]
    for status in route.problems:
        content = answers[str(status)]["content"]
        answers[str(status)]["content"] = {PROBLEM_TYPE: content["application/json"]}
    if route.status == 201:
        answers["201"]["headers"] = {
            "Location": {"description": "Where it is now.", "schema": {"type": "string"}}
        }
