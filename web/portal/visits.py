"""A link handed in for a visit, and whom one visits."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Blueprint, Response, request
from pydantic import Field

from models.tenants import Company, Tenant
from web.auth import caller, cookies, public, visiting
from web.auth import visits as kept
from web.limits import limits
from web.problems import Problem
from web.routes import Input, read_body, respond
from worker import portal, telemetry
from worker.database import transaction
from worker.links import LONGEST_TOKEN
from worker.settings import settings

routes = Blueprint("portal_visits", __name__)
PREFIX = f"{kept.PREFIX}/<uuid:visit_id>"


class HandedIn(Input):
    """What stands in a link's fragment."""

    token: str = Field(min_length=1, max_length=LONGEST_TOKEN)


@routes.post(kept.PREFIX)
@public
def begin() -> Response:
    """Begin a visit by a link: 401 for a token that is not ours, 410 for one that has ended."""
    cookies.check_same_origin()
    limits().hit("portal", settings().portal_rate_limit, request.remote_addr or "")
    link = portal.link_of(read_body(HandedIn).token)
    if link is None:
        telemetry.count("portal.visits", outcome="refused")
        raise Problem("unauthenticated", "The link is not one of ours, or not all of it.")
    with transaction(company_id=link.company_id) as session:
        if not link.counts(session):
            telemetry.count("portal.visits", outcome="ended")
            raise Problem("link-ended", "Ask for a new one.")
    telemetry.count("portal.visits", outcome="begun")
    visit = portal.begin_visit(link)
    made = {"id": visit.id, "invoice_id": link.invoice_id, "ends_at": visit.ends_at}
    return kept.keep(respond(made, 201), visit)


@routes.get(PREFIX)
@visiting()
def read(visit_id: UUID) -> Response:  # noqa: ARG001  the guard has read it
    """Return whom one visits, and how they are to be spoken to."""
    who = caller()
    with transaction() as session:
        company = session.get_one(Company, who.company_id)
        tenant = session.get_one(Tenant, company.tenant_id)
        told: dict[str, Any] = {
            "invoice_id": who.invoice_id,
            "company": company.name,
            "language": company.language,
            "time_zone": company.time_zone,
            "issuer": tenant.name,
        }
    return respond(told)
