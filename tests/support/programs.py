"""Programs from the system that some tests need: missing is a skip on a laptop, a failure in CI."""

from __future__ import annotations

import os
import shutil

import pytest

__all__ = ["needs"]


def needs(program: str, *, package: str) -> str:
    """
    Return the path of *program*.

    Raises:
        pytest.skip.Exception: It is not installed, and this is not CI.
        pytest.fail.Exception: It is not installed, and this is CI.
    """
    path = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if path is None:
        reason = f"{program} is missing: install the system package {package}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path
