"""Asking for a new link, by one that has ended: it is mailed to whom the old one was for.

Every answer is the same, so that nobody learns whether a link was ours or whom it was for. What is
asked again within ten minutes is the same letter.
"""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint, Response, request
from pydantic import Field
from sqlalchemy.orm import Session

from models.clock import now
from models.invoices import Invoice
from models.notifications import owe_notice
from models.portal import portal_of
from models.timeline import Cause, note
from web.auth import cookies, public
from web.auth import visits as kept
from web.limits import limits
from web.portal.visits import PREFIX
from web.routes import Input, read_body, respond
from worker import portal, telemetry
from worker.database import in_transaction
from worker.links import LONGEST_TOKEN
from worker.portal import Link
from worker.settings import settings

routes = Blueprint("portal_asking", __name__)
ONE_LETTER_IN_S = 600


class Ended(Input):
    """What stood in the fragment of a link that does not work any more."""

    token: str = Field(min_length=1, max_length=LONGEST_TOKEN)


@routes.post("/portal/links")
@public
def ask() -> Response:
    """Ask for a new link by an old one."""
    cookies.check_same_origin()
    return _asked(portal.link_of(read_body(Ended).token))


@routes.post(f"{PREFIX}/links")
@public
def ask_by_visit(visit_id: UUID) -> Response:
    """Ask for a new link by a visit, also one that has ended."""
    cookies.check_same_origin()
    visit = kept.begun(visit_id)
    return _asked(visit.link if visit else None)


def _asked(link: Link | None) -> Response:
    limits().hit("portal_mail", settings().portal_mail_rate_limit, request.remote_addr or "")
    telemetry.count("portal.asked", outcome="known" if link else "unknown")
    if link is not None:
        in_transaction(_owe, link.company_id, link)
    return respond({"status": "asked"}, 202)


def _owe(session: Session, link: Link) -> None:
    number = int(now().timestamp()) // ONE_LETTER_IN_S
    because = Cause(why="asked for by an old link", request_id=telemetry.current()["request_id"])
    invoice = session.get(Invoice, link.invoice_id) if link.invoice_id else None
    if invoice is not None:
        note(session, invoice, what="link", because=because)
        owe_notice(session, "payment_link", invoice, number=number, invoice_id=str(invoice.id))
    elif link.invoice_id is None:
        own = portal_of(session, link.company_id)
        note(session, own, what="link", because=because)
        owe_notice(session, "portal_link", own, number=number)
