"""The JSON of the API: what requests are checked against, and what the OpenAPI document shows."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

__all__ = [
    "AgentAnswer",
    "AgentPage",
    "AgentReplacement",
    "ExecutionAnswer",
    "ExecutionPage",
    "ExecutionWish",
    "NewAgent",
    "PageQuery",
    "ProblemAnswer",
    "SkillList",
    "StepWish",
]

AgentId = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9-]{1,64}$"), Field(examples=["welcome-mail"])
]
Duration = Annotated[float, Field(description="Milliseconds.", examples=[12.345])]
OutcomeName = Literal["success", "failure", "error"]


class _Wish(BaseModel):
    """What a caller sends: nothing unknown in it, and nothing taken for what it is not."""

    model_config = ConfigDict(extra="forbid", strict=True)


class StepWish(_Wish):
    skill: str = Field(description="The id of a skill.", examples=["render-template"])
    values: dict[str, JsonValue] = Field(
        default_factory=dict,
        alias="with",
        description="The skill's input. Each text in it is a Jinja2 template over `input` and "
        "`steps`.",
        examples=[{"template": "Hello {{ input.name }}!"}],
    )


class AgentReplacement(_Wish):
    agent_id: AgentId | None = Field(
        default=None, description="May be repeated here, as it is in the path."
    )
    name: str = Field(min_length=1, max_length=200, examples=["Welcome mail"])
    steps: list[StepWish] = Field(max_length=100)


class NewAgent(_Wish):
    agent_id: AgentId
    name: str = Field(min_length=1, max_length=200, examples=["Welcome mail"])
    steps: list[StepWish] = Field(max_length=100)


class ExecutionWish(_Wish):
    input: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="What the templates of the steps see as `input`.",
        examples=[{"name": "Ada"}],
    )


class PageQuery(BaseModel):
    limit: int = Field(default=20, ge=1, le=100, description="How many to return at most.")
    cursor: str = Field(default="", description="The `next_cursor` of the page before; opaque.")


class StepAnswer(BaseModel):
    skill: str
    values: dict[str, Any] = Field(alias="with")


class AgentAnswer(BaseModel):
    agent_id: str
    name: str
    steps: list[StepAnswer]
    created_at: datetime
    updated_at: datetime


class AgentPage(BaseModel):
    agents: list[AgentAnswer] = Field(description="In the order of their ids.")
    next_cursor: str | None = Field(description="Null on the last page.")


class StepOutcomeAnswer(BaseModel):
    skill: str
    status: OutcomeName
    duration_ms: Duration
    output: Any = Field(description="What the skill returned, or null.")
    error: str | None = Field(description="Why the step did not succeed, or null.")


class ExecutionAnswer(BaseModel):
    execution_id: str
    agent_id: str
    status: OutcomeName = Field(
        description="`success`: all steps returned. `failure`: a skill said no. `error`: anything "
        "else."
    )
    started_at: datetime
    finished_at: datetime
    duration_ms: Duration
    steps: list[StepOutcomeAnswer] = Field(
        description="The steps that were begun; the last is the first that did not succeed."
    )


class ExecutionPage(BaseModel):
    executions: list[ExecutionAnswer] = Field(description="Newest first.")
    next_cursor: str | None = Field(description="Null on the last page.")


class SkillAnswer(BaseModel):
    id: str
    description: str
    input: dict[str, Any] = Field(description="The JSON schema of its input.")


class SkillList(BaseModel):
    skills: list[SkillAnswer] = Field(description="In the order of their ids.")


class ProblemError(BaseModel):
    pointer: str | None = Field(default=None, description="Where in the body (RFC 6901).")
    parameter: str | None = Field(default=None, description="Which parameter of the query.")
    message: str


class ProblemAnswer(BaseModel):
    """Problem details as in RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[ProblemError] | None = None
    request_id: str | None = None
