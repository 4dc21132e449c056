"""The console: a page of plain modules, served by the same app. No build step, nothing from others.

The page never sees its token: `POST /console/session` puts it into a cookie (web.auth.cookies).
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path, PurePosixPath

from flask import Blueprint, Response, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from web import files
from web.api import auth
from web.auth import cookies, public, tokens
from web.console import places
from web.problems import Problem
from web.routes import read_body, respond
from worker import sessions

routes = Blueprint("console", __name__)

FOLDER = Path(__file__).parent / "static"
PAGE = "index.html"


@routes.get("/")
@public
def front() -> AnyResponse:
    """Lead people to the console."""
    if not _is_person():
        raise Problem("not-found")
    return redirect("/console")


@routes.get("/console")
@routes.get("/console/<path:view>")
@public
def page(view: str = "") -> Response:
    """Show the page; which view, its script reads from the address."""
    # What looks like a file is none of ours; a person who asks for it is told by the page.
    if PurePosixPath(view).suffix and not _is_person():
        raise Problem("not-found")
    return _file(PAGE)


@routes.get("/console/static/<path:name>")
@public
def part(name: str) -> Response:
    """Return what the page is made of."""
    return _file(name)


@routes.get("/console/config.json")
@public
def config() -> Response:
    """Tell the page where its neighbours are."""
    return respond(places.neighbours(), headers={"Cache-Control": "no-store"})


@routes.post("/console/session")
@public
def sign_in() -> Response:
    """Sign in as at the API; the token goes into the cookie and the answer tells who."""
    cookies.check_same_origin()
    made = auth.sign_in(read_body(auth.Login))
    answer = respond(made.user, headers={"Cache-Control": "no-store"})
    return cookies.keep(answer, made.access_token, expires_at=made.expires_at)


@routes.delete("/console/session")
@public
def sign_out() -> Response:
    """End this session, everywhere within 5 seconds; take the cookie of one that has ended too."""
    cookies.check_same_origin()
    token = cookies.token()
    if token is not None:
        # One that is not valid any more is of no session that could be ended.
        with suppress(Problem):
            sessions.end(tokens.read(token).session_id)
    return cookies.drop(Response(status=204))


def _is_person() -> bool:
    """Whether a browser asks for something to show."""
    return "text/html" in request.headers.get("Accept", "")


def _file(name: str) -> Response:
    return files.serve(FOLDER, name, policy=places.policy())
