"""The management port beside whatever gunicorn is told to bind."""

from __future__ import annotations

import pytest
from gunicorn import config
from gunicorn.config import Config

from atom_platform.server.management import is_the_only_port, open_beside, with_port


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


def test_whoever_binds_the_port_comes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """gunicorn takes `bind` from its default, our file, the environment and the command line."""
    kept = staticmethod(config.Bind.validator)
    monkeypatch.setattr(config.Bind, "validator", kept)  # put back after the test
    known = Config()
    open_beside(9100)

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
def test_an_api_without_a_port_is_noticed(addresses: list[object], only: bool) -> None:
    assert is_the_only_port(9100, addresses) is only
