"""The private name of gunicorn that its logger class needs; read on gunicorn 23 to 27.0."""

from __future__ import annotations

import logging

__all__ = ["is_own_handler"]


def is_own_handler(handler: logging.Handler) -> bool:
    """
    Return whether gunicorn itself made *handler*, which it marks with `_gunicorn`.

    Without the mark a handler is taken for the operator's and stays.
    """
    return bool(getattr(handler, "_gunicorn", False))
