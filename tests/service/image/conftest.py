"""The image that `make image-test` has built, and what its containers need."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.image.podman import Container, container, run_once
from tests.support.postgres import PostgreSQL
from tests.support.stalls import scaled


@pytest.fixture(scope="session", name="image")
def _image() -> str:
    """Return its name; without one these tests are not asked for."""
    image = os.environ.get("ATOM_IMAGE")
    if not image:
        pytest.skip("`make image-test` builds the image and runs this")
    return image


@pytest.fixture(scope="session", name="rootfs")
def _rootfs(image: str) -> Iterator[Path]:
    """Return the image's files, mounted, as nobody's process has touched them."""
    with working_container(image) as made:
        yield Path(buildah("mount", made))


@contextlib.contextmanager
def working_container(image: str) -> Iterator[str]:
    made = buildah("from", "--pull-never", image)
    try:
        yield made
    finally:
        buildah("rm", made)


def buildah(*arguments: str) -> str:
    return subprocess.run(
        ["buildah", *arguments], check=True, capture_output=True, text=True, timeout=scaled(100)
    ).stdout.strip()


@pytest.fixture(scope="session", name="database_url")
def _database_url(image: str, postgresql: PostgreSQL) -> str:
    """Return the URL of a database that a container of the image has migrated."""
    url = postgresql.create_database("image")
    status, output = run_once(
        image, "python", "-m", "atom_platform", "migrate", env={"DATABASE_URL": url}
    )
    assert status == 0, output
    return url


@pytest.fixture(scope="session", name="service")
def _service(image: str, database_url: str) -> Iterator[Container]:
    """Return the running service, for tests that leave it as they found it."""
    with container(image, env={"DATABASE_URL": database_url}) as made:
        made.wait_for("/health/startup", 200)
        yield made
