"""The description of the API, and the page that shows it."""

from __future__ import annotations

import json
import re

import jsonschema_rs
import pytest
from flask import Flask

from web.app import create_app
from web.auth import guard_of
from web.openapi import IDEMPOTENT, WAITS
from web.pages import FOLDER

DIALECT = "https://json-schema.org/draft/2020-12/schema"
UNDESCRIBED = {
    "/openapi.json",
    "/docs",
    "/docs/<any('docs.js', 'docs.css'):name>",
    "/mail/unsubscribe",
}


@pytest.fixture
def app(use) -> Flask:
    return create_app()


@pytest.fixture
def spec(app):
    return app.test_client().get("/openapi.json").json


def operations(app, spec):
    """Return (rule, method, view, operation) of every described route."""
    for rule in app.url_map.iter_rules():
        # The console's and the portal's are for their own pages.
        is_of_page = rule.rule == "/" or rule.rule.startswith(("/console", "/portal"))
        if rule.rule in UNDESCRIBED or is_of_page:
            continue
        path = re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule)
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            operation = spec["paths"].get(path, {}).get(method.lower())
            yield path, method, app.view_functions[rule.endpoint], operation


def test_it_is_openapi_3_1(spec):
    assert spec["openapi"].startswith("3.1")
    assert spec["info"]["title"] == "Paybeat"


def test_every_route_is_described_with_its_answers(app, spec):
    found = list(operations(app, spec))
    assert found
    for path, method, _, operation in found:
        assert operation, f"{method} {path} is not described"
        assert operation["summary"], f"{method} {path} says nothing"
        good = [status for status in operation["responses"] if status.startswith("2")]
        assert good, f"{method} {path} has no answer"
        problem = operation["responses"]["default"]["content"]
        assert list(problem) == ["application/problem+json"]


def test_marks_are_told(app, spec):
    for path, method, view, operation in operations(app, spec):
        headers = {p["name"] for p in operation.get("parameters", []) if p["in"] == "header"}
        is_public = guard_of(view).is_public
        assert ("security" in operation) != is_public, f"{method} {path}"
        assert ("X-Company-Id" in headers) != is_public, f"{method} {path}"
        assert ("Idempotency-Key" in headers) == hasattr(view, IDEMPOTENT), f"{method} {path}"
        assert ("Prefer" in headers) == hasattr(view, WAITS), f"{method} {path}"


def test_a_body_is_required_where_a_field_of_it_is(app, spec):
    schemas = spec["components"]["schemas"]
    for path, method, _, operation in operations(app, spec):
        if "requestBody" in operation and "webhooks" not in path:
            [content] = operation["requestBody"]["content"].values()
            name = content["schema"]["$ref"].rpartition("/")[2]
            is_required = operation["requestBody"]["required"]
            assert is_required == bool(schemas[name].get("required")), f"{method} {path}"


def test_every_reference_leads_somewhere_and_every_schema_is_one(app):
    text = app.test_client().get("/openapi.json").text
    spec = json.loads(text)
    schemas = spec["components"]["schemas"]
    for name in re.findall(r'"#/components/schemas/([^"]+)"', text):
        assert name in schemas
    for schema in schemas.values():
        jsonschema_rs.meta.validate({"$schema": DIALECT, **schema})


def test_operation_ids_are_unique(app, spec):
    ids = [operation["operationId"] for *_, operation in operations(app, spec)]
    assert len(ids) == len(set(ids))


def test_the_page_loads_nothing_from_elsewhere(app):
    client = app.test_client()
    page = client.get("/docs")
    assert page.status_code == 200
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    for name in ("docs.html", "docs.js", "docs.css"):
        text = (FOLDER / name).read_text()
        assert not re.search(r"https?:|//[a-z]+\.", text), name
    for path in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert client.get(path).status_code == 200, path


@pytest.mark.parametrize("path", ["/docs/../app.py", "/docs/__init__.py", "/docs/docs.html"])
def test_only_the_pages_parts_are_served(app, path):
    assert app.test_client().get(path).status_code == 404
