"""A service that the tests of a module share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.service import Service, running_service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Return a running service; no test of the module changes it for the others."""
    with running_service(tmp_path_factory.mktemp("service")) as running:
        yield running
