"""
The OpenAPI document of the API, from its routes, their models and the docstrings of their views.

Pydantic writes the schemas; the rest is little. A library that decorates views (SpecTree was tried)
would also check requests and make responses in its own way, which is not ours: it takes malformed
JSON for an empty object, and gives an answer without a body a content type.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from atom_platform.agents.problems import PROBLEM_TYPE
from atom_platform.agents.routes import Route
from atom_platform.agents.schemas import ProblemAnswer

__all__ = ["PREFIX", "openapi_document"]

PREFIX: Final = "/api"
REF: Final = "#/components/schemas/{model}"

PATH_PARAMETERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "agent_id": {
        "description": "The id of an agent.",
        "schema": {"type": "string", "pattern": "^[a-z0-9-]{1,64}$"},
    },
    "execution_id": {
        "description": "The id of an execution.",
        "schema": {"type": "string", "format": "uuid"},
    },
}


def openapi_document(routes: Iterable[Route], views: object, *, version: str) -> dict[str, Any]:
    """Return the document of *routes*; the docstring of the method of *views* is a route's text."""
    paths: dict[str, dict[str, Any]] = {}
    wishes: set[type[BaseModel]] = set()
    answers: set[type[BaseModel]] = {ProblemAnswer}
    for route in routes:
        path = PREFIX + re.sub(r"<(\w+)>", r"{\1}", route.path)
        operation = _operation(route, inspect.getdoc(getattr(views, route.view)) or "")
        paths.setdefault(path, {})[route.method.lower()] = operation
        wishes |= {route.body} if route.body else set()
        answers |= {route.answer} if route.answer else set()
    _, schemas = models_json_schema(
        [
            *((model, "validation") for model in sorted(wishes, key=_name)),
            *((model, "serialization") for model in sorted(answers, key=_name)),
        ],
        ref_template=REF,
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ATOM platform",
            "version": version,
            "description": "Agents are stored lists of skill steps; running one is an execution.",
        },
        "tags": [{"name": name} for name in dict.fromkeys(route.tag for route in routes)],
        "paths": paths,
        "components": {"schemas": schemas["$defs"]},
    }


def _operation(route: Route, text: str) -> dict[str, Any]:
    summary, _, description = text.partition("\n\n")
    answered: dict[str, Any] = {"description": HTTPStatus(route.status).phrase}
    if route.answer:
        answered |= _content("application/json", route.answer)
    if route.status == HTTPStatus.CREATED:
        location = {"description": "Where it is now.", "schema": {"type": "string"}}
        answered["headers"] = {"Location": location}
    operation: dict[str, Any] = {
        "operationId": route.view,
        "tags": [route.tag],
        "summary": summary,
        "parameters": [*_path_parameters(route.path), *_query_parameters(route.query)],
        "responses": {
            str(route.status): answered,
            **{str(status): _problem(status) for status in route.problems},
        },
    }
    if description:
        operation["description"] = description
    if route.body:
        body = _content("application/json", route.body)
        operation["requestBody"] = {"required": route.body_required, **body}
    return operation


def _path_parameters(path: str) -> list[dict[str, Any]]:
    names = re.findall(r"<(\w+)>", path)
    return [
        {"name": name, "in": "path", "required": True, **PATH_PARAMETERS[name]} for name in names
    ]


def _query_parameters(model: type[BaseModel] | None) -> list[dict[str, Any]]:
    properties = model.model_json_schema()["properties"] if model else {}
    return [
        {
            "name": name,
            "in": "query",
            "description": schema.pop("description"),
            "schema": schema,
        }
        for name, schema in properties.items()
    ]


def _problem(status: int) -> dict[str, Any]:
    return {"description": HTTPStatus(status).phrase, **_content(PROBLEM_TYPE, ProblemAnswer)}


def _content(media_type: str, model: type[BaseModel]) -> dict[str, Any]:
    return {"content": {media_type: {"schema": {"$ref": REF.format(model=_name(model))}}}}


def _name(model: type[BaseModel]) -> str:
    return model.__name__
