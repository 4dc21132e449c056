"""Invoices as whoever came by a link sees them: with payments, refunds and credit notes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, request
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.credit_notes import CreditNote, notes_of
from models.invoices import Invoice, InvoiceStatus
from models.methods import PaymentMethod
from models.money import UnsupportedMoney, check_taken
from models.refunds import Refund
from models.tenants import Company
from models.transactions import AttemptStatus, Provider, Status, Transaction
from schedules.declines import Advice, CustomerAction, action_for, told_code
from web.api import credit_notes
from web.api import invoices as api
from web.api.credit_notes import CreditNotePath
from web.api.invoices import InvoicePath
from web.auth import caller, visiting
from web.lists import answer_page
from web.portal.paying import is_closed
from web.portal.visits import PREFIX
from web.problems import Problem, invalid_fields
from web.routes import respond
from web.schemas import PageQuery
from worker.database import transaction
from worker.mail.words import to_do
from worker.settings import settings

routes = Blueprint("portal_invoices", __name__)
ONE = f"{PREFIX}/invoices/<uuid:invoice_id>"

# Somebody else has the payment in hand, and will tell.
AT_WORK = (Status.PENDING, Status.PROCESSING, Status.NEEDS_REVIEW)


@routes.get(f"{PREFIX}/invoices")
@visiting(whole=True)
def list_invoices(visit_id: UUID) -> Response:  # noqa: ARG001  the guard has read it
    """List the company's invoices, newest first; drafts are nobody's yet."""
    try:
        query = PageQuery.model_validate(request.args.to_dict())
    except ValidationError as error:
        raise invalid_fields(error) from None
    wanted = select(Invoice).where(Invoice.status != InvoiceStatus.DRAFT)
    return answer_page(Invoice, wanted, query, _listed, company_id=caller().company_id)


@routes.get(ONE)
@visiting()
def read(visit_id: UUID, invoice_id: UUID) -> Response:  # noqa: ARG001
    """Return an invoice with all that happened to it, and whether it can be paid now."""
    with transaction(company_id=caller().company_id) as session:
        return respond(_shown(session, _issued(session, invoice_id)))


@routes.get(f"{ONE}/pdf")
@visiting()
def document(visit_id: UUID, invoice_id: UUID) -> Any:  # noqa: ARG001
    """Return it as PDF."""
    return api.read_invoice_pdf(path=InvoicePath(invoice_id=invoice_id))


@routes.get(f"{ONE}/credit-notes/<uuid:note_id>/pdf")
@visiting()
def credited(visit_id: UUID, invoice_id: UUID, note_id: UUID) -> Any:  # noqa: ARG001
    """Return one of its credit notes as PDF."""
    with transaction(company_id=caller().company_id) as session:
        found = session.get(CreditNote, note_id)
        if found is None or found.invoice_id != invoice_id:
            raise Problem("not-found", "No such credit note.")
    return credit_notes.read_credit_note_pdf(path=CreditNotePath(credit_note_id=note_id))


def _issued(session: Session, invoice_id: UUID) -> Invoice:
    invoice = session.get(Invoice, invoice_id)
    if invoice is None or invoice.status is InvoiceStatus.DRAFT:
        raise Problem("not-found", "No such invoice.")
    return invoice


def _listed(invoice: Invoice) -> dict[str, Any]:
    return {
        "id": invoice.id,
        "number": invoice.number,
        "status": invoice.status,
        "amount": invoice.amount,
        "amount_due": invoice.due.amount,
        "currency": invoice.currency,
        "due_on": invoice.due_on,
        "issued_at": invoice.issued_at,
    }


def _shown(session: Session, invoice: Invoice) -> dict[str, Any]:
    payments = session.scalars(
        select(Transaction).where(Transaction.invoice_id == invoice.id).order_by(Transaction.id)
    ).all()
    notes = notes_of(session, invoice.id)
    return {
        **api.with_lines(session, invoice),
        "standing": _standing(invoice, payments),
        "waiting": _waiting(payments),
        "takes_paypal": _takes_paypal(invoice),
        "to_do": _to_do(session, invoice, payments),
        "payments": _paid(session, payments),
        "credit_notes": [
            {"id": each.id, "number": each.number, "amount": each.amount, "at": each.issued_at}
            for each in notes
            if each.reversed_at is None
        ],
    }


def _standing(invoice: Invoice, payments: Sequence[Transaction]) -> str:
    """Return what the page shows: payable, processing, or as the invoice is."""
    if invoice.status is not InvoiceStatus.OPEN:
        return str(invoice.status)
    if invoice.due.amount <= 0:
        return str(InvoiceStatus.PAID)
    return "processing" if any(each.status in AT_WORK for each in payments) else "payable"


def _waiting(payments: Sequence[Transaction]) -> dict[str, Any] | None:
    """Return the payment that waits for its customer, and whether the caller is kept out of it."""
    for each in payments:
        if each.status is Status.REQUIRES_ACTION:
            return {
                "id": each.id,
                "provider": each.payment_method,
                "is_closed": is_closed(each),
            }
    return None


def _takes_paypal(invoice: Invoice) -> bool:
    try:
        check_taken(invoice.due.amount, invoice.currency, Provider.PAYPAL)
    except UnsupportedMoney:
        return False
    return settings().has_paypal


def _to_do(
    session: Session, invoice: Invoice, payments: Sequence[Transaction]
) -> dict[str, Any] | None:
    """Return why the last payment failed and what to do about it, in the company's language."""
    last = payments[-1] if payments else None
    if invoice.status is not InvoiceStatus.OPEN or last is None or last.status is not Status.FAILED:
        return None
    attempt = last.attempts[-1] if last.attempts else None
    if attempt is None or attempt.status is not AttemptStatus.DECLINED:
        return None
    code = attempt.decline_code or attempt.error_code or ""
    action = CustomerAction.NONE
    if attempt.advice:
        action = action_for(Advice(attempt.advice), code)
    language = session.get_one(Company, invoice.company_id).language
    sentence = to_do(language.partition("-")[0], action)
    return {"code": told_code(code), "sentence": sentence, "at": attempt.updated_at}


def _paid(session: Session, payments: Sequence[Transaction]) -> list[dict[str, Any]]:
    """Return the payments with what they were made with and what was given back of them."""
    named = {each.id: each for each in payments}
    methods = {
        method.id: method
        for method in session.scalars(
            select(PaymentMethod).where(
                PaymentMethod.id.in_({each.payment_method_id for each in payments} - {None})
            )
        )
    }
    refunds: dict[UUID, list[dict[str, Any]]] = {identity: [] for identity in named}
    for refund in session.scalars(
        select(Refund).where(Refund.transaction_id.in_(named)).order_by(Refund.id)
    ):
        shown = {"amount": refund.amount, "status": refund.status, "at": refund.created_at}
        refunds[refund.transaction_id].append(shown)
    return [
        {
            "id": each.id,
            "status": each.status,
            "amount": each.amount,
            "at": each.created_at,
            "provider": each.payment_method,
            "method": None
            if is_closed(each)
            else _named(methods.get(each.payment_method_id or each.id)),
            "refunds": refunds[each.id],
        }
        for each in payments
    ]


def _named(method: PaymentMethod | None) -> dict[str, Any] | None:
    return {"brand": method.brand, "last_four": method.last_four} if method else None
