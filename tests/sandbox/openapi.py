"""PayPal's published OpenAPI as a judge of exchanges; it is not part of this repository.

Found by PAYPAL_OPENAPI, or in a folder `paypal-openapi` beside the checkout.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jsonschema_rs import Draft202012Validator

ROOT = Path(__file__).resolve().parents[2]
FOLDER = "paypal-openapi"
METHODS = ("get", "post", "patch", "delete")


def published() -> Path | None:
    """Return where the files are, if anywhere."""
    if given := os.environ.get("PAYPAL_OPENAPI"):
        return Path(given)
    return next(iter(sorted(ROOT.parent.glob(f"*/{FOLDER}"))), None)


class Operation(NamedTuple):
    """One operation of one file."""

    method: str
    template: str
    told: dict[str, Any]
    document: dict[str, Any]

    def fits(self, method: str, path: str) -> re.Match[str] | None:
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(self.template))
        return re.fullmatch(pattern, path) if method == self.method else None

    def schema(self, holder: dict[str, Any]) -> dict[str, Any] | None:
        """Return the JSON schema of a request body or a response."""
        found: dict[str, Any] | None = (
            holder.get("content", {}).get("application/json", {}).get("schema")
        )
        return found

    def response(self, status: int) -> dict[str, Any]:
        responses = self.told["responses"]
        told = responses.get(str(status)) or responses["default"]
        return self._resolved(told)

    def parameters(self) -> dict[str, dict[str, Any]]:
        """Return the parameters by name; one that is the operation's own is stronger."""
        return {one["name"]: one for one in map(self._resolved, self.told.get("parameters", []))}

    def _resolved(self, told: dict[str, Any]) -> dict[str, Any]:
        if "$ref" not in told:
            return told
        found: Any = self.document
        for part in told["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return self._resolved(found)

    def wrong(self, schema: dict[str, Any], value: Any, *, is_strict: bool) -> list[str]:
        """Return what the schema has against a value; strictly, an unknown field too."""
        schema = _strict(schema) if is_strict else schema
        components = _components(self.document, is_strict=is_strict)
        validator = Draft202012Validator({**schema, "components": components})
        where = f"{self.method} {self.template}"
        return [
            f"{where}: {'/'.join(map(str, error.instance_path))}: {error.message}"
            for error in validator.iter_errors(value)
        ]


def operations(folder: Path) -> Iterator[Operation]:
    """Yield every operation of every file."""
    for file in sorted(folder.glob("*.json")):
        document = json.loads(file.read_text())
        base = "/v1/reporting" if file.name.startswith("reporting") else ""
        for path, told in document["paths"].items():
            template = path if path.startswith("/v") else base + path
            for method in METHODS:
                if method in told:
                    yield Operation(method.upper(), template, told[method], document)


def _components(document: dict[str, Any], *, is_strict: bool) -> Any:
    name = "strict" if is_strict else "loose"
    if name not in document:
        change = _strict_inside if is_strict else _without_texts
        document[name] = change(document["components"])
    return document[name]


def _without_texts(schema: Any) -> Any:
    """Return a schema to which any description of an issue is right: they differ by operation."""
    if isinstance(schema, list):
        return [_without_texts(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: {"type": "string"}
        if name == "description" and isinstance(value, dict)
        else _without_texts(value)
        for name, value in schema.items()
    }


def _strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema, at a place where it is used whole, that takes no unknown field."""
    inside = _strict_inside(schema)
    return {**inside, "unevaluatedProperties": False} if inside else inside


def _strict_inside(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_strict_inside(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: {key: _strict(one) for key, one in value.items()}
        if name == "properties"
        else _strict(value)
        if name == "items" and isinstance(value, dict)
        else _strict_inside(value)
        for name, value in schema.items()
        if name not in ("example", "examples")
    }
