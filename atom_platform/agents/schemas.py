"""The pydantic models of request and response bodies, which the OpenAPI document shows."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

__all__ = [
    "AgentCreate",
    "AgentOut",
    "AgentPage",
    "AgentUpdate",
    "ExecutionCreate",
    "ExecutionOut",
    "ExecutionPage",
    "PageQuery",
    "ProblemOut",
    "SkillList",
    "StepIn",
]

AgentId = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9-]{1,64}$"), Field(examples=["welcome-mail"])
]
Duration = Annotated[float, Field(description="Milliseconds.", examples=[12.345])]
StatusName = Literal["success", "failure", "error"]


class _RequestBody(BaseModel):
    """Base class of request bodies: unknown fields are errors, and types are not converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


class StepIn(_RequestBody):
    skill: str = Field(description="The id of a skill.", examples=["render-template"])
    values: dict[str, JsonValue] = Field(
        default_factory=dict,
        alias="with",
        description="The skill's input. Each text in it is a Jinja2 template over `input` and "
        "`steps`.",
        examples=[{"template": "Hello {{ input.name }}!"}],
    )


class AgentUpdate(_RequestBody):
    agent_id: AgentId | None = Field(
        default=None, description="May be repeated here, as it is in the path."
    )
    name: str = Field(min_length=1, max_length=200, examples=["Welcome mail"])
    steps: list[StepIn] = Field(max_length=100)


class AgentCreate(_RequestBody):
    agent_id: AgentId
    name: str = Field(min_length=1, max_length=200, examples=["Welcome mail"])
    steps: list[StepIn] = Field(max_length=100)


class ExecutionCreate(_RequestBody):
    input: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="What the templates of the steps see as `input`.",
        examples=[{"name": "Ada"}],
    )


class PageQuery(BaseModel):
    limit: int = Field(default=20, ge=1, le=100, description="How many to return at most.")
    cursor: str = Field(default="", description="The `next_cursor` of the page before; opaque.")


class StepOut(BaseModel):
    skill: str
    values: dict[str, Any] = Field(alias="with")


class AgentOut(BaseModel):
    agent_id: str
    name: str
    steps: list[StepOut]
    created_at: datetime
    updated_at: datetime


class AgentPage(BaseModel):
    agents: list[AgentOut] = Field(description="In the order of their ids.")
    next_cursor: str | None = Field(description="Null on the last page.")


class StepResultOut(BaseModel):
    skill: str
    status: StatusName
    duration_ms: Duration
    output: Any = Field(description="What the skill returned, or null.")
    error: str | None = Field(description="Why the step did not succeed, or null.")


class ExecutionOut(BaseModel):
    execution_id: str
    agent_id: str
    status: StatusName = Field(
        description="`success`: all steps returned. `failure`: a skill failed. `error`: any "
        "other exception."
    )
    started_at: datetime
    finished_at: datetime
    duration_ms: Duration
    steps: list[StepResultOut] = Field(
        description="The steps that ran; only the last of them can be unsuccessful."
    )


class ExecutionPage(BaseModel):
    executions: list[ExecutionOut] = Field(description="Newest first.")
    next_cursor: str | None = Field(description="Null on the last page.")


class SkillOut(BaseModel):
    id: str
    description: str
    input: dict[str, Any] = Field(description="The JSON schema of its input.")


class SkillList(BaseModel):
    skills: list[SkillOut] = Field(description="In the order of their ids.")


class ProblemFieldError(BaseModel):
    pointer: str | None = Field(default=None, description="Where in the body (RFC 6901).")
    parameter: str | None = Field(default=None, description="Which parameter of the query.")
    message: str


class ProblemOut(BaseModel):
    """Problem details as in RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[ProblemFieldError] | None = None
    request_id: str | None = None
