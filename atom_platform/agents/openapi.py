"""
The routes of the API, and the OpenAPI document made from them.

The document takes its schemas from pydantic and its texts from the docstrings of the views.
SpecTree was tried: it also validates requests and serializes responses, takes malformed JSON for an
empty object, and gives a response without a body a content type.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from atom_platform.agents.problems import PROBLEM_TYPE
from atom_platform.agents.schemas import (
    AgentCreate,
    AgentOut,
    AgentPage,
    AgentUpdate,
    ExecutionCreate,
    ExecutionOut,
    ExecutionPage,
    PageQuery,
    ProblemOut,
    SkillList,
)

__all__ = ["API_PREFIX", "ROUTES", "Route", "openapi_document"]

API_PREFIX: Final = "/api"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """
    One route of the API.

    Attributes:
        path: Below `/api`.
        view: The name of the view method; its docstring is the route's text.
        answer: The model of a successful response; None if it has no body.
        problems: The status codes of error responses.
        body_required: Whether a request without a body is rejected.
    """

    path: str
    method: str
    view: str
    tag: str
    answer: type[BaseModel] | None
    status: int = 200
    problems: tuple[int, ...] = ()
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    body_required: bool = True


ROUTES: Final = (
    Route(
        path="/v1/agents",
        method="GET",
        view="list_agents",
        tag="Agents",
        query=PageQuery,
        answer=AgentPage,
        problems=(400, 503),
    ),
    Route(
        path="/v1/agents",
        method="POST",
        view="create_agent",
        tag="Agents",
        body=AgentCreate,
        answer=AgentOut,
        status=201,
        problems=(400, 409, 413, 415, 422, 503),
    ),
    Route(
        path="/v1/agents/<agent_id>",
        method="GET",
        view="get_agent",
        tag="Agents",
        answer=AgentOut,
        problems=(404, 503),
    ),
    Route(
        path="/v1/agents/<agent_id>",
        method="PUT",
        view="replace_agent",
        tag="Agents",
        body=AgentUpdate,
        answer=AgentOut,
        problems=(400, 404, 413, 415, 422, 503),
    ),
    Route(
        path="/v1/agents/<agent_id>",
        method="DELETE",
        view="delete_agent",
        tag="Agents",
        answer=None,
        status=204,
        problems=(404, 503),
    ),
    Route(
        path="/v1/agents/<agent_id>/executions",
        method="GET",
        view="list_executions",
        tag="Executions",
        query=PageQuery,
        answer=ExecutionPage,
        problems=(400, 404, 503),
    ),
    Route(
        path="/v1/agents/<agent_id>/executions",
        method="POST",
        view="run_agent",
        tag="Executions",
        body=ExecutionCreate,
        body_required=False,
        answer=ExecutionOut,
        status=201,
        problems=(400, 404, 413, 415, 422, 503),
    ),
    Route(
        path="/v1/executions/<execution_id>",
        method="GET",
        view="get_execution",
        tag="Executions",
        answer=ExecutionOut,
        problems=(404, 503),
    ),
    Route(
        path="/v1/skills",
        method="GET",
        view="list_skills",
        tag="Skills",
        answer=SkillList,
    ),
)


def openapi_document(routes: Iterable[Route], views: object, *, version: str) -> dict[str, Any]:
    """Return the document of *routes*; a route's text is the docstring of its method in *views*."""
    paths: dict[str, dict[str, Any]] = {}
    bodies: set[type[BaseModel]] = set()
    answers: set[type[BaseModel]] = {ProblemOut}
    for route in routes:
        path = API_PREFIX + re.sub(r"<(\w+)>", r"{\1}", route.path)
        operation = _operation(route, inspect.getdoc(getattr(views, route.view)) or "")
        paths.setdefault(path, {})[route.method.lower()] = operation
        bodies |= {route.body} if route.body else set()
        answers |= {route.answer} if route.answer else set()
    _, schemas = models_json_schema(
        [
            *((model, "validation") for model in sorted(bodies, key=_name)),
            *((model, "serialization") for model in sorted(answers, key=_name)),
        ],
        ref_template=REF,
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ATOM platform",
            "version": version,
            "description": "Agents are stored lists of skill steps; an execution is one run.",
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
        location = {"description": "The URL of the new resource.", "schema": {"type": "string"}}
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
    return {"description": HTTPStatus(status).phrase, **_content(PROBLEM_TYPE, ProblemOut)}


def _content(media_type: str, model: type[BaseModel]) -> dict[str, Any]:
    return {"content": {media_type: {"schema": {"$ref": REF.format(model=_name(model))}}}}


def _name(model: type[BaseModel]) -> str:
    return model.__name__
