"""Pages for people: the API's documentation, which loads nothing from other hosts."""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response, current_app

from web.auth import public
from web.openapi import document
from web.routes import respond

routes = Blueprint("pages", __name__)

FOLDER = Path(__file__).parent
TYPES = {
    "docs.html": "text/html; charset=utf-8",
    "docs.js": "text/javascript; charset=utf-8",
    "docs.css": "text/css; charset=utf-8",
}
CSP = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
CSP += "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


@routes.get("/openapi.json")
@public
def openapi() -> Response:
    """Return the OpenAPI 3.1 document."""
    return respond(document(current_app))  # type: ignore[arg-type]  # it is our Application


@routes.get("/docs")
@public
def docs() -> Response:
    """Show the API."""
    return _file("docs.html")


@routes.get("/docs/<any('docs.js', 'docs.css'):name>")
@public
def docs_part(name: str) -> Response:
    """Return what the page is made of."""
    return _file(name)


def _file(name: str) -> Response:
    headers = {"Content-Security-Policy": CSP, "Cache-Control": "max-age=300"}
    return Response((FOLDER / name).read_bytes(), headers=headers, content_type=TYPES[name])
