"""The probes over HTTP: exactly the bodies of the guide."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from atom_platform.health.check import CheckFailed, CheckResult
from atom_platform.health.checks.database import database_check
from atom_platform.health.checks.disk import disk_check
from atom_platform.health.registry import HealthRegistry
from atom_platform.health.responses import live_body
from atom_platform.health.views import create_blueprint
from tests.support.polling import wait_until
from tests.unit.health.parts import Changing, Hanging

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
GB = 1024**3


class Switches:
    """The state of the rest of the service."""

    draining = False
    loaded = True
    shows_checks = True


@pytest.fixture(name="switches")
def _switches() -> Switches:
    return Switches()


@pytest.fixture(name="client")
def _client(registry: HealthRegistry, switches: Switches) -> FlaskClient:
    app = Flask(__name__)
    app.register_blueprint(
        create_blueprint(
            registry,
            is_draining=lambda: switches.draining,
            startup=lambda: switches.loaded,
            shows_checks=lambda environ: switches.shows_checks,
        )
    )
    return app.test_client()


def register_both(registry: HealthRegistry, ping: Callable[[], object] = lambda: None) -> None:
    registry.register("database", database_check(ping), timeout_seconds=5, measures_latency=True)
    registry.register(
        "disk",
        disk_check(free_bytes=lambda path: int(10.5 * GB)),
        timeout_seconds=5,
        measures=["free_gb"],
    )


def body_without_time(client: FlaskClient, path: str) -> dict[str, Any]:
    body: dict[str, Any] = client.get(path).get_json()
    assert TIMESTAMP.fullmatch(body.pop("timestamp"))
    return body


class TestLive:
    def test_body(self, client: FlaskClient) -> None:
        answer = client.get("/health/live")

        assert answer.status_code == 200
        assert list(answer.get_json()) == ["status", "timestamp"]
        assert body_without_time(client, "/health/live") == {"status": "alive"}

    def test_live_body_has_the_same_bytes(
        self, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            "atom_platform.health.responses.rfc3339_now", lambda: "2026-02-16T19:15:00.000Z"
        )

        assert client.get("/health/live").data == live_body()
        assert live_body() == b'{"status":"alive","timestamp":"2026-02-16T19:15:00.000Z"}'

    def test_reads_no_dependency(
        self, client: FlaskClient, registry: HealthRegistry, switches: Switches
    ) -> None:
        check = Changing(CheckFailed("gone"))
        registry.register("database", check, timeout_seconds=5)
        switches.draining, switches.loaded = True, False

        assert client.get("/health/live").status_code == 200
        assert check.runs == 0


class TestReady:
    def test_body(self, client: FlaskClient, registry: HealthRegistry) -> None:
        register_both(registry)

        answer = client.get("/health/ready")

        assert answer.status_code == 200
        body = answer.get_json()
        assert list(body) == ["status", "timestamp", "checks"]
        assert list(body["checks"]) == ["database", "disk"]
        latency_ms = body["checks"]["database"].pop("latency_ms")
        assert 0 <= latency_ms < 500
        assert body["status"] == "ready"
        assert body["checks"] == {
            "database": {"healthy": True, "message": "Database accessible"},
            "disk": {"healthy": True, "message": "10.50GB free", "free_gb": 10.5},
        }

    def test_body_of_a_failure(self, client: FlaskClient, registry: HealthRegistry) -> None:
        def refused() -> None:
            raise CheckFailed("Database refused the connection")

        register_both(registry, refused)

        answer = client.get("/health/ready")

        assert answer.status_code == 503
        body = answer.get_json()
        assert list(body["checks"]["database"]) == ["healthy", "message", "latency_ms"]
        latency_ms = body["checks"]["database"].pop("latency_ms")
        assert 0 <= latency_ms < 500
        assert body["status"] == "not_ready"
        assert body["checks"] == {
            "database": {"healthy": False, "message": "Database refused the connection"},
            "disk": {"healthy": True, "message": "10.50GB free", "free_gb": 10.5},
        }

    def test_the_timestamp_is_of_the_answer_not_of_the_run(
        self, client: FlaskClient, registry: HealthRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        register_both(registry)
        client.get("/health/ready")
        monkeypatch.setattr(
            "atom_platform.health.responses.rfc3339_now", lambda: "2100-01-01T00:00:00.000Z"
        )

        assert client.get("/health/ready").get_json()["timestamp"] == "2100-01-01T00:00:00.000Z"

    def test_follows_the_checks(self, client: FlaskClient, registry: HealthRegistry) -> None:
        """The encoded body is cached for one result only."""
        check = Changing()
        registry.register("database", check, timeout_seconds=5)
        assert client.get("/health/ready").status_code == 200

        check.fail()
        wait_until(lambda: client.get("/health/ready").status_code == 503)
        assert body_without_time(client, "/health/ready")["checks"]["database"] == {
            "healthy": False,
            "message": "Dependency broken",
        }

        check.recover()
        wait_until(lambda: client.get("/health/ready").status_code == 200)

    def test_a_message_cannot_break_the_body(
        self, client: FlaskClient, registry: HealthRegistry
    ) -> None:
        text = 'quote " line \n surrogate \ud800 </script>'
        registry.register("odd", Changing(CheckFailed(text)), timeout_seconds=5)

        assert client.get("/health/ready").get_json()["checks"]["odd"]["message"] == text

    def test_a_schema_behind_the_code_is_shown(
        self, client: FlaskClient, registry: HealthRegistry
    ) -> None:
        startup_check = Changing(CheckResult(healthy=False, message="Database schema waits"))
        register_both(registry)
        registry.register_startup_check(
            "schema", startup_check, timeout_seconds=5, after="database"
        )

        answer = client.get("/health/ready")
        assert answer.status_code == 503
        assert list(answer.get_json()["checks"]) == ["database", "disk", "schema"]
        assert answer.get_json()["checks"]["schema"] == {
            "healthy": False,
            "message": "Database schema waits",
        }

        startup_check.recover()
        wait_until(lambda: client.get("/health/ready").status_code == 200)
        assert list(client.get("/health/ready").get_json()["checks"]) == ["database", "disk"]


class TestDraining:
    def test_is_reported_at_once_with_the_checks(
        self, client: FlaskClient, registry: HealthRegistry, switches: Switches
    ) -> None:
        register_both(registry)
        assert client.get("/health/ready").status_code == 200

        switches.draining = True

        answer = client.get("/health/ready")
        assert answer.status_code == 503
        assert answer.get_json()["status"] == "draining"
        assert answer.get_json()["checks"]["disk"]["healthy"] is True

    def test_waits_for_no_first_run(
        self,
        make_registry: Callable[..., HealthRegistry],
        hanging: Hanging,
    ) -> None:
        registry = make_registry(initial_wait_seconds=60)
        registry.register("database", hanging, timeout_seconds=90)
        app = Flask(__name__)
        app.register_blueprint(create_blueprint(registry, is_draining=lambda: True))

        answer = app.test_client().get("/health/ready")

        assert answer.get_json()["status"] == "draining"


class TestVerbose:
    def test_adds_the_history(self, client: FlaskClient, registry: HealthRegistry) -> None:
        registry.register("database", Changing(CheckFailed("gone")), timeout_seconds=5)
        registry.register("mail", Changing(), timeout_seconds=5, critical=False)

        checks = client.get("/health/ready?verbose").get_json()["checks"]

        assert list(checks["database"]) == [
            "healthy",
            "message",
            "code",
            "critical",
            "since",
            "consecutive_failures",
            "last_success",
            "age_seconds",
        ]
        assert checks["database"]["code"] == "unhealthy"
        assert checks["database"]["critical"] is True
        assert checks["database"]["consecutive_failures"] >= 1
        assert checks["database"]["last_success"] is None
        assert TIMESTAMP.fullmatch(checks["database"]["since"])
        assert 0 <= checks["database"]["age_seconds"] < 5
        assert checks["mail"]["critical"] is False
        assert checks["mail"]["consecutive_failures"] == 0
        assert TIMESTAMP.fullmatch(checks["mail"]["last_success"])

    def test_before_the_first_run(self, client: FlaskClient, registry: HealthRegistry) -> None:
        hanging = Hanging()
        registry.register("database", hanging, timeout_seconds=60, cancel=hanging.release)

        check = client.get("/health/ready?verbose").get_json()["checks"]["database"]

        assert check["message"] == "Database check pending"
        assert check["since"] is check["last_success"] is check["age_seconds"] is None

    @pytest.mark.parametrize("query", ["verbose", "verbose=", "verbose=true", "verbose=0"])
    def test_any_value_will_do(
        self, client: FlaskClient, registry: HealthRegistry, query: str
    ) -> None:
        """As the Kubernetes API server has it."""
        registry.register("database", Changing(), timeout_seconds=5)

        checks = client.get(f"/health/ready?{query}").get_json()["checks"]

        assert "since" in checks["database"]


class TestExclude:
    def test_repeatable(self, client: FlaskClient, registry: HealthRegistry) -> None:
        for name in ("database", "disk", "mail"):
            registry.register(name, Changing(CheckFailed("gone")), timeout_seconds=5)
        registry.register("cache", Changing(), timeout_seconds=5)

        answer = client.get("/health/ready?exclude=database&exclude=disk&exclude=mail")

        assert answer.status_code == 200
        assert list(answer.get_json()) == ["status", "timestamp", "checks"]
        assert list(answer.get_json()["checks"]) == ["cache"]

    def test_verbose_lists_excluded_and_unknown_names(
        self, client: FlaskClient, registry: HealthRegistry
    ) -> None:
        registry.register("database", Changing(), timeout_seconds=5)
        registry.register("disk", Changing(), timeout_seconds=5)

        body = client.get("/health/ready?verbose&exclude=disk&exclude=dsik").get_json()

        assert body["excluded"] == ["disk"]
        assert body["unknown"] == ["dsik"]


class TestHiddenChecks:
    """A load balancer needs the status only; the checks are for permitted clients."""

    @pytest.fixture(autouse=True)
    def _kept(self, switches: Switches) -> None:
        switches.shows_checks = False

    @pytest.mark.parametrize("path", ["/health/ready", "/health/ready?verbose&exclude=nothing"])
    def test_body(self, client: FlaskClient, registry: HealthRegistry, path: str) -> None:
        register_both(registry)

        assert client.get(path).status_code == 200
        assert body_without_time(client, path) == {"status": "ready"}

    def test_body_of_a_failure(self, client: FlaskClient, registry: HealthRegistry) -> None:
        check = Changing(CheckResult(healthy=False, message="Out of luck"))
        registry.register("luck", check, timeout_seconds=5)

        assert client.get("/health/ready").status_code == 503
        assert body_without_time(client, "/health/ready") == {"status": "not_ready"}

    def test_a_probe_may_still_exclude(self, client: FlaskClient, registry: HealthRegistry) -> None:
        check = Changing(CheckResult(healthy=False, message="Out of luck"))
        registry.register("luck", check, timeout_seconds=5)

        assert client.get("/health/ready?exclude=luck").status_code == 200

    def test_a_drain_is_reported(self, client: FlaskClient, switches: Switches) -> None:
        switches.draining = True

        assert client.get("/health/ready").status_code == 503
        assert body_without_time(client, "/health/ready") == {"status": "draining"}


class TestStartup:
    def test_body(self, client: FlaskClient) -> None:
        answer = client.get("/health/startup")

        assert answer.status_code == 200
        assert list(answer.get_json()) == ["status", "timestamp"]
        assert body_without_time(client, "/health/startup") == {"status": "started"}

    def test_a_worker_that_is_loading_has_not_started(
        self, client: FlaskClient, switches: Switches
    ) -> None:
        switches.loaded = False

        answer = client.get("/health/startup")

        assert answer.status_code == 503
        assert body_without_time(client, "/health/startup") == {
            "status": "starting",
            "message": "Worker is loading",
        }

    def test_waits_for_the_schema(self, client: FlaskClient, registry: HealthRegistry) -> None:
        startup_check = Changing(CheckResult(healthy=False, message="Database schema waits"))
        registry.register_startup_check("schema", startup_check, timeout_seconds=5)
        assert client.get("/health/startup").status_code == 503
        wait_until(
            lambda: (
                body_without_time(client, "/health/startup")["message"] == "Database schema waits"
            )
        )

        startup_check.recover()

        wait_until(lambda: client.get("/health/startup").status_code == 200)

    def test_once_started_always_started(
        self, client: FlaskClient, registry: HealthRegistry
    ) -> None:
        check = Changing()
        registry.register("database", check, timeout_seconds=5)
        registry.register_startup_check("schema", Changing(), timeout_seconds=5, after="database")
        wait_until(lambda: client.get("/health/startup").status_code == 200)

        check.fail()
        wait_until(lambda: client.get("/health/ready").status_code == 503)

        assert client.get("/health/startup").status_code == 200


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/health/startup"])
class TestEveryProbe:
    def test_headers(self, client: FlaskClient, path: str) -> None:
        answer = client.get(path)

        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Cache-Control"] == "no-store"

    def test_head_is_get_without_the_body(self, client: FlaskClient, path: str) -> None:
        head, got = client.head(path), client.get(path)

        assert head.status_code == 200
        assert head.data == b""
        assert dict(head.headers) == dict(got.headers)

    @pytest.mark.parametrize("slash", ["/", "/?verbose", "?x=%ff"])
    def test_a_trailing_slash_is_served_too(
        self, client: FlaskClient, path: str, slash: str
    ) -> None:
        assert client.get(path + slash).status_code == 200

    @pytest.mark.parametrize(
        "method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"]
    )
    def test_refuses_other_methods(self, client: FlaskClient, path: str, method: str) -> None:
        answer = client.open(path, method=method)

        assert answer.status_code == 405
        assert set(re.split(r",\s*", answer.headers["Allow"])) == {"GET", "HEAD"}
        assert answer.headers["Cache-Control"] == "no-store"

    def test_is_never_a_redirect(self, client: FlaskClient, path: str) -> None:
        for odd in (path.replace("/health", "//health"), path.replace("/health/", "/health//")):
            assert client.get(odd).status_code in (200, 404)


def test_refusals_of_other_routes_are_left_alone(client: FlaskClient) -> None:
    client.application.add_url_rule("/work", view_func=lambda: "done")

    answer = client.post("/work")

    assert answer.status_code == 405
    assert "Cache-Control" not in answer.headers
