"""The defaults of gunicorn's settings, and what is checked before it starts."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from gunicorn import config
from gunicorn.config import Config

from atom_platform.cli import main
from atom_platform.server.config import (
    add_management_port,
    default_workers,
    is_only_port,
    with_port,
)


def test_what_is_printed_names_each_setting_with_its_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ATOM_THREADS", "7")
    metrics = tmp_path / "metrics"
    metrics.mkdir()
    (metrics / "counter_slot0.db").touch()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(metrics))

    assert main(["gunicorn-config"]) == 0

    text = capsys.readouterr().out
    listed = [line[2:] for line in text.splitlines() if line.startswith("# ") and " = " in line]
    (tmp_path / "listed.py").write_text("\n".join(line for line in listed if line[0] != " "))
    values = runpy.run_path(str(tmp_path / "listed.py"))
    assert values["threads"] == 7
    assert len(values.keys() & Config().settings.keys()) > 10
    compile(text, "gunicorn.conf.py", "exec")
    assert (metrics / "counter_slot0.db").exists()  # printing takes nothing, and empties nothing


def test_a_wrong_setting_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ATOM_THREADS", "many")

    assert main(["gunicorn-config"]) == 2

    assert capsys.readouterr().err.startswith("atom-platform: ATOM_THREADS must be a whole number")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["0.0.0.0:8000"], ["0.0.0.0:8000", "0.0.0.0:9100"]),
        (["127.0.0.1"], ["127.0.0.1", "127.0.0.1:9100"]),
        ([":8000"], [":8000", ":9100"]),
        (["[::]:8000"], ["[::]:8000", "[::]:9100"]),
        (
            ["10.0.0.1:80", "10.0.0.1:8000", "[::1]:80"],
            ["10.0.0.1:80", "10.0.0.1:8000", "[::1]:80", "10.0.0.1:9100", "[::1]:9100"],
        ),
        (["unix:/run/atom.sock"], ["unix:/run/atom.sock", "0.0.0.0:9100"]),
        # Whoever names the address himself decides it.
        (["0.0.0.0:8000", "127.0.0.1:9100"], ["0.0.0.0:8000", "127.0.0.1:9100"]),
    ],
)
def test_the_port_is_opened_on_the_same_hosts(given: list[str], expected: list[str]) -> None:
    assert with_port(given, 9100) == expected
    assert with_port(expected, 9100) == expected


def test_every_source_of_bind_gets_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """gunicorn takes `bind` from its default, our file, the environment and the command line."""
    kept = staticmethod(config.Bind.validator)
    monkeypatch.setattr(config.Bind, "validator", kept)  # put back after the test
    known = Config()
    add_management_port(9100)

    for each in (known, Config()):
        each.set("bind", ["127.0.0.1:8000"])
        each.set("bind", "127.0.0.1:8001")

        assert each.address == [("127.0.0.1", 8001), ("127.0.0.1", 9100)]


@pytest.mark.parametrize(
    ("addresses", "only"),
    [
        ([("0.0.0.0", 9100)], True),
        ([("0.0.0.0", 9100), ("::", 9100)], True),
        ([("0.0.0.0", 8000), ("0.0.0.0", 9100)], False),
        (["/run/atom.sock", ("0.0.0.0", 9100)], False),
        ([3, ("0.0.0.0", 9100)], False),  # a descriptor that somebody hands over
    ],
)
def test_addresses_without_a_port_for_the_api_are_found(
    addresses: list[object], only: bool
) -> None:
    assert is_only_port(9100, addresses) is only


@pytest.mark.parametrize(
    ("limit", "workers"), [(None, 2), (0.1, 1), (0.99, 1), (1.0, 2), (2.0, 2), (64.0, 2)]
)
def test_less_than_a_cpu_gets_one_worker(limit: float | None, workers: int) -> None:
    assert default_workers(limit) == workers
