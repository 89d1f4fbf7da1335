"""`Monitoring` gives any application what the platform's own has, and takes nothing of its own."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, abort, redirect
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import create_engine, text
from werkzeug.test import TestResponse

from atom_platform.health.check import CheckResult
from atom_platform.logs.config import reset_logging
from atom_platform.logs.records import LOG_OUTPUT
from atom_platform.metrics.scrape.series_table import SeriesTable
from atom_platform.metrics.storage.storage import STORAGE
from atom_platform.monitoring import Monitoring, label_request
from tests.support.polling import wait_until


@pytest.fixture(autouse=True)
def _fresh_storage() -> Iterator[None]:
    STORAGE.switch_to(None)
    yield
    STORAGE.switch_to(None)


def shop() -> Flask:
    """An application as owners write them: hooks, an error handler, routes."""
    app = Flask("shop")

    @app.get("/orders/<kind>")
    def order(kind: str) -> str:
        label_request(tenant=kind)
        return kind

    @app.get("/broken")
    def broken() -> str:
        raise KeyError

    app.get("/quiet/ping", endpoint="ping")(lambda: "pong")
    return app


def samples(app: Flask) -> dict[tuple[str, ...], float]:
    """Scrape *app*, and return its samples by name and label values, sorted."""
    answer = app.test_client().get("/health/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def ready(app: Flask) -> dict[str, Any]:
    """Return what *app* says of its readiness, once every check has been run."""

    def answer() -> dict[str, Any] | None:
        body: dict[str, Any] = app.test_client().get("/health/ready").get_json()
        pending = any("pending" in check["message"] for check in body["checks"].values())
        return None if pending else body

    return wait_until(answer, seconds=60) or {}


def test_one_line_is_enough() -> None:
    app = shop()
    with Monitoring(app):
        answer = app.test_client().get("/orders/retail")
        body, found = ready(app), samples(app)

    assert (answer.text, len(answer.headers["X-Request-ID"])) == ("retail", 32)
    assert (body["status"], set(body["checks"])) == ("ready", {"disk"})
    assert found["http_requests_total", "/orders/<kind>", "200", "GET"] == 1


def test_an_application_can_come_later() -> None:
    app = shop()
    with Monitoring(disk=False) as monitoring:
        monitoring.init_app(app)

        assert ready(app)["checks"] == {}


class TestProbesOfAnApplicationWithHooks:
    """A login of the application must not stop the probes of the orchestrator."""

    @pytest.fixture(name="app")
    def _app(self) -> Iterator[Flask]:
        app = shop()

        @app.before_request
        def log_in() -> Any:
            return redirect("https://login.example.com/")

        @app.after_request
        def spoil(response: Any) -> Any:
            response.headers["Cache-Control"] = "public"
            return response

        @app.errorhandler(405)
        def wrong(_: object) -> Any:
            abort(500)

        with Monitoring(app):
            yield app

    @pytest.mark.parametrize("path", ["live", "ready", "startup", "metrics"])
    @pytest.mark.parametrize("slash", ["", "/"])
    def test_they_are_not_seen_by_hooks(self, app: Flask, path: str, slash: str) -> None:
        answer = app.test_client().get(f"/health/{path}{slash}")

        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"

    def test_all_else_is(self, app: Flask) -> None:
        answers = [
            app.test_client().get(path) for path in ("/orders/a", "/health/other", "/health")
        ]

        assert [answer.status_code for answer in answers] == [302, 302, 302]

    def test_they_are_counted_all_the_same(self, app: Flask) -> None:
        app.test_client().post("/health/live")

        assert samples(app)["http_requests_total", "/health/live", "405", "POST"] == 1


def test_a_route_of_the_application_is_not_taken_over() -> None:
    app = shop()
    app.get("/health/live", endpoint="mine")(lambda: "mine")

    with Monitoring() as monitoring, pytest.raises(RuntimeError, match=r"its own /health/live$"):
        monitoring.init_app(app)
    assert app.test_client().get("/health/live").text == "mine"


def test_names_of_the_applications_blueprints_are_its_own() -> None:
    from flask import Blueprint

    app = shop()
    with Monitoring(app):
        app.register_blueprint(Blueprint("health", __name__))
        app.register_blueprint(Blueprint("metrics", __name__))

        assert ready(app)["status"] == "ready"


def test_once_is_enough() -> None:
    app = shop()
    with Monitoring(app) as monitoring, pytest.raises(RuntimeError, match="monitored already"):
        monitoring.init_app(app)


class TestChecks:
    def test_a_function_is_one(self) -> None:
        app = shop()
        well = True
        with Monitoring(app, disk=False) as monitoring:

            @monitoring.check("redis", timeout_seconds=30)
            def redis() -> bool:
                return well

            first = ready(app)
            well = False
            wait_until(lambda: ready(app)["status"] == "not_ready", seconds=60)

            assert first["checks"] == {"redis": {"healthy": True, "message": "Redis healthy"}}
            assert redis() is False  # the function itself, as it was
            assert ready(app)["checks"]["redis"]["message"] == "Redis not healthy"

    def test_one_that_is_not_critical_is_only_shown(self) -> None:
        app = shop()
        with Monitoring(app, disk=False) as monitoring:
            monitoring.check("cache", lambda: False, critical=False)
            body = ready(app)

        assert (body["status"], body["checks"]["cache"]["healthy"]) == ("ready", False)

    def test_one_that_hangs_is_late_and_cancelled(self) -> None:
        class Silent:
            """Hangs until it is cancelled."""

            def __init__(self) -> None:
                self.over = threading.Event()

            def __call__(self) -> None:
                self.over.wait()

            def cancel(self) -> None:
                self.over.set()

        app, silent = shop(), Silent()
        with Monitoring(app, disk=False) as monitoring:
            monitoring.check("queue", silent, timeout_seconds=0.1)
            body = wait_until(
                lambda: (
                    (found := ready(app))["checks"]["queue"]["message"].endswith("0.1s") and found
                ),
                seconds=60,
            )
            wait_until(silent.over.is_set, seconds=60)

        assert body["checks"]["queue"]["message"] == "Queue timeout after 0.1s"

    def test_what_it_raises_is_not_shown(self) -> None:
        def broken() -> None:
            raise ValueError("password=hunter2")

        app = shop()
        with Monitoring(app, checks={"queue": broken}, disk=False):
            body = ready(app)

        assert body["checks"]["queue"] == {"healthy": False, "message": "Queue check failed"}

    def test_a_name_is_taken_once(self) -> None:
        with (
            Monitoring(checks={"a": lambda: CheckResult(True, "")}) as monitoring,
            pytest.raises(ValueError, match="registered already"),
        ):
            monitoring.check("a", lambda: True)


def test_engines_are_timed_counted_and_checked(tmp_path: Path) -> None:
    engines = [create_engine(f"sqlite:///{tmp_path}/{name}.db") for name in "ab"]
    app = shop()
    with Monitoring(app, engines=engines), engines[0].connect() as connection:
        connection.execute(text("SELECT 1"))
        body, found = ready(app), samples(app)

    assert list(body["checks"]) == ["database", "database_2", "disk"]
    assert set(body["checks"]["database"]) == {"healthy", "message", "latency_ms"}
    assert found["db_query_duration_seconds_count", "select"] == 1
    assert found["db_connections_active",] >= 1
    for engine in engines:
        engine.dispose()


def test_excluded_paths_are_answered_and_nothing_else() -> None:
    app = shop()
    with Monitoring(app, excluded_paths=["/quiet/", "/orders/a"]):
        client = app.test_client()
        texts = [client.get(path).text for path in ("/quiet/ping", "/orders/a", "/orders/ab")]
        found = samples(app)

    assert texts == ["pong", "a", "ab"]
    assert found["http_requests_total", "/orders/<kind>", "200", "GET"] == 1
    assert not [key for key in found if "/quiet/ping" in key]


def test_extra_labels_count_beside_and_are_bounded() -> None:
    app = shop()
    with Monitoring(app, extra_labels={"tenant": ["acme", "globex"]}):
        for path in ("/orders/acme", "/orders/acme", "/orders/unknown", "/missing"):
            app.test_client().get(path)
        found = samples(app)

    by_tenant = {key[1:]: each for key, each in found.items() if "by_tenant_total" in key[0]}
    assert by_tenant == {
        ("/orders/<kind>", "200", "acme"): 2,
        ("/orders/<kind>", "200", "other"): 1,
        ("404", "other", "unmatched"): 1,
    }
    assert found["http_requests_total", "/orders/<kind>", "200", "GET"] == 3


def test_a_database_url_of_others_is_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql+pymysql://shop:secret@db/shop")

    with Monitoring(shop()):
        pass


class TestTwoApplications:
    def test_each_has_its_own_checks(self) -> None:
        one, two = shop(), shop()
        with (
            Monitoring(one, checks={"a": lambda: True}, disk=False),
            Monitoring(two, checks={"b": lambda: False}, disk=False),
        ):
            statuses = [(ready(app)["status"], list(ready(app)["checks"])) for app in (one, two)]

        assert statuses == [("ready", ["a"]), ("not_ready", ["b"])]

    def test_both_are_counted_in_their_process(self) -> None:
        one, two = shop(), shop()
        with Monitoring(one), Monitoring(two):
            answers: list[TestResponse] = [app.test_client().get("/orders/a") for app in (one, two)]
            found = samples(one)

        assert [answer.text for answer in answers] == ["a", "a"]
        assert found["http_requests_total", "/orders/<kind>", "200", "GET"] == 2

    def test_an_exception_is_counted_once(self) -> None:
        one, two = shop(), shop()
        with Monitoring(one), Monitoring(two):
            one.test_client().get("/broken")
            found = samples(two)

        assert found["http_exceptions_total", "/broken", "KeyError"] == 1


class TestClosing:
    def test_leaves_nothing_behind(self) -> None:
        reset_logging()  # another test's application may not have been closed
        threads = set(threading.enumerate())
        root = logging.getLogger()
        handlers, level = list(root.handlers), root.level

        one, two = shop(), shop()
        first, second = Monitoring(one), Monitoring(two)
        ready(one)
        ready(two)
        first.close()
        between = LOG_OUTPUT.writer
        second.close()
        second.close()

        assert between is not None
        assert LOG_OUTPUT.writer is None
        assert (list(root.handlers), root.level) == (handlers, level)
        wait_until(lambda: not set(threading.enumerate()) - threads, seconds=60)

    def test_lets_go_of_what_was_collected(self) -> None:
        """A suite makes a hundred applications, and each scrape of one fills a table."""

        def tables() -> int:
            gc.collect()
            return sum(type(each) is SeriesTable for each in gc.get_objects())

        app = shop()
        before = tables()
        with Monitoring(app):
            samples(app)
            during = tables()
        del app

        assert during == before + 1
        assert tables() == before

    def test_an_application_still_answers(self) -> None:
        app = shop()
        Monitoring(app).close()

        assert app.test_client().get("/orders/a").text == "a"
        assert app.test_client().get("/health/live").status_code == 200
