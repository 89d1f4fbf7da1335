"""The routes of the API: which view answers, and what the OpenAPI document says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from atom_platform.agents.schemas import (
    AgentAnswer,
    AgentPage,
    AgentReplacement,
    ExecutionAnswer,
    ExecutionPage,
    ExecutionWish,
    NewAgent,
    PageQuery,
    SkillList,
)

__all__ = ["ROUTES", "Route"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """
    One route of the API.

    Attributes:
        path: Below `/api`.
        view: The name of the method that answers; its docstring is the route's text.
        answer: The model of the answer when all is well; None if it has no body.
        problems: Status codes of the answers when it is not.
        body_required: Whether a request without a body is refused.
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
        body=NewAgent,
        answer=AgentAnswer,
        status=201,
        problems=(400, 409, 413, 415, 422, 503),
    ),
    Route(
        path="/v1/agents/<agent_id>",
        method="GET",
        view="get_agent",
        tag="Agents",
        answer=AgentAnswer,
        problems=(404, 503),
    ),
    Route(
        path="/v1/agents/<agent_id>",
        method="PUT",
        view="replace_agent",
        tag="Agents",
        body=AgentReplacement,
        answer=AgentAnswer,
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
        body=ExecutionWish,
        body_required=False,
        answer=ExecutionAnswer,
        status=201,
        problems=(400, 404, 413, 415, 422, 503),
    ),
    Route(
        path="/v1/executions/<execution_id>",
        method="GET",
        view="get_execution",
        tag="Executions",
        answer=ExecutionAnswer,
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
