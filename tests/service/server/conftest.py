"""Services that run the small application, and clients that speak HTTP byte by byte."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.client import Client
from tests.support.service import Service, running_service
from tests.support.stalls import scaled

APPLICATION = "tests.support.application:app"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One for the tests of a module that leave it as they found it."""
    directory = tmp_path_factory.mktemp("service")
    with running_service(directory, app=APPLICATION) as running:
        yield running


@pytest.fixture
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Service]]:
    """Return a function that starts a service of the test's own."""
    with ExitStack() as stack:

        def start(**kwargs: Any) -> Service:
            directory = tmp_path_factory.mktemp("service")
            started = running_service(directory, **{"app": APPLICATION, **kwargs})
            return stack.enter_context(started)

        yield start


@pytest.fixture
def connect() -> Iterator[Callable[[Service], Client]]:
    """Return a function that connects to a service; all connections end with the test."""
    with ExitStack() as stack:

        def connect(service: Service) -> Client:
            sock = socket.create_connection(("127.0.0.1", service.port), timeout=scaled(20))
            return Client(stack.enter_context(sock))

        yield connect
