"""Links to the customer portal: to pay one invoice, or to a company's own; made and revoked."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy.orm import Session

from models.invoices import Invoice, InvoiceStatus
from models.portal import portal_of, revoke
from models.tenants import Permission
from models.timeline import note
from web.api.companies import CompanyPath
from web.api.invoices import InvoicePath
from web.auth import allowed, caller
from web.idempotency import Begun, Made, Told, idempotent
from web.problems import Problem
from web.routes import Routes
from web.schemas import Moment, cause
from worker import portal

routes = Routes("portal_links", __name__, url_prefix="/api/v1")


class LinkAnswer(BaseModel):
    """A link. Whoever has it gets in, so it is told here alone and is kept nowhere."""

    url: str
    expires_at: Moment


class RevokedAnswer(BaseModel):
    """No link of the company counts that was made until now."""

    company_id: UUID
    revoked: Literal[True]


def _tell_invoice(session: Session, invoice_id: UUID, _reply: dict[str, Any] | None) -> Told:
    return _told(portal.invoice_link(session, session.get_one(Invoice, invoice_id)))


def _tell_company(session: Session, company_id: UUID, _reply: dict[str, Any] | None) -> Told:
    return _told(portal.company_link(session, company_id))


def _told(link: portal.Link) -> Told:
    return Told({"url": link.url, "expires_at": link.expires_at}, 201)


@routes.post("/invoices/<uuid:invoice_id>/payment-link", responses={201: LinkAnswer})
@allowed(Permission.PAYMENTS_WRITE)
@idempotent(tell=_tell_invoice)
def link_to_invoice(session: Session, path: InvoicePath) -> Begun:
    """Return a link by which an invoice can be seen and paid without a login, and nothing else.

    It works until some days after the invoice is due; asked for again on the same day it is the
    same one. 409 for a draft.
    """
    invoice = session.get(Invoice, path.invoice_id)
    if invoice is None:
        raise Problem("not-found", "No such invoice.")
    if invoice.status == InvoiceStatus.DRAFT:
        raise Problem("conflict", "A draft cannot be paid: finalize it first.")
    note(session, invoice, what="link", because=cause("a payment link was asked for"))
    return Begun(invoice.id, None)


@routes.post("/companies/<uuid:company_id>/portal-link", responses={201: LinkAnswer})
@allowed(Permission.METHODS_WRITE)
@idempotent(tell=_tell_company)
def link_to_company(session: Session, path: CompanyPath) -> Begun:
    """Return a link to the company's own portal: its invoices, and its cards, without a login.

    An operator names the company in X-Company-Id as well.
    """
    own = portal_of(session, _named(path))
    note(session, own, what="link", because=cause("a portal link was asked for"))
    return Begun(own.company_id, None)


@routes.delete("/companies/<uuid:company_id>/portal-link", responses={200: RevokedAnswer})
@allowed(Permission.METHODS_WRITE)
@idempotent()
def revoke_links(session: Session, path: CompanyPath) -> Made:
    """Revoke every link of the company, those to single invoices too, and the visits by them.

    Those in letters that were sent no longer work; their recipients can ask for new ones.
    """
    company_id = _named(path)
    revoke(session, company_id, because=cause("all links were revoked"))
    return Made({"company_id": company_id, "revoked": True}, status=200)


def _named(path: CompanyPath) -> UUID:
    if path.company_id != caller().company_id:
        raise Problem("not-found", "No such company.")
    return path.company_id
