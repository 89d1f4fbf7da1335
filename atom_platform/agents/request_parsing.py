"""Parses request bodies and page parameters, and reports where they are invalid."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from atom_platform.agents.model import FieldError
from atom_platform.agents.problems import InvalidBody, InvalidParameter

__all__ = ["MAX_BODY_BYTES", "Page", "fetch_page", "is_json", "parse_body", "parse_page_query"]

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 100
MAX_BODY_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 32

_JSON_TYPE: Final = re.compile(r"application/([\w.+-]+\+)?json")
#: PostgreSQL keeps no NUL, and no encoding has a lone surrogate.
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")

Model = TypeVar("Model", bound=BaseModel)
Item = TypeVar("Item")


def is_json(content_type: str) -> bool:
    """Tell whether a media type, without parameters and in lower case, is JSON."""
    return _JSON_TYPE.fullmatch(content_type) is not None


def parse_body(content: bytes, model: type[Model]) -> Model:
    """
    Return the JSON in *content* as *model*.

    Raises:
        InvalidBody: It is not JSON, or does not fit the model; its errors say where.
    """
    value = _parsed(content)
    errors = _find_unstorable(value)
    if errors:
        raise InvalidBody(422, "The body cannot be stored", errors)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise InvalidBody(
            422,
            "The body is not valid",
            [FieldError(e["loc"], _message(e)) for e in found],
        ) from None


def _message(error: ErrorDetails) -> str:
    """Return pydantic's message without the name of an internal class."""
    if error["type"] in ("dataclass_type", "model_type"):
        return "Input should be an object"
    return error["msg"]


def _parsed(content: bytes) -> Any:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidBody(400, f"The body is not UTF-8: byte {error.start}.") from None
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InvalidBody(400, f"The body is not JSON: {error.msg} at {where}.") from None
    except RecursionError:
        raise InvalidBody(400, "The body is nested too deeply.") from None
    except ValueError:
        raise InvalidBody(
            400, "The body is not JSON: it holds a number that is too long."
        ) from None


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidBody(400, f"The body is not JSON: {name} is not a JSON number.")


def _find_unstorable(value: Any) -> list[FieldError]:
    """Find values that parse as JSON, but that the database or JSON itself cannot represent."""
    errors: list[FieldError] = []
    waiting: list[tuple[tuple[str | int, ...], Any]] = [((), value)]
    while waiting:
        path, each = waiting.pop()
        if len(path) > MAX_DEPTH:
            raise InvalidBody(400, f"The body is nested more than {MAX_DEPTH} levels deep.")
        if isinstance(each, str):
            if _UNSTORABLE.search(each):
                errors.append(FieldError(path, "A text must not hold NUL or half a surrogate pair"))
        elif isinstance(each, float) and not math.isfinite(each):
            errors.append(FieldError(path, "A number must not be that large"))
        elif isinstance(each, dict):
            if any(_UNSTORABLE.search(key) for key in each):
                errors.append(FieldError(path, "A key must not hold NUL or half a surrogate pair"))
            else:
                waiting.extend(((*path, key), inner) for key, inner in each.items())
        elif isinstance(each, list):
            waiting.extend(((*path, index), inner) for index, inner in enumerate(each))
    return errors


@dataclass(frozen=True, slots=True)
class Page:
    """The requested part of a list: up to *limit* items behind the id *after_id*."""

    limit: int
    after_id: str | None


def parse_page_query(query: Mapping[str, str], *, id_pattern: re.Pattern[str]) -> Page:
    """
    Read `limit` and `cursor` from the query of a request.

    Raises:
        InvalidParameter: One of them is not valid.
    """
    limit = query.get("limit", str(DEFAULT_LIMIT))
    if not re.fullmatch("[0-9]{1,3}", limit) or not 1 <= int(limit) <= MAX_LIMIT:
        raise InvalidParameter("limit", f"must be a whole number from 1 to {MAX_LIMIT}")
    cursor = query.get("cursor")  # an empty form field sends an empty cursor
    return Page(int(limit), _id_in(cursor, id_pattern) if cursor else None)


def fetch_page(
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
        raise InvalidParameter("cursor", "must be the next_cursor of another page of this list")
    return text
