"""
The data of one step: the checked input of its skill, and the bounded JSON of its output.

An output is stored, shown by the API and read by later steps, so that it must be JSON, small, and
free of characters that a database or UTF-8 cannot hold.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from atom_platform.skills.registry import Skill, SkillInput
from atom_platform.skills.templates import Templates, ValuePath, is_template

__all__ = [
    "MAX_OUTPUT_BYTES",
    "InvalidInput",
    "bounded_output",
    "clean_text",
    "find_input_errors",
    "validate_input",
]

MAX_OUTPUT_BYTES: Final = 65_536
#: Limits in bytes for each text of an output, tried in this order until the output fits.
_TEXT_LIMITS: Final = (MAX_OUTPUT_BYTES, 49_152, 8_192, 1_024)

#: JSON can escape these; a database's text column or UTF-8 cannot hold them.
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


class InvalidInput(Exception):
    """The rendered values of a step do not fit its skill's input model; the message says where."""


def find_input_errors(
    skill: Skill, values: Mapping[str, Any], templates: Templates
) -> Iterator[tuple[ValuePath, str]]:
    """
    Yield the errors in *values* that are known before rendering, each as a path and a message.

    A value that holds a template is checked at the run, after rendering.
    """
    yield from templates.find_errors(dict(values))
    try:
        skill.input_model.model_validate(values)
    except ValidationError as error:
        for each in error.errors(include_url=False, include_context=False):
            if not _holds_template(_value_at(values, each["loc"])):
                yield each["loc"], _message(each)


def validate_input(skill: Skill, values: Mapping[str, Any]) -> SkillInput:
    """
    Return rendered *values* as the skill's input.

    Raises:
        InvalidInput: They do not fit the skill's input model.
    """
    try:
        return skill.input_model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = "/".join(str(each) for each in first["loc"])
        raise InvalidInput(f"{where}: {_message(first)}") from None


def _message(error: ErrorDetails) -> str:
    # pydantic puts this prefix before the text of a validator's ValueError.
    return error["msg"].removeprefix("Value error, ")


def _value_at(values: object, path: ValuePath) -> object:
    for step in path:
        try:
            values = cast(Any, values)[step]
        except (LookupError, TypeError):
            return None  # a missing field, or a name that pydantic added to the path
    return values


def _holds_template(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(_holds_template(each) for each in value.values())
    if isinstance(value, list):
        return any(_holds_template(each) for each in value)
    return is_template(value)


def clean_text(text: str, *, max_characters: int | None = None) -> str:
    """Return *text* without NUL and lone surrogates, cut with a marker past *max_characters*."""
    cleaned = _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)
    if max_characters is None or len(cleaned) <= max_characters:
        return cleaned
    return f"{cleaned[:max_characters]}… [cut, {len(cleaned)} characters]"


def bounded_output(value: object) -> Any:
    """
    Return *value* as JSON values of at most MAX_OUTPUT_BYTES of UTF-8.

    Tuples become lists, keys become text, NaN and infinity become null, other types become their
    `repr`. If the output is too large, its longest texts are cut; if that is not enough, the whole
    becomes one cut text.
    """
    try:
        for limit in _TEXT_LIMITS:
            plain = _plain(value, limit)
            encoded = json.dumps(plain, ensure_ascii=False).encode()
            if len(encoded) <= MAX_OUTPUT_BYTES:
                return plain
    except (RecursionError, ValueError):  # it contains itself, or an integer with too many digits
        return clean_text(_safe_repr(value), max_characters=_TEXT_LIMITS[-1])
    return clean_text(encoded.decode(), max_characters=_TEXT_LIMITS[2])


def _plain(value: object, limit: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return clean_text(str(value), max_characters=limit)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {
            clean_text(key if isinstance(key, str) else _safe_repr(key)): _plain(each, limit)
            for key, each in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_plain(each, limit) for each in value]
    return clean_text(_safe_repr(value), max_characters=limit)


def _safe_repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # raised by a class of the skill
        return f"<{type(value).__name__}>"
