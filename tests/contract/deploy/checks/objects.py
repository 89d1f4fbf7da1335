"""
Hold the Kubernetes objects on standard input against their schemas, of the versions given.

Run by the Python of .venv/deploy. Prints a JSON list with the faults of each object. A kind without
a schema is a fault too: what nobody can check is not checked.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

import yaml

#: In .venv/deploy only, which the type checker does not look into.
jsonschema, kubernetes_validate, prometheus_operator = map(
    importlib.import_module,
    ["jsonschema", "kubernetes_validate", "cloudcoil.models.prometheus_operator"],
)

OPERATOR = "monitoring.coreos.com/"


def faults(item: dict[str, Any], version: str) -> list[str]:
    if item["apiVersion"].startswith(OPERATOR):
        return operator_faults(item)
    try:
        kubernetes_validate.validate(item, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'/'.join(map(str, error.path))}: {error.message}"]
    except kubernetes_validate.SchemaNotFoundError:
        return ["no schema for this kind"]
    return []


def operator_faults(item: dict[str, Any]) -> list[str]:
    module = getattr(prometheus_operator, item["apiVersion"].removeprefix(OPERATOR))
    model = getattr(module, item["kind"], None)
    if model is None:
        return ["no schema for this kind"]
    schema = strict(model.model_json_schema(by_alias=True))
    found = jsonschema.Draft202012Validator(schema).iter_errors(item)
    return [f"{'/'.join(map(str, error.path))}: {error.message}" for error in found]


def strict(schema: Any) -> Any:
    """Refuse keys that the schema does not name, as an API server does with unknown fields."""
    if isinstance(schema, dict):
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
        for each in schema.values():
            strict(each)
    elif isinstance(schema, list):
        for each in schema:
            strict(each)
    return schema


def main(versions: list[str]) -> None:
    items = [item for item in yaml.safe_load_all(sys.stdin.read()) if item]
    json.dump(
        [[f for version in versions for f in faults(item, version)] for item in items], sys.stdout
    )


if __name__ == "__main__":
    main(sys.argv[1:])
