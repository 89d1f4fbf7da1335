"""The HTTP API of agents, executions and skills."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, TypeVar

from flask import Blueprint, Response, request
from pydantic import BaseModel
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from atom_platform import __version__
from atom_platform.agents.model import (
    AgentError,
    AgentNotFound,
    ExecutionNotFound,
    FieldError,
    InvalidAgent,
    Step,
)
from atom_platform.agents.openapi import API_PREFIX, ROUTES, openapi_document
from atom_platform.agents.problems import PROBLEM_TYPE, InvalidBody, ProblemDetails, problem_for
from atom_platform.agents.reference import views as reference_views
from atom_platform.agents.request_parsing import (
    MAX_BODY_BYTES,
    fetch_page,
    is_json,
    parse_body,
    parse_page_query,
)
from atom_platform.agents.schemas import AgentCreate, AgentUpdate, ExecutionCreate, StepIn
from atom_platform.agents.service import AgentService

__all__ = ["create_blueprint"]

AGENT_ID: Final = re.compile(r"[a-z0-9-]{1,64}")
EXECUTION_ID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")

Body = TypeVar("Body", bound=BaseModel)


def _nothing(**fields: Any) -> None:
    """Ignore the fields: the default where no access line is written."""


class AgentViews:
    """One method per route; its docstring is the route's text in the OpenAPI document."""

    def __init__(self, service: AgentService, log_request: Callable[..., None]) -> None:
        self._service = service
        self._log_request = log_request

    def _agent_id(self, text: str) -> str:
        if not AGENT_ID.fullmatch(text):
            raise AgentNotFound(text)
        self._log_request(agent_id=text)
        return text

    def list_agents(self) -> Response:
        """List the agents, in the order of their ids."""
        page = parse_page_query(request.args, id_pattern=AGENT_ID)
        agents, cursor = fetch_page(
            page,
            lambda limit: self._service.agents(limit=limit, after=page.after_id),
            lambda agent: agent.agent_id,
        )
        return _json({"agents": [agent.as_dict() for agent in agents], "next_cursor": cursor})

    def create_agent(self) -> Response:
        """Create an agent.

        Every step's skill must exist, and the values under `with` must fit its input, as far as
        that is known before a run.
        """
        body = _request_body(AgentCreate)
        agent = self._service.create(body.agent_id, body.name, _steps(body.steps))
        self._log_request(agent_id=agent.agent_id)
        return _json(agent.as_dict(), 201, location=f"/api/v1/agents/{agent.agent_id}")

    def get_agent(self, agent_id: str) -> Response:
        """Return an agent."""
        return _json(self._service.agent(self._agent_id(agent_id)).as_dict())

    def replace_agent(self, agent_id: str) -> Response:
        """Give an agent a new name and new steps.

        The agent must exist. A run in progress keeps the steps it started with.
        """
        known_id, body = self._agent_id(agent_id), _request_body(AgentUpdate)
        if body.agent_id not in (None, known_id):
            raise InvalidAgent(
                (FieldError(("agent_id",), "The id differs from the path; an agent keeps its id"),)
            )
        return _json(self._service.replace(known_id, body.name, _steps(body.steps)).as_dict())

    def delete_agent(self, agent_id: str) -> Response:
        """Delete an agent; its executions stay."""
        self._service.delete(self._agent_id(agent_id))
        answer = Response(status=204)
        del answer.headers["Content-Type"]
        return answer

    def list_executions(self, agent_id: str) -> Response:
        """List the executions of an agent, newest first.

        Executions of a deleted agent are listed too.
        """
        known_id = self._agent_id(agent_id)
        page = parse_page_query(request.args, id_pattern=EXECUTION_ID)
        executions, cursor = fetch_page(
            page,
            lambda limit: self._service.executions(known_id, limit=limit, before=page.after_id),
            lambda execution: execution.execution_id,
        )
        listed = [execution.as_dict() for execution in executions]
        return _json({"executions": listed, "next_cursor": cursor})

    def run_agent(self, agent_id: str) -> Response:
        """Run an agent and return its execution when it has ended.

        The response is 201 whatever the result of the run: see `status`.
        """
        known_id = self._agent_id(agent_id)
        body = _request_body(ExecutionCreate, may_be_empty=True)
        execution = self._service.run(known_id, body.input)
        self._log_request(execution_id=execution.execution_id)
        location = f"/api/v1/executions/{execution.execution_id}"
        return _json(execution.as_dict(), 201, location=location)

    def get_execution(self, execution_id: str) -> Response:
        """Return an execution."""
        if not EXECUTION_ID.fullmatch(execution_id):
            raise ExecutionNotFound(execution_id)
        return _json(self._service.execution(execution_id).as_dict())

    def list_skills(self) -> Response:
        """List the skills, each with the JSON schema of its input."""
        skills = [
            {
                "id": skill.skill_id,
                "description": skill.description.strip(),
                "input": _schema(skill.input_model),
            }
            for skill in self._service.skills
        ]
        return _json({"skills": skills})


def create_blueprint(
    service: AgentService, *, log_request: Callable[..., None] = _nothing
) -> Blueprint:
    """
    Return the API under `/api`, with its OpenAPI document at `/api/openapi.json` and a page for
    users at `/api/docs`.

    The blueprint also turns every HTTP error under `/api/` into a problem, Flask's own 404 and 405
    included. Other paths keep Flask's own error responses.

    Args:
        log_request: Adds fields to the access line of the current request.
    """
    blueprint = Blueprint("agents", __name__, url_prefix=API_PREFIX)
    views = AgentViews(service, log_request)
    for route in ROUTES:
        view = getattr(views, route.view)
        blueprint.add_url_rule(
            route.path,
            route.view,
            view,
            methods=[route.method],
            provide_automatic_options=False,  # every other method is a 405, OPTIONS included
        )

    document = functools.cache(lambda: openapi_document(ROUTES, views, version=__version__))

    @blueprint.get("/openapi.json", provide_automatic_options=False)
    def openapi_json() -> Response:
        return _json(document())

    @blueprint.before_request
    def bound_body() -> None:
        # One byte above the limit: Werkzeug cuts a body without Content-Length at this limit and
        # returns it as if it were complete.
        request.max_content_length = MAX_BODY_BYTES + 1

    blueprint.register_error_handler(AgentError, _on_agent_error)
    blueprint.app_errorhandler(HTTPException)(_on_http_error)
    blueprint.register_blueprint(reference_views.create_blueprint(), url_prefix="/docs")
    return blueprint


@functools.cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _on_agent_error(error: AgentError) -> Response:
    return _problem(problem_for(error))


def _on_http_error(error: HTTPException) -> Any:
    if not request.path.startswith("/api/") or error.code is None:
        return error
    detail = error.description or HTTPStatus(error.code).phrase
    headers = {name: value for name, value in error.get_headers() if name == "Allow"}
    if error.code == 500:
        detail = "The server failed to answer this request; see its log."
    return _problem(ProblemDetails(error.code, detail, headers=headers))


def _problem(problem: ProblemDetails) -> Response:
    request_id = request.environ.get("atom.request_id")
    answer = _json(problem.as_dict(instance=request.path, request_id=request_id), problem.status)
    answer.content_type = PROBLEM_TYPE
    answer.headers.update(problem.headers)
    return answer


def _json(value: Mapping[str, Any], status: int = 200, *, location: str | None = None) -> Response:
    # Flask's own encoder sorts keys; the outputs of a step keep their order.
    text = json.dumps(value, ensure_ascii=False)
    answer = Response(text, status=status, content_type="application/json")
    if location is not None:
        answer.headers["Location"] = location
    return answer


def _request_body(model: type[Body], *, may_be_empty: bool = False) -> Body:
    try:
        content = request.get_data(cache=False)
    except HTTPException:
        raise
    except Exception:  # badly framed: every server has its own exceptions for that
        raise InvalidBody(400, "The body could not be read to its end.") from None
    if len(content) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    if not content and may_be_empty:
        return model()
    if not is_json(request.mimetype):
        raise InvalidBody(415, "The body must be application/json.")
    return parse_body(content, model)


def _steps(steps: list[StepIn]) -> list[Step]:
    return [Step(step.skill, step.values) for step in steps]
