"""Overview: whether the service is healthy, and where to look if it is not."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from deploy.grafana.frame import add, frame
from deploy.grafana.panels import Level, heat, lines, number, rows
from deploy.grafana.queries import Query, quantile, rate, share
from deploy.prometheus.render import thresholds

__all__ = ["overview"]


def overview() -> Dashboard:
    dashboard = frame(
        "atom-overview",
        "ATOM Platform Monitoring",
        "Requests, agents and database of the ATOM platform at a glance. Probes are not counted as"
        " requests; they have a dashboard of their own.",
        "endpoint",
        "agent",
    )
    _now(dashboard)
    _guide(dashboard)
    _endpoints(dashboard)
    _promises(dashboard)
    return dashboard


def _now(dashboard: Dashboard) -> None:
    guide = thresholds()["guide"]
    critical = "|".join(thresholds()["critical_checks"])
    spent: list[Level] = [(-1e9, "red"), (0, "orange"), (0.25, "green")]
    add(
        dashboard,
        number(
            "Instances ready",
            "Share of the instances whose critical checks are all healthy.",
            Query(
                "avg(min by (job, instance) "
                f'(health_check_healthy{{@service, check=~"{critical}"}}))'
            ),
            unit="percentunit",
            levels=[(0, "red"), (0.5, "orange"), (1, "green")],
            alerts=["ReadinessProbeFailing"],
        ),
        number(
            "Requests",
            "Requests of users per second, over all endpoints.",
            Query(rate("http_requests_total", where="@users")),
            unit="reqps",
        ),
        number(
            "Errors",
            "Share of the users' requests that were answered 5xx.",
            Query(share("http_requests_total", 'status=~"5.."', by="job", where="@users")),
            unit="percentunit",
            levels=[(guide["http_error_ratio"], "red")],
            alerts=["HighHTTPErrorRate"],
        ),
        number(
            "Latency (p95)",
            "One request in twenty takes this long or longer. Agent runs are left out: their time"
            " is the agent's.",
            Query("job:http_request_duration_seconds:p95_5m{@job}"),
            unit="s",
            levels=[(guide["http_p95_seconds"], "red")],
            alerts=["HighHTTPLatency"],
        ),
        number(
            "Availability budget left",
            "Share of the period's allowed errors that is left; below zero the promise is broken.",
            Query("job:slo_availability:budget_left{@job}"),
            unit="percentunit",
            levels=spent,
            alerts=["AvailabilityBudgetBurn"],
        ),
        number(
            "Latency budget left",
            "What is left of the slow requests that the objective allows in its period.",
            Query("job:slo_latency:budget_left{@job}"),
            unit="percentunit",
            levels=spent,
            alerts=["LatencyBudgetBurn"],
        ),
    )
    dashboard.with_panel(
        rows(
            "Firing alerts",
            "What Prometheus holds for wrong right now. Inhibited alerts are listed too.",
            Query('ALERTS{alertstate="firing", @job}'),
            by="alertname",
            hidden=("__name__", "Value", "alertstate", "job", "service"),
        )
    )


def _guide(dashboard: Dashboard) -> None:
    """The eight panels that the monitoring guide recommends, under its titles."""
    guide = thresholds()["guide"]
    dashboard.with_row(Row("The eight"))
    add(
        dashboard,
        lines(
            "HTTP Request Rate",
            "Requests per second by endpoint.",
            Query(
                rate("http_requests_total", by="endpoint", where="@users"),
                "{{endpoint}}",
            ),
            unit="reqps",
            stacked=True,
            width=6,
        ),
        lines(
            "HTTP Request Latency (p95)",
            "One request in twenty takes this long or longer. Diamonds are single requests with"
            " their trace id.",
            Query("job:http_request_duration_seconds:p95_5m{@job}", "all but agent runs"),
            Query(
                quantile(0.95, "http_request_duration_seconds", by="endpoint", where="@users"),
                "{{endpoint}}",
                exemplars=True,
            ),
            unit="s",
            levels=[(guide["http_p95_seconds"], "red")],
            alerts=["HighHTTPLatency"],
            width=6,
        ),
        lines(
            "HTTP Error Rate",
            "Share of the requests that were answered 5xx.",
            Query(share("http_requests_total", 'status=~"5.."', by="job", where="@users"), "all"),
            Query(
                share("http_requests_total", 'status=~"5.."', by="endpoint", where="@users"),
                "{{endpoint}}",
            ),
            unit="percentunit",
            levels=[(guide["http_error_ratio"], "red")],
            alerts=["HighHTTPErrorRate"],
            width=6,
        ),
        lines(
            "Active Agents",
            "Agents running right now, by instance.",
            Query("sum by (instance) (active_agents{@service})", "{{instance}}"),
            unit="short",
            stacked=True,
            levels=[(guide["active_agents"], "red")],
            alerts=["HighActiveAgentCount", "AgentStuck"],
            width=6,
        ),
        lines(
            "Agent Execution Rate",
            "Agent executions finished per second, by outcome.",
            Query(
                rate("agent_executions_total", by="status", where="@agent"),
                "{{status}}",
            ),
            unit="ops",
            stacked=True,
            alerts=["AgentFailureRatioHigh"],
            width=6,
        ),
        lines(
            "Agent Execution Latency (p95)",
            "One execution in twenty takes this long or longer, by agent.",
            Query(
                quantile(0.95, "agent_execution_duration_seconds", by="agent_id", where="@agent"),
                "{{agent_id}}",
            ),
            unit="s",
            width=6,
        ),
        lines(
            "Database Query Latency (p95)",
            "One statement in twenty takes this long or longer, by operation. Statements of the"
            " application only; the readiness check is on the probes' dashboard.",
            Query(quantile(0.95, "db_query_duration_seconds", by="operation"), "{{operation}}"),
            unit="s",
            width=6,
        ),
        lines(
            "Database Connection Pool",
            "Connections of the application's pools: in use, open and free, at most; and threads"
            " that wait for one.",
            Query("sum(db_connections_active{@service})", "active"),
            Query("sum(db_connections_idle{@service})", "idle"),
            Query("sum(db_connections_max{@service})", "max"),
            Query("sum(db_connections_waiting{@service})", "waiting"),
            unit="short",
            alerts=["DatabaseConnectionPoolExhausted", "DatabaseConnectionPoolWaiting"],
            width=6,
        ),
    )


def _endpoints(dashboard: Dashboard) -> None:
    dashboard.with_row(Row("Endpoints: rate, errors, duration"))
    dashboard.with_panel(
        rows(
            "Endpoints",
            "Every endpoint over the last five minutes.",
            Query(rate("http_requests_total", by="endpoint", where="@users", window="5m")),
            Query(
                share(
                    "http_requests_total",
                    'status=~"5.."',
                    by="endpoint",
                    where="@users",
                    window="5m",
                )
            ),
            Query(
                quantile(
                    0.5, "http_request_duration_seconds", by="endpoint", where="@users", window="5m"
                )
            ),
            Query(
                quantile(
                    0.95,
                    "http_request_duration_seconds",
                    by="endpoint",
                    where="@users",
                    window="5m",
                )
            ),
            by="endpoint",
            columns=[("Rate", "reqps"), ("Errors", "percentunit"), ("p50", "s"), ("p95", "s")],
        )
    )
    add(
        dashboard,
        heat(
            "Request latency",
            "How long requests take, all of them: a second band is a second population that a"
            " percentile hides.",
            "http_request_duration_seconds",
            where="@users",
        ),
        lines(
            "Answers by status",
            "Requests per second by status code.",
            Query(
                rate("http_requests_total", by="status", where="@users"),
                "{{status}}",
            ),
            unit="reqps",
            stacked=True,
            width=12,
        ),
        lines(
            "Exceptions",
            "Exceptions that no handler turned into an answer, per second.",
            Query(
                rate("http_exceptions_total", by="endpoint, exception"),
                "{{exception}} in {{endpoint}}",
            ),
            unit="ops",
            width=12,
        ),
        lines(
            "Cut off",
            "Responses that did not reach their end, per second.",
            Query(
                rate("http_responses_aborted_total", by="reason"),
                "{{reason}}",
            ),
            unit="ops",
            width=12,
        ),
    )


def _promises(dashboard: Dashboard) -> None:
    slo = thresholds()["slo"]
    dashboard.with_row(Row("Promises"))
    for name, bad in (("availability", "http_requests_errors"), ("latency", "http_requests_slow")):
        objective = slo[name]["objective"]
        budget = round(1 - objective, 9)
        within = f" within {slo[name]['seconds']} s" if "seconds" in slo[name] else " without a 5xx"
        dashboard.with_panel(
            lines(
                f"Burn rate: {name}",
                f"How many times faster than sustainable the error budget goes. Promised:"
                f" {objective:.1%} of the requests answered{within} over {slo['period']}. Above a"
                " dashed line in a long and its short window somebody is told.",
                *(
                    Query(f"job:{bad}:ratio_rate{window}{{@job}} / {budget}", window)
                    for window in ("5m", "30m", "1h", "6h")
                ),
                unit="none",
                levels=[
                    (burn["factor"], "red" if burn["severity"] == "critical" else "orange")
                    for burn in reversed(slo["burns"])
                ],
                alerts=[f"{name.capitalize()}BudgetBurn"],
                width=12,
            )
        )
        dashboard.with_panel(
            lines(
                f"Budget left: {name}",
                "1 is untouched, 0 is spent, below it the promise is broken.",
                Query(f"job:slo_{name}:budget_left{{@job}}", "{{job}}"),
                unit="percentunit",
                minimum=None,
                maximum=1,
                width=12,
            )
        )
