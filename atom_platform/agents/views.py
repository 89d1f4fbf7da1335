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
from atom_platform.agents.bodies import MAX_BODY_BYTES, checked_body, is_json
from atom_platform.agents.model import (
    AgentError,
    AgentInvalid,
    AgentNotFound,
    ExecutionNotFound,
    Fault,
    Step,
)
from atom_platform.agents.openapi import PREFIX, openapi_document
from atom_platform.agents.paging import page_of, wanted_page
from atom_platform.agents.problems import PROBLEM_TYPE, BadBody, Problem, problem_of
from atom_platform.agents.reference import views as reference_views
from atom_platform.agents.routes import ROUTES
from atom_platform.agents.schemas import AgentReplacement, ExecutionWish, NewAgent, StepWish
from atom_platform.agents.service import AgentService

__all__ = ["create_blueprint"]

AGENT_ID: Final = re.compile(r"[a-z0-9-]{1,64}")
EXECUTION_ID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")

Wish = TypeVar("Wish", bound=BaseModel)


def _nothing(**fields: Any) -> None:
    """Log nothing more: the default where no access line is written."""


class AgentViews:
    """One method a route; its docstring is the route's text in the OpenAPI document."""

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
        page = wanted_page(request.args, id_pattern=AGENT_ID)
        agents, cursor = page_of(
            page,
            lambda limit: self._service.agents(limit=limit, after=page.beyond),
            lambda agent: agent.agent_id,
        )
        return _json({"agents": [agent.as_dict() for agent in agents], "next_cursor": cursor})

    def create_agent(self) -> Response:
        """Create an agent.

        Every step's skill has to exist, and what stands under `with` has to be what it takes, as
        far as that can be told before a run.
        """
        wish = _wish(NewAgent)
        agent = self._service.create(wish.agent_id, wish.name, _steps(wish.steps))
        self._log_request(agent_id=agent.agent_id)
        return _json(agent.as_dict(), 201, location=f"/api/v1/agents/{agent.agent_id}")

    def get_agent(self, agent_id: str) -> Response:
        """Return an agent."""
        return _json(self._service.agent(self._agent_id(agent_id)).as_dict())

    def replace_agent(self, agent_id: str) -> Response:
        """Give an agent a new name and new steps.

        It has to exist. A run under way goes on with the steps it began with.
        """
        known_id, wish = self._agent_id(agent_id), _wish(AgentReplacement)
        if wish.agent_id not in (None, known_id):
            raise AgentInvalid((Fault(("agent_id",), "An agent keeps its id: not as in the path"),))
        return _json(self._service.replace(known_id, wish.name, _steps(wish.steps)).as_dict())

    def delete_agent(self, agent_id: str) -> Response:
        """Delete an agent; what it did stays on record."""
        self._service.delete(self._agent_id(agent_id))
        answer = Response(status=204)
        del answer.headers["Content-Type"]
        return answer

    def list_executions(self, agent_id: str) -> Response:
        """List what an agent did, newest first.

        Also after it has been deleted.
        """
        known_id = self._agent_id(agent_id)
        page = wanted_page(request.args, id_pattern=EXECUTION_ID)
        executions, cursor = page_of(
            page,
            lambda limit: self._service.executions(known_id, limit=limit, before=page.beyond),
            lambda execution: execution.execution_id,
        )
        listed = [execution.as_dict() for execution in executions]
        return _json({"executions": listed, "next_cursor": cursor})

    def run_agent(self, agent_id: str) -> Response:
        """Run an agent and return its execution, when it has ended.

        The answer is 201 whatever came of the run: see its `status`.
        """
        known_id = self._agent_id(agent_id)
        wish = _wish(ExecutionWish, may_be_empty=True)
        execution = self._service.run(known_id, wish.input)
        self._log_request(execution_id=execution.execution_id)
        location = f"/api/v1/executions/{execution.execution_id}"
        return _json(execution.as_dict(), 201, location=location)

    def get_execution(self, execution_id: str) -> Response:
        """Return an execution."""
        if not EXECUTION_ID.fullmatch(execution_id):
            raise ExecutionNotFound(execution_id)
        return _json(self._service.execution(execution_id).as_dict())

    def list_skills(self) -> Response:
        """List the skills, with what each of them takes."""
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
    Return the API under `/api`, with its document at `/api/openapi.json` and a page of it at
    `/api/docs`.

    The blueprint also turns every HTTP error of the application under `/api/` into a problem: those
    that no view of it raised, such as 404 and 405, too. Other paths keep Flask's own answers.

    Args:
        log_request: Takes fields for the access line of the request being answered.
    """
    blueprint = Blueprint("agents", __name__, url_prefix=PREFIX)
    views = AgentViews(service, log_request)
    for route in ROUTES:
        view = getattr(views, route.view)
        blueprint.add_url_rule(
            route.path,
            route.view,
            view,
            methods=[route.method],
            provide_automatic_options=False,  # what is not offered is a 405, OPTIONS included
        )

    document = functools.cache(lambda: openapi_document(ROUTES, views, version=__version__))

    @blueprint.get("/openapi.json", provide_automatic_options=False)
    def openapi_json() -> Response:
        return _json(document())

    @blueprint.before_request
    def bound_body() -> None:
        # One more than may come: of a body that does not say how long it is, Werkzeug hands on the
        # first so many bytes as if they were the whole.
        request.max_content_length = MAX_BODY_BYTES + 1

    blueprint.register_error_handler(AgentError, _on_agent_error)
    blueprint.app_errorhandler(HTTPException)(_on_http_error)
    blueprint.register_blueprint(reference_views.create_blueprint(), url_prefix="/docs")
    return blueprint


@functools.cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _on_agent_error(error: AgentError) -> Response:
    return _problem(problem_of(error))


def _on_http_error(error: HTTPException) -> Any:
    if not request.path.startswith("/api/") or error.code is None:
        return error
    detail = error.description or HTTPStatus(error.code).phrase
    headers = {name: value for name, value in error.get_headers() if name == "Allow"}
    if error.code == 500:
        detail = "Something went wrong on our side; the log says what."
    return _problem(Problem(error.code, detail, headers=headers))


def _problem(problem: Problem) -> Response:
    request_id = request.environ.get("atom.request_id")
    answer = _json(problem.as_dict(instance=request.path, request_id=request_id), problem.status)
    answer.content_type = PROBLEM_TYPE
    answer.headers.update(problem.headers)
    return answer


def _json(value: Mapping[str, Any], status: int = 200, *, location: str | None = None) -> Response:
    # Not Flask's own encoder: it sorts keys, and a step's outputs keep the order they were made in.
    text = json.dumps(value, ensure_ascii=False)
    answer = Response(text, status=status, content_type="application/json")
    if location is not None:
        answer.headers["Location"] = location
    return answer


def _wish(model: type[Wish], *, may_be_empty: bool = False) -> Wish:
    try:
        content = request.get_data(cache=False)
    except HTTPException:
        raise
    except Exception:  # badly framed: each server has exceptions of its own for that
        raise BadBody(400, "The body could not be read to its end.") from None
    if len(content) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    if not content and may_be_empty:
        return model()
    if not is_json(request.mimetype):
        raise BadBody(415, "The body has to be application/json.")
    return checked_body(content, model)


def _steps(wishes: list[StepWish]) -> list[Step]:
    return [Step(wish.skill, wish.values) for wish in wishes]
