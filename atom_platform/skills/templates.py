"""Compiles and renders the templates among the values under `with` of a step."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from jinja2 import Template, TemplateSyntaxError

from atom_platform.skills.sandbox import BoundedEnvironment, charge, render_budget

__all__ = ["TemplateFailed", "Templates", "ValuePath", "is_template"]

MAX_TEMPLATE_CHARACTERS: Final = 32_768
MAX_MESSAGE_CHARACTERS: Final = 300

_MARKUP: Final = re.compile(r"\{[{%#]")

#: The location of an element in nested values: keys and indexes, outermost first.
ValuePath = tuple[str | int, ...]


class TemplateFailed(Exception):
    """A template does not compile or render; the message says where and why, and is public."""


def is_template(value: object) -> bool:
    """Tell whether *value* is text with template markup; other values are not rendered."""
    return isinstance(value, str) and _MARKUP.search(value) is not None


class Templates:
    """
    Compiles and renders templates; one object serves all threads.

    A rendered value is always text: `"{{ input.count }}"` becomes `"3"`. The skill's input model
    turns that into a number where the field is a number.

    Args:
        cpu_seconds: CPU time that all templates of one step may take together.
    """

    def __init__(self, *, cpu_seconds: float = 2.0) -> None:
        self._cpu_seconds = cpu_seconds
        self._environment = BoundedEnvironment()
        self._compiled = lru_cache(maxsize=64)(self._compile)

    def find_errors(self, value: object) -> Iterator[tuple[ValuePath, str]]:
        """Yield the path and the error of each template in *value* that does not compile."""
        for path, text in _templates_in(value):
            try:
                self._compiled(text)
            except TemplateFailed as failure:
                yield path, str(failure)

    def render(self, value: Any, variables: Mapping[str, object]) -> Any:
        """
        Return *value* with every template in it rendered over *variables*.

        Raises:
            TemplateFailed: A template does not compile, raises, or exceeds its budget.
        """
        with render_budget(cpu_seconds=self._cpu_seconds):
            return self._render(value, variables, ())

    def _render(self, value: Any, variables: Mapping[str, object], path: ValuePath) -> Any:
        if isinstance(value, dict):
            return {key: self._render(each, variables, (*path, key)) for key, each in value.items()}
        if isinstance(value, list):
            return [self._render(each, variables, (*path, i)) for i, each in enumerate(value)]
        if not is_template(value):
            return value
        try:
            return self._text(self._compiled(value), variables)
        except Exception as error:
            where = "/".join(str(each) for each in path)
            raise TemplateFailed(f"{where}: {_message(error)}") from error

    def _text(self, template: Template, variables: Mapping[str, object]) -> str:
        chunks = []
        for chunk in template.generate(variables):
            charge(len(chunk))
            chunks.append(chunk)
        return "".join(chunks)

    def _compile(self, text: str) -> Template:
        if len(text) > MAX_TEMPLATE_CHARACTERS:
            raise TemplateFailed(f"a template of more than {MAX_TEMPLATE_CHARACTERS:,} characters")
        try:
            return self._environment.from_string(text)
        except Exception as error:  # RecursionError and MemoryError of compile() included
            raise TemplateFailed(_message(error)) from error


def _templates_in(value: object) -> Iterator[tuple[ValuePath, str]]:
    waiting: list[tuple[ValuePath, object]] = [((), value)]
    while waiting:
        path, each = waiting.pop()
        if isinstance(each, dict):
            waiting.extend(((*path, key), inner) for key, inner in each.items())
        elif isinstance(each, list):
            waiting.extend(((*path, index), inner) for index, inner in enumerate(each))
        elif isinstance(each, str) and is_template(each):
            yield path, each


def _message(error: Exception) -> str:
    if isinstance(error, TemplateFailed):
        return str(error)
    if isinstance(error, (RecursionError, MemoryError)):
        return "is nested too deeply"
    text = " ".join(str(error).split())[:MAX_MESSAGE_CHARACTERS] or type(error).__name__
    if isinstance(error, TemplateSyntaxError):
        return f"line {error.lineno}: {text}"
    return text
