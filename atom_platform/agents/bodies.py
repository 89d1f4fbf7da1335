"""From the bytes of a request to a checked wish, or to the place where they go wrong."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from atom_platform.agents.model import Fault
from atom_platform.agents.problems import BadBody

__all__ = ["MAX_BODY_BYTES", "checked_body", "is_json"]

MAX_BODY_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 32

_JSON_TYPE: Final = re.compile(r"application/([\w.+-]+\+)?json")
#: PostgreSQL keeps no NUL, and no encoding has a lone surrogate.
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")

Wish = TypeVar("Wish", bound=BaseModel)


def is_json(content_type: str) -> bool:
    """Tell whether a media type, without parameters and in lower case, is JSON."""
    return _JSON_TYPE.fullmatch(content_type) is not None


def checked_body(content: bytes, model: type[Wish]) -> Wish:
    """
    Return the JSON in *content* as *model*.

    Raises:
        BadBody: It is not JSON, or not such JSON; the faults say where.
    """
    value = _parsed(content)
    faults = _faults_in_values(value)
    if faults:
        raise BadBody(422, "The body cannot be taken", faults)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise BadBody(
            422, "The body is not what is expected", [Fault(e["loc"], _sentence(e)) for e in found]
        ) from None


def _sentence(error: ErrorDetails) -> str:
    """Return what is wrong, without the name of a class of ours."""
    if error["type"] in ("dataclass_type", "model_type"):
        return "Input should be an object"
    return error["msg"]


def _parsed(content: bytes) -> Any:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadBody(400, f"The body is not UTF-8: byte {error.start}.") from None
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise BadBody(400, f"The body is not JSON: {error.msg} at {where}.") from None
    except RecursionError:
        raise BadBody(400, "The body is nested too deeply.") from None
    except ValueError:
        raise BadBody(400, "The body is not JSON: it holds a number that is too long.") from None


def _refuse_constant(name: str) -> NoReturn:
    raise BadBody(400, f"The body is not JSON: {name} is not a JSON number.")


def _faults_in_values(value: Any) -> list[Fault]:
    """Find what JSON can say and the database, or JSON itself, cannot say again."""
    faults: list[Fault] = []
    waiting: list[tuple[tuple[str | int, ...], Any]] = [((), value)]
    while waiting:
        path, each = waiting.pop()
        if len(path) > MAX_DEPTH:
            raise BadBody(400, f"The body is nested more than {MAX_DEPTH} levels deep.")
        if isinstance(each, str):
            if _UNSTORABLE.search(each):
                faults.append(Fault(path, "A text must not hold NUL or half a surrogate pair"))
        elif isinstance(each, float) and not math.isfinite(each):
            faults.append(Fault(path, "A number must not be that large"))
        elif isinstance(each, dict):
            if any(_UNSTORABLE.search(key) for key in each):
                faults.append(Fault(path, "A key must not hold NUL or half a surrogate pair"))
            else:
                waiting.extend(((*path, key), inner) for key, inner in each.items())
        elif isinstance(each, list):
            waiting.extend(((*path, index), inner) for index, inner in enumerate(each))
    return faults
