"""The visit of somebody who came to the portal by a link, in a cookie that no script can read.

Each visit has its own address and its cookie that path, so that two tabs may visit two companies.
A browser sends the cookie for nobody else's page (SameSite=Strict), and what changes something is
asked for by our own page alone, as at the console.
"""

from __future__ import annotations

from uuid import UUID

from flask import Response, request

from models.clock import now
from models.portal import epoch_of
from web.auth import cookies, tokens
from web.limits import limits
from web.problems import Problem
from worker import portal
from worker.database import transaction
from worker.portal import Visit
from worker.settings import settings

PLAIN_NAME = "paybeat_visit"
# Browsers take this one over TLS alone. Of a path, so it cannot be __Host-.
SECURE_NAME = "__Secure-paybeat_visit"
PREFIX = "/portal/visits"


def keep(answer: Response, visit: Visit) -> Response:
    """Let the browser hold a visit until it is closed; when it ends, its key says."""
    answer.set_cookie(
        _name(),
        portal.key_of(visit),
        path=f"{PREFIX}/{visit.id}",
        httponly=True,
        samesite="Strict",
        secure=_is_secure(),
    )
    return answer


def begun(visit_id: UUID) -> Visit | None:
    """Return the visit whose key the browser holds, also one that has ended."""
    visit = portal.visit_of(request.cookies.get(_name(), ""))
    return visit if visit is not None and visit.id == visit_id else None


def entered(visit_id: UUID) -> Visit:
    """Return the visit that a request belongs to.

    Raises:
        Problem: 401 for none, or one that has ended; 410 for one whose link was revoked; 403 for
            what another page asks for; 429.
    """
    if request.method not in cookies.SAFE_METHODS:
        cookies.check_same_origin()
    visit = begun(visit_id)
    if visit is None or now() >= visit.ends_at:
        raise tokens.unauthenticated("The visit has ended: open the link again.")
    limits().hit("visit", settings().portal_rate_limit, str(visit.id))
    with transaction(company_id=visit.link.company_id) as session:
        if visit.link.epoch != epoch_of(session):
            raise Problem("link-ended", "The link was revoked.")
    return visit


def _is_secure() -> bool:
    return settings().is_production or request.is_secure


def _name() -> str:
    return SECURE_NAME if _is_secure() else PLAIN_NAME
