"""The customer portal: a page for people who came by a link, and what it asks for.

    /portal/                       the page; the link's token is in the fragment, which stays there
    POST /portal/visits            the token for a visit, whose key goes into a cookie
    /portal/visits/<visit_id>/…    what a visit lets one see and do

Nothing here is for programs: those have the API, of which these views call the same functions.
"""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response

from web import files
from web.auth import public
from web.portal import asking, cards, invoices, paying, places, visits
from web.routes import respond
from worker.settings import settings

routes = Blueprint("portal", __name__)

FOLDER = Path(__file__).parent / "static"


@routes.get("/portal")
@public
def page() -> Response:
    """Show the page; which invoice or company, its script finds in the address's fragment."""
    return files.serve(FOLDER, "index.html", policy=places.policy())


@routes.get("/portal/static/<path:name>")
@public
def part(name: str) -> Response:
    """Return what the page is made of."""
    return files.serve(FOLDER, name, policy=places.policy())


@routes.get("/portal/config.json")
@public
def config() -> Response:
    """Tell the page how one may pay here."""
    told = {
        "card_script": places.card_script(),
        "publishable_key": settings().stripe_publishable_key,
        "return_url": f"{settings().public_url.rstrip('/')}/portal/",
    }
    return respond(told, headers={"Cache-Control": "no-store"})


BLUEPRINTS = (
    routes,
    visits.routes,
    asking.routes,
    invoices.routes,
    paying.routes,
    cards.routes,
)
