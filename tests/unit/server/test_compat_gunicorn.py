"""What is proven about the installed gunicorn, and what goes without proof."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import pytest

from atom_platform.server import _compat_gunicorn as compat
from atom_platform.server.worker import ProbeThreadWorker
from tests.support.gunicorns import installed
from tests.support.service import ROOT
from tests.support.stalls import scaled

BASE = compat._find("gunicorn.workers.base", "Worker", None)
ARBITER = compat._find("gunicorn.arbiter", "Arbiter", None)


def test_everything_is_proven_on_the_installed_version() -> None:
    proof = compat.proof()

    assert (proof.read, proof.missing) == (True, {})


@pytest.mark.parametrize("version", [(26, 1, 0), (27, 1, 0), (28, 0, 0), ()])
def test_nothing_but_the_logger_is_used_of_a_version_that_was_not_read(
    version: tuple[int, ...],
) -> None:
    proof = compat.prove(version)

    assert not proof.read
    assert [feature for feature in compat.Feature if proof.holds(feature)] == [
        compat.Feature.LOGGER
    ]


def test_a_patch_release_of_a_version_that_was_read_is_proven_anew() -> None:
    assert compat.prove((27, 0, 99)).missing == {}


def differently(*_: Any) -> None:
    """Stand in for a method that does something else in a later release."""


@pytest.mark.parametrize(
    ("owner", "name", "feature"),
    [
        (compat.ThreadWorker, "handle_request", compat.Feature.WORKER),
        (compat.ThreadWorker, "wait_for_and_dispatch_events", compat.Feature.WORKER),
        (compat.ThreadWorker, "set_accept_enabled", compat.Feature.WORKER),
        (compat.TConn, "init", compat.Feature.WORKER),
        (BASE, "handle_error", compat.Feature.WORKER),
        (ARBITER, "signal", compat.Feature.DRAIN),
        (ARBITER, "handle_term", compat.Feature.DRAIN),
        (ARBITER, "manage_workers", compat.Feature.RELOAD),
        (ARBITER, "reexec", compat.Feature.REEXEC),
        (ARBITER, "spawn_worker", compat.Feature.BOOT_SIGNALS),
        (ARBITER, "reap_workers", compat.Feature.EXITS),
        (ARBITER, "murder_workers", compat.Feature.ARBITER_METRICS),
        (compat.bind_setting, "validator", compat.Feature.MANAGEMENT_PORT),
        (compat._find("gunicorn.glogging", "Logger", None), "_set_handler", compat.Feature.LOGGER),
    ],
)
def test_a_method_that_changed_turns_its_feature_off(
    owner: Any, name: str, feature: compat.Feature, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, differently)

    assert feature in compat.prove((27, 0, 1)).missing


@pytest.mark.parametrize(
    ("owner", "name", "feature"),
    [
        (compat.ThreadWorker, "accept", compat.Feature.WORKER),
        (compat.ThreadWorker, "get_thread_pool", compat.Feature.WORKER),
        (ARBITER, "murder_workers", compat.Feature.ARBITER_METRICS),
        (ARBITER, "reap_workers", compat.Feature.EXITS),
    ],
)
def test_a_method_that_is_gone_turns_its_feature_off(
    owner: Any, name: str, feature: compat.Feature, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(owner, name)

    assert feature in compat.prove((27, 0, 1)).missing


def test_the_warning_names_the_version_and_what_is_off(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(compat, "proof", lambda: compat.prove((28, 1, 0)))

    compat.report_features(None)

    (record,) = caplog.records
    fields = vars(record)
    assert (record.levelname, record.message) == ("WARNING", "gunicorn_features_disabled")
    assert fields["gunicorn"] == "28.1.0"
    assert fields["versions_read"] == ["26.2", "27.0"]
    assert fields["disabled"] == [each.value for each in compat.Feature][1:]


def test_without_our_logger_the_warning_goes_to_gunicorns_own(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    without = compat.Proof("28.1.0", False, {compat.Feature.LOGGER: "changed"})
    monkeypatch.setattr(compat, "proof", lambda: without)

    compat.report_features(logging.getLogger("gunicorn.error"))

    (record,) = caplog.records
    assert record.name == "gunicorn.error"
    assert "28.1.0" in record.getMessage()


def test_all_is_silent_when_all_is_proven(caplog: pytest.LogCaptureFixture) -> None:
    compat.report_features(None)

    assert not caplog.records


def test_a_worker_that_is_not_proven_is_gunicorns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for `-k` that names ours."""
    made: list[tuple[Any, ...]] = []
    without = compat.Proof("28.1.0", False, {compat.Feature.WORKER: "changed"})
    monkeypatch.setattr("atom_platform.server.worker.proof", lambda: without)
    monkeypatch.setattr(compat.ThreadWorker, "__init__", lambda self, *args: made.append(args))

    worker = ProbeThreadWorker(1, 2, [])

    assert type(worker) is compat.ThreadWorker
    assert made == [(1, 2, [])]


def test_nothing_else_of_the_threaded_worker_is_overridden() -> None:
    """What is added must not meet a name that gunicorn uses for something of its own."""
    ours = {name for name in vars(ProbeThreadWorker) if not name.startswith("__")}
    theirs = {name for each in (compat.ThreadWorker, BASE) for name in vars(each)}
    attributes = {
        *compat.ThreadWorker.__init__.__code__.co_names,
        *BASE.__init__.__code__.co_names,
    }

    assert ours & theirs == {"init_process", "get_thread_pool", "run", "accept", "handle_error"}
    assert not (ours & attributes)


@pytest.mark.parametrize("version", ["23.0.0", "25.3.0", "26.1.0"])
def test_versions_that_differ_are_caught_by_the_proof_alone(version: str) -> None:
    """As if somebody had written their numbers down as read."""
    code = (
        "from atom_platform.server import _compat_gunicorn as compat\n"
        "print(compat.Feature.WORKER in compat.prove((27, 0)).missing)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PYTHONPATH": f"{installed(version)}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=scaled(60),
        check=True,
    )

    assert done.stdout == "True\n"
