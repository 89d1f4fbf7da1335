"""Pages of a list: how many, and from where."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from atom_platform.agents.problems import BadParameter

__all__ = ["Page", "page_of", "wanted_page"]

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 100

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page:
    """The part of a list that is wanted: up to *limit* items, beyond the id *beyond*."""

    limit: int
    beyond: str | None


def wanted_page(query: Mapping[str, str], *, id_pattern: re.Pattern[str]) -> Page:
    """
    Read `limit` and `cursor` from the query of a request.

    Raises:
        BadParameter: One of them is not what it may be.
    """
    limit = query.get("limit", str(DEFAULT_LIMIT))
    if not re.fullmatch("[0-9]{1,3}", limit) or not 1 <= int(limit) <= MAX_LIMIT:
        raise BadParameter("limit", f"must be a whole number from 1 to {MAX_LIMIT}")
    cursor = query.get("cursor")  # empty is what a form sends that was not filled in
    return Page(int(limit), _id_in(cursor, id_pattern) if cursor else None)


def page_of(
    page: Page, fetch: Callable[[int], Sequence[Item]], id_of: Callable[[Item], str]
) -> tuple[Sequence[Item], str | None]:
    """Return the items of *page* and the cursor of the next one, which is None on the last page."""
    items = fetch(page.limit + 1)
    if len(items) <= page.limit:
        return items, None
    return items[: page.limit], _cursor_at(id_of(items[page.limit - 1]))


def _cursor_at(last_id: str) -> str:
    return base64.urlsafe_b64encode(last_id.encode()).decode().rstrip("=")


def _id_in(cursor: str, id_pattern: re.Pattern[str]) -> str:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        text = base64.urlsafe_b64decode(padded).decode("ascii")
    except (UnicodeError, binascii.Error):
        text = ""
    if not id_pattern.fullmatch(text):
        raise BadParameter("cursor", "must be the next_cursor of another page of this list")
    return text
