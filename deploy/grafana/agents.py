"""Agents and skills: rates, results and durations."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from deploy.grafana.frame import add, frame
from deploy.grafana.panels import heat, lines, number, rows
from deploy.grafana.queries import Query, increase, quantile, rate, share
from deploy.prometheus.render import thresholds

__all__ = ["agents"]


def agents() -> Dashboard:
    dashboard = frame(
        "atom-agents",
        "ATOM Agents and Skills",
        "Success: every step returned. Failure: a skill said no. Error: anything else.",
        "agent",
        "skill",
    )
    _agents(dashboard)
    _skills(dashboard)
    return dashboard


def _agents(dashboard: Dashboard) -> None:
    limits = thresholds()
    dashboard.with_row(Row("Agents"))
    add(
        dashboard,
        number(
            "Running",
            "Agents running right now.",
            Query("sum(active_agents{@service})"),
            unit="short",
            levels=[(limits["guide"]["active_agents"], "red")],
            alerts=["HighActiveAgentCount", "AgentStuck"],
            width=6,
        ),
        number(
            "Executions",
            "Executions finished per minute.",
            Query(rate("agent_executions_total", where="@agent") + " * 60"),
            unit="short",
            width=6,
        ),
        number(
            "Not successful",
            "Share of the executions that ended in failure or error.",
            Query(share("agent_executions_total", 'status!="success"', by="job", where="@agent")),
            unit="percentunit",
            levels=[(limits["agents"]["failure_ratio"], "red")],
            alerts=["AgentFailureRatioHigh"],
            width=6,
        ),
        number(
            "Duration (p95)",
            "One execution in twenty takes this long or longer.",
            Query(quantile(0.95, "agent_execution_duration_seconds", where="@agent")),
            unit="s",
            width=6,
        ),
    )
    dashboard.with_panel(
        rows(
            "Agents",
            "Every agent over the last half hour.",
            Query(increase("agent_executions_total", by="agent_id", where="@agent", window="30m")),
            Query(
                share(
                    "agent_executions_total",
                    'status!="success"',
                    by="agent_id",
                    where="@agent",
                    window="30m",
                )
            ),
            Query(
                quantile(
                    0.95,
                    "agent_execution_duration_seconds",
                    by="agent_id",
                    where="@agent",
                    window="30m",
                )
            ),
            by="agent_id",
            columns=[("Executions", "short"), ("Not successful", "percentunit"), ("p95", "s")],
        )
    )
    add(
        dashboard,
        lines(
            "Executions by outcome",
            "Executions finished per second.",
            Query(
                rate("agent_executions_total", by="status", where="@agent"),
                "{{status}}",
            ),
            unit="ops",
            stacked=True,
            width=12,
        ),
        lines(
            "Not successful, by agent",
            "Share of an agent's executions that ended in failure or error.",
            Query(
                share("agent_executions_total", 'status!="success"', by="agent_id", where="@agent"),
                "{{agent_id}}",
            ),
            unit="percentunit",
            maximum=1,
            levels=[(limits["agents"]["failure_ratio"], "red")],
            alerts=["AgentFailureRatioHigh"],
            width=12,
        ),
        heat(
            "Execution time",
            "How long executions take.",
            "agent_execution_duration_seconds",
            where="@agent",
        ),
        lines(
            "Running, by instance",
            "Agents running right now. Agents that run while none ends are stuck.",
            Query("sum by (instance) (active_agents{@service})", "{{instance}}"),
            unit="short",
            stacked=True,
            alerts=["AgentStuck"],
            width=12,
        ),
    )


def _skills(dashboard: Dashboard) -> None:
    dashboard.with_row(Row("Skills"))
    add(
        dashboard,
        lines(
            "Skills by outcome",
            "Steps finished per second.",
            Query(
                rate("skill_executions_total", by="skill_id, status", where="@skill"),
                "{{skill_id}} {{status}}",
            ),
            unit="ops",
            stacked=True,
            width=12,
        ),
        lines(
            "Skill duration (p95)",
            "One step in twenty takes this long or longer.",
            Query(
                quantile(0.95, "skill_execution_duration_seconds", by="skill_id", where="@skill"),
                "{{skill_id}}",
            ),
            unit="s",
            width=12,
        ),
        heat(
            "Step time",
            "How long steps take.",
            "skill_execution_duration_seconds",
            where="@skill",
        ),
        lines(
            "Identifiers over the limit",
            "Observations per second that were counted under `other`: their metric is full of"
            " identifiers.",
            Query(
                rate("metric_label_overflows_total", by="metric"),
                "{{metric}}",
            ),
            unit="ops",
            alerts=["MetricLabelOverflow"],
            width=12,
        ),
    )
