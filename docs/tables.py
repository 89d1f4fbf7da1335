"""
Write what documents repeat of the code into them: settings, metrics, commands, the API.

`make tables` runs it. `tests/contract/test_guide.py` and `tests/contract/docs/test_reference.py`
fail when a document is not what this would write.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from atom_platform import __version__, checks  # noqa: E402 — needs the path
from atom_platform.agents.openapi import ROUTES, openapi_document  # noqa: E402 — likewise
from atom_platform.agents.views import AgentViews  # noqa: E402 — likewise
from atom_platform.cli import COMMANDS  # noqa: E402 — likewise
from atom_platform.metrics.catalog import DEFINITIONS, Definition  # noqa: E402 — needs the path
from atom_platform.settings import Settings  # noqa: E402 — likewise


def settings_table() -> Iterator[str]:
    yield "| variable | default | what |"
    yield "| --- | --- | --- |"
    defaults = Settings()
    for each in fields(Settings):
        value = getattr(defaults, each.name)
        yield f"| `{each.metadata['variable']}` | {shown(value)} | {each.metadata['meaning']} |"


def shown(value: object) -> str:
    if value is None or value == () or value == {}:
        return "–"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def metrics_table() -> Iterator[str]:
    yield "| metric | type | labels | processes become one by | what |"
    yield "| --- | --- | --- | --- | --- |"
    for each in sorted(DEFINITIONS, key=lambda definition: definition.name):
        labels = ", ".join(f"`{label}`" for label in each.labels) or "–"
        yield f"| `{each.name}` | {each.kind} | {labels} | {crossing(each)} | {each.help} |"


def guide_table() -> Iterator[str]:
    yield "| metric | type | labels | what |"
    yield "| --- | --- | --- | --- |"
    for each in sorted(DEFINITIONS, key=lambda definition: definition.name):
        if each.name in GUIDE:
            labels = ", ".join(f"`{label}`" for label in each.labels) or "–"
            yield f"| `{each.name}` | {each.kind} | {labels} | {each.help} |"


#: The families that the monitoring guide asks for.
GUIDE = (
    "http_requests_total",
    "http_request_duration_seconds",
    "agent_executions_total",
    "agent_execution_duration_seconds",
    "active_agents",
    "skill_executions_total",
    "skill_execution_duration_seconds",
    "db_query_duration_seconds",
    "db_connections_active",
    "db_connections_idle",
)


def crossing(definition: Definition) -> str:
    if definition.computed:
        return "read at the scrape"
    return definition.mode or "sum"


def bucket_list() -> Iterator[str]:
    for each in sorted(DEFINITIONS, key=lambda definition: definition.name):
        if each.buckets:
            yield f"* `{each.name}`: " + " ".join(f"{bound:g}" for bound in each.buckets)


def command_list() -> Iterator[str]:
    yield "```text"
    width = max(map(len, COMMANDS))
    for name, (_, summary) in COMMANDS.items():
        yield f"    {name:<{width}}  {summary}"
    yield "```"


def check_table() -> Iterator[str]:
    yield "| check | healthy while |"
    yield "| --- | --- |"
    for name in checks.__all__:
        made = getattr(checks, name)
        module = inspect.getmodule(made)
        if module is not None and ".checks." in module.__name__:
            sentence = " ".join((module.__doc__ or "").split(".")[0].split())
            yield f"| `{name}({', '.join(_parameters(made))})` | {sentence} |"


def _parameters(made: Callable[..., object]) -> Iterator[str]:
    """Yield what a user may want to pass: names, with the defaults that are plain values."""
    for name, parameter in inspect.signature(made).parameters.items():
        if parameter.default is parameter.empty:
            yield name
        elif isinstance(parameter.default, int | float | str | None):
            yield f"{name}={parameter.default!r}"


def api_reference() -> Iterator[str]:
    document = openapi_document(ROUTES, AgentViews, version=__version__)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield f"## {method.upper()} {path}"
            yield ""
            yield from _operation(operation)
    yield "## Bodies"
    yield ""
    for name, schema in document["components"]["schemas"].items():
        yield f"### {name}"
        yield ""
        yield from _schema(schema)


def _operation(operation: dict[str, Any]) -> Iterator[str]:
    yield operation["summary"]
    yield ""
    if text := operation.get("description"):
        yield text
        yield ""
    for parameter in operation["parameters"]:
        yield f"* `{parameter['name']}` ({parameter['in']}): {parameter['description']}"
    if body := operation.get("requestBody"):
        yield f"* body: {_kind(body['content']['application/json']['schema'])}"
    for status, answer in operation["responses"].items():
        kinds = [_kind(content["schema"]) for content in answer.get("content", {}).values()]
        yield f"* {status} {answer['description']}" + "".join(f": {kind}" for kind in kinds)
    yield ""


def _schema(schema: dict[str, Any]) -> Iterator[str]:
    if text := schema.get("description"):
        yield text
        yield ""
    required = schema.get("required", [])
    for name, field in schema.get("properties", {}).items():
        notes = [_kind(field), *([] if name in required else ["optional"])]
        notes += [f"{key} {field[key]}" for key in LIMITS if key in field]
        text = " ".join(field.get("description", "").split())
        yield f"* `{name}`: {', '.join(notes)}" + (f". {text}" if text else "")
    yield ""


LIMITS = ("pattern", "minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum")


def _kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " or ".join(f"`{json.dumps(value)}`" for value in values)
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type", "anything"))


SECTIONS: Mapping[str, tuple[str, Callable[[], Iterator[str]]]] = {
    "settings": ("README.md", settings_table),
    "guide-metrics": ("README.md", guide_table),
    "reference-settings": ("docs/reference/settings.md", settings_table),
    "commands": ("docs/reference/commands.md", command_list),
    "ready-made": ("docs/reference/checks.md", check_table),
    "api": ("docs/reference/api.md", api_reference),
    "metrics": ("docs/metrics.md", metrics_table),
    "buckets": ("docs/metrics.md", bucket_list),
}


def written(section: str) -> tuple[Path, str, str]:
    """Return the document of *section*, its text now, and its text with the table renewed."""
    name, make = SECTIONS[section]
    path = ROOT / name
    text = path.read_text()
    before, start, rest = text.partition(f"<!-- {section} -->\n")
    _, end, after = rest.partition(f"<!-- /{section} -->")
    if not (start and end):
        raise ValueError(f"{name} has no section {section}")
    return path, text, before + start + "\n".join(make()) + "\n" + end + after


if __name__ == "__main__":
    for each in SECTIONS:
        document, _, new = written(each)
        document.write_text(new)
