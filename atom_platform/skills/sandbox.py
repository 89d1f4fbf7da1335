"""
A bounded Jinja2 dialect: a template cannot reach Python, and it always ends.

The dialect has variables, conditions, loops, `set`, `with`, comparisons, arithmetic, the filters
listed here and harmless methods of text, objects and lists. It has no macros, captured blocks,
includes or recursion, because those let a short template produce unbounded text.

Jinja2's own sandbox hides Python's internals, but bounds neither memory nor loops. Here every
operation that makes a value pays for its size from a budget, before the allocation where the size
is known. One built-in operation over the input stays unbounded (`in` over a long text, sorting a
long list); the size limit of a request bounds its input.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import BuiltinMethodType
from typing import Any, Final, TypeVar

from jinja2 import StrictUndefined, Template, nodes
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

__all__ = ["BoundedEnvironment", "charge", "render_budget"]

#: The budget of one step: characters and elements of all values that its templates make.
BUDGET_UNITS: Final = 2**22
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

#: Jinja2's own filters; the values they return are charged. Filters that take a width, a count or
#: a format from the template (`center`, `batch`, `format`, …) and filters for markup are left out.
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

Value = TypeVar("Value")


class BudgetExceeded(Exception):
    """A template does more work, or makes more text, than its budget allows."""


class _Budget:
    __slots__ = ("deadline", "units")

    def __init__(self, cpu_seconds: float) -> None:
        self.units = BUDGET_UNITS
        self.deadline = time.thread_time() + cpu_seconds


_budget: ContextVar[_Budget] = ContextVar("template_budget")


@contextmanager
def render_budget(*, cpu_seconds: float) -> Iterator[None]:
    """
    Give everything rendered inside the `with` block one budget.

    Args:
        cpu_seconds: CPU time of this thread. Wall-clock time would make a busy machine refuse
            templates that an idle machine renders.
    """
    token = _budget.set(_Budget(cpu_seconds))
    try:
        yield
    finally:
        _budget.reset(token)


def charge(cost: int) -> None:
    """
    Take *cost* units from the budget.

    Raises:
        BudgetExceeded: The units or the CPU time are used up.
        LookupError: No budget is open. Jinja2's constant folding runs at compile time, reads this
            error as "not a constant", and leaves the work to the rendering.
    """
    budget = _budget.get()
    budget.units -= cost
    if budget.units < 0:
        raise BudgetExceeded("makes more text or more values than a template may")
    if time.thread_time() > budget.deadline:
        raise BudgetExceeded("takes longer than a template may")


def charge_for(value: Value) -> Value:
    """Charge for everything *value* holds, and return it. Repeated elements are charged again."""
    waiting: list[Any] = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            charge(1 + len(each))
        elif isinstance(each, Mapping):
            charge(1 + len(each))
            waiting.extend(each.keys())
            waiting.extend(each.values())
        elif isinstance(each, (list, tuple)):
            charge(1 + len(each))
            waiting.extend(each)
        elif isinstance(each, int):
            charge(1 + each.bit_length() // 8)
        else:
            charge(1)
    return value


def charged_items(iterable: Iterable[Value]) -> Iterator[Value]:
    """Charge one unit for each item of *iterable*."""
    for each in iterable:
        charge(1)
        yield each


def as_text(value: object) -> object:
    """Return the printable form of *value*: objects and lists as JSON, the rest as Jinja2 does."""
    if isinstance(value, (str, Undefined)):
        return value
    if callable(value):
        raise SecurityError("A function or method can be called, not printed")
    charge_for(value)
    if isinstance(value, (dict, list, tuple)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value


def _range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > MAX_RANGE:
        raise BudgetExceeded(f"counts further than {MAX_RANGE:,}")
    return numbers


def _concatenation(parts: list[Any]) -> str:
    return "".join(str(as_text(part)) for part in charge_for(parts))


def _join(items: Iterable[Any], separator: str = "") -> str:
    texts = []
    for each in charged_items(items):
        charge(len(separator))
        texts.append(charge_for(str(as_text(each))))
    return separator.join(texts)


def _replace(text: object, old: str, new: str) -> str:
    subject = str(text)
    charge(len(subject) + subject.count(old) * len(new))
    return subject.replace(old, new)


def _round(value: float, precision: int = 0) -> float:
    return round(value, max(-20, min(precision, 20)))


def _sum(items: Iterable[float]) -> float:
    # "+ 0" raises for lists, whose sum takes quadratic time.
    return sum(each + 0 for each in charged_items(items))


def _tojson(value: object, indent: int | None = None) -> str:
    spaces = None if indent is None else max(0, min(indent, 8))
    return json.dumps(charge_for(value), ensure_ascii=False, indent=spaces, default=str)


def _truncate(text: object, length: int = 255, end: str = "…") -> str:
    subject = str(text)
    return subject if len(subject) <= length else subject[: max(0, length - len(end))] + end


def _charging(plain: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(plain)  # also copies the marker of Jinja2's `pass_context` and its like
    def charging(*args: Any, **kwargs: Any) -> Any:
        return charge_for(plain(*args, **kwargs))

    return charging


#: _CostInjector inserts the names in brackets. A template can write such a name only as the name of
#: a filter for `map`, where it is harmless.
OWN_FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "join": _join,
    "replace": _replace,
    "round": _round,
    "sum": _sum,
    "tojson": _tojson,
    "truncate": _truncate,
    "(charged_items)": charged_items,
    "(charged)": charge_for,
    "(concatenation)": _concatenation,
}


class _CostInjector(NodeTransformer):
    """Rejects nodes outside the dialect, and wraps nodes that make values in charging filters."""

    def generic_visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        name = type(node).__name__
        if name not in ALLOWED_NODES:
            raise SecurityError(f"{name} is not available in templates")
        return super().generic_visit(node, *args, **kwargs)

    def _filtered(self, node: nodes.Node, filter_name: str) -> nodes.Filter:
        return nodes.Filter(node, filter_name, [], [], None, None, lineno=node.lineno)

    def visit_For(self, node: nodes.For) -> nodes.Node:
        if node.recursive:
            raise SecurityError("A recursive loop is not available in templates")
        self.generic_visit(node)
        node.iter = self._filtered(node.iter, "(charged_items)")
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return self._filtered(nodes.List(node.nodes, lineno=node.lineno), "(concatenation)")

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        # Jinja2 compiles a slice without the environment's getitem; it can be charged only here.
        return self._filtered(node, "(charged)") if isinstance(node.arg, nodes.Slice) else node

    def _literal(self, node: nodes.Expr) -> nodes.Node:
        self.generic_visit(node)
        is_target = getattr(node, "ctx", "load") == "store"
        return node if is_target else self._filtered(node, "(charged)")

    visit_List = visit_Tuple = visit_Dict = _literal


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """
    The environment of the dialect. Render inside `render_budget()`.

    A missing variable is an error, not an empty text. Keys of an object win over its methods:
    `input.items` is the field that the caller sent.
    """

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, finalize=as_text, keep_trailing_newline=True)
        self.globals = {"range": _range}
        self.filters = {name: _charging(FILTERS[name]) for name in PLAIN_FILTERS}
        self.filters.update(OWN_FILTERS)

    def from_string(self, source: str | nodes.Template, *args: Any, **kwargs: Any) -> Template:
        """Compile *source* as a template of the dialect."""
        tree = self.parse(source) if isinstance(source, str) else source
        return super().from_string(_CostInjector().visit(tree), *args, **kwargs)

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
            raise BudgetExceeded("makes a larger number than a template may")
        return charge_for(super().call_binop(context, operator, left, right))

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        if obj is not _range and not _is_harmless(obj):
            raise SecurityError("Only range() and methods of text, objects and lists can be called")
        return charge_for(super().call(context, obj, *args, **kwargs))


def _power_bits(left: object, right: object) -> int:
    if isinstance(left, int) and isinstance(right, int):
        return left.bit_length() * abs(right)
    return 0  # a float does not grow: it overflows with an error


def _is_harmless(obj: object) -> bool:
    owner = getattr(obj, "__self__", None)
    return isinstance(obj, BuiltinMethodType) and obj.__name__ in METHODS.get(type(owner), ())
