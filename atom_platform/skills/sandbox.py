"""
A Jinja2 dialect for text that strangers write: it cannot reach Python, and it always ends.

It has variables, conditions, loops, `set`, `with`, comparisons, arithmetic, the filters listed here
and harmless methods of text, objects and lists. It has no macros, captured blocks, includes or
recursion: those let a short text grow without end. What stays unbounded is a single built-in
operation over what the template was given (`in` over a long text, sorting a long list); the size of
a request bounds that.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from types import BuiltinMethodType
from typing import Any, Final

from jinja2 import StrictUndefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from atom_platform.skills.meter import TooExpensive, charge, turns, weighed

__all__ = ["BoundedEnvironment"]

MAX_RANGE: Final = 10_000
MAX_POWER_BITS: Final = 4096

ALLOWED_NODES: Final = frozenset(
    (
        *("Template", "TemplateData", "Output", "For", "If", "With", "Assign"),
        *("Name", "Const", "List", "Tuple", "Dict", "Pair", "Getattr", "Getitem", "Slice"),
        *("Filter", "Test", "Call", "Keyword", "CondExpr", "Compare", "Operand", "And", "Or"),
        *("Not", "Neg", "Pos", "Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow", "Concat"),
    )
)

#: Taken from Jinja2 as they are; what they return is weighed. Left out is what takes a width, a
#: count or a format from the template (`center`, `batch`, `format`, …) and what makes markup.
PLAIN_FILTERS: Final = (
    *("abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "int", "items"),
    *("last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse"),
    *("select", "selectattr", "sort", "string", "title", "trim", "unique", "upper", "urlencode"),
    "wordcount",
)

METHODS: Final[Mapping[type, frozenset[str]]] = {
    str: frozenset(
        (
            *("capitalize", "casefold", "count", "endswith", "find", "isdigit", "lower", "lstrip"),
            *("removeprefix", "removesuffix", "rstrip", "split", "splitlines", "startswith"),
            *("strip", "title", "upper"),
        )
    ),
    dict: frozenset(("get", "items", "keys", "values")),
    list: frozenset(("count", "index")),
}


def as_text(value: object) -> object:
    """Write what a template prints: objects and lists as JSON, everything else as Jinja2 would."""
    if isinstance(value, (str, Undefined)):
        return value
    if callable(value):
        raise SecurityError("A function or method can be called, not printed")
    weighed(value)
    if isinstance(value, (dict, list, tuple)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value


def _range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > MAX_RANGE:
        raise TooExpensive(f"counts further than {MAX_RANGE:,}")
    return numbers


def _concatenation(parts: list[Any]) -> str:
    return "".join(str(as_text(part)) for part in weighed(parts))


def _join(items: Iterable[Any], separator: str = "") -> str:
    texts = []
    for each in turns(items):
        charge(len(separator))
        texts.append(weighed(str(as_text(each))))
    return separator.join(texts)


def _replace(text: object, old: str, new: str) -> str:
    subject = str(text)
    charge(len(subject) + subject.count(old) * len(new))
    return subject.replace(old, new)


def _round(value: float, precision: int = 0) -> float:
    return round(value, max(-20, min(precision, 20)))


def _sum(items: Iterable[float]) -> float:
    return sum(each + 0 for each in turns(items))  # "+ 0" refuses lists, whose sum is quadratic


def _tojson(value: object, indent: int | None = None) -> str:
    spaces = None if indent is None else max(0, min(indent, 8))
    return json.dumps(weighed(value), ensure_ascii=False, indent=spaces, default=str)


def _truncate(text: object, length: int = 255, end: str = "…") -> str:
    subject = str(text)
    return subject if len(subject) <= length else subject[: max(0, length - len(end))] + end


def _paying(plain: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(plain)  # also copies the mark by which Jinja2 knows what to pass first
    def paying(*args: Any, **kwargs: Any) -> Any:
        return weighed(plain(*args, **kwargs))

    return paying


#: `(turns)` and its like are put in by _Metering. No template can write such a name, but as the
#: name of a filter for `map`, where it does no harm.
OWN_FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "join": _join,
    "replace": _replace,
    "round": _round,
    "sum": _sum,
    "tojson": _tojson,
    "truncate": _truncate,
    "(turns)": turns,
    "(weighed)": weighed,
    "(concatenation)": _concatenation,
}


class _Metering(NodeTransformer):
    """Refuses what is not in the dialect, and puts a meter on what makes values."""

    def generic_visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        name = type(node).__name__
        if name not in ALLOWED_NODES:
            raise SecurityError(f"{name} is not available in templates")
        return super().generic_visit(node, *args, **kwargs)

    def _through(self, node: nodes.Node, filter_name: str) -> nodes.Filter:
        return nodes.Filter(node, filter_name, [], [], None, None, lineno=node.lineno)

    def visit_For(self, node: nodes.For) -> nodes.Node:
        if node.recursive:
            raise SecurityError("A recursive loop is not available in templates")
        self.generic_visit(node)
        node.iter = self._through(node.iter, "(turns)")
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return self._through(nodes.List(node.nodes, lineno=node.lineno), "(concatenation)")

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        # Jinja2 compiles a slice past the environment's getitem: only here can it be weighed.
        return self._through(node, "(weighed)") if isinstance(node.arg, nodes.Slice) else node

    def _made(self, node: nodes.Expr) -> nodes.Node:
        self.generic_visit(node)
        return node if getattr(node, "ctx", "load") == "store" else self._through(node, "(weighed)")

    visit_List = visit_Tuple = visit_Dict = _made


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """
    The environment of the dialect; render inside `meter.metered()`.

    A missing variable is an error, not an empty text. Keys of an object win over its methods:
    `input.items` is what the caller sent.
    """

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, finalize=as_text, keep_trailing_newline=True)
        self.globals = {"range": _range}
        self.filters = {name: _paying(FILTERS[name]) for name in PLAIN_FILTERS}
        self.filters.update(OWN_FILTERS)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        metered_tree: nodes.Template = _Metering().visit(tree)
        return metered_tree

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        sizes = [len(each) for each in (left, right) if isinstance(each, (str, list, tuple))]
        if operator == "%" and sizes:
            raise SecurityError("Text cannot be formatted with %; use ~")
        if operator == "+":
            charge(sum(sizes))
        elif operator == "*" and sizes:
            if not isinstance(left, str):
                raise SecurityError("Only text can be repeated, written before the *")
            charge(len(left) * max(0, right))
        elif operator == "**" and _power_bits(left, right) > MAX_POWER_BITS:
            raise TooExpensive("makes a larger number than a template may")
        return weighed(super().call_binop(context, operator, left, right))

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        if obj is not _range and not _is_harmless(obj):
            raise SecurityError("Only range() and methods of text, objects and lists can be called")
        return weighed(super().call(context, obj, *args, **kwargs))


def _power_bits(left: object, right: object) -> int:
    if isinstance(left, int) and isinstance(right, int):
        return left.bit_length() * abs(right)
    return 0  # a float does not grow: it overflows with an error


def _is_harmless(obj: object) -> bool:
    owner = getattr(obj, "__self__", None)
    return isinstance(obj, BuiltinMethodType) and obj.__name__ in METHODS.get(type(owner), ())
