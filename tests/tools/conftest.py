"""A service that the tests of a module share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.service import Service, running_service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Return a running service; the tests of the module leave it as they found it."""
    with running_service(tmp_path_factory.mktemp("service")) as running:
        yield running
