"""Paying an invoice by a link: the same way as `POST /api/v1/payments/create-intent`.

What is paid is what is due. Whoever comes second, by another tab, device or click, goes on with the
payment that there is, which the customer can pay once.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from flask import Blueprint
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.invoices import Invoice, InvoiceStatus
from models.transactions import Provider, Status, Transaction, open_of_invoice
from web.api import cancels, captures, payments, retries
from web.api.payments import NewIntent, PaymentPath
from web.api.resuming import resume_of
from web.auth import caller, visiting
from web.portal.cards import Nothing
from web.portal.visits import PREFIX
from web.problems import Problem
from web.routes import Input, read_body
from worker.database import transaction

routes = Blueprint("portal_paying", __name__)
INVOICE = f"{PREFIX}/invoices/<uuid:invoice_id>"
PAYMENT = f"{INVOICE}/payments/<uuid:payment_id>"


class Way(Input):
    """How to pay: in the browser at a provider, or with what the company has kept there."""

    provider: Literal["stripe", "paypal"] = "stripe"
    payment_method_id: UUID | None = None


@routes.post(f"{INVOICE}/payments")
@visiting()
def pay(visit_id: UUID, invoice_id: UUID) -> Any:  # noqa: ARG001  the guard has read it
    """Begin to pay what is due, or go on with what was begun.

    The answer is that of create-intent. 409 where another payment is in the way, which it names.
    """
    way = read_body(Way)
    if way.payment_method_id is not None and caller().invoice_id is not None:
        raise Problem("forbidden", "A link to one invoice lets nobody charge a card that is kept.")
    with transaction(company_id=caller().company_id) as session:
        invoice = payable(session, invoice_id)
        due = invoice.due.amount
        begun = _begun(session, invoice, way)
    if begun is not None:
        return retries.resume_payment(path=PaymentPath(transaction_id=begun))
    return payments.create_intent(
        body=NewIntent(
            invoice_id=invoice_id,
            amount=due,
            currency=None,
            payment_method_id=way.payment_method_id,
            provider=None if way.payment_method_id else way.provider,
        )
    )


@routes.post(f"{PAYMENT}/capture")
@visiting()
def come_back(visit_id: UUID, invoice_id: UUID, payment_id: UUID) -> Any:  # noqa: ARG001
    """Take what was approved on PayPal's page."""
    read_body(Nothing)
    return captures.capture_payment(path=_path(invoice_id, payment_id))


@routes.post(f"{PAYMENT}/cancel")
@visiting()
def give_up(visit_id: UUID, invoice_id: UUID, payment_id: UUID) -> Any:  # noqa: ARG001
    """Give up a payment that waits for the customer, who wants to pay in another way."""
    read_body(Nothing)
    return cancels.cancel_payment(path=_path(invoice_id, payment_id))


def payable(session: Session, invoice_id: UUID) -> Invoice:
    """Return an invoice that can be paid.

    Raises:
        Problem: 404 for none, also a draft; 409 for one that is not open.
    """
    invoice = session.get(Invoice, invoice_id)
    if invoice is None or invoice.status is InvoiceStatus.DRAFT:
        raise Problem("not-found", "No such invoice.")
    if invoice.status is not InvoiceStatus.OPEN or invoice.due.amount <= 0:
        raise Problem("conflict", f"The invoice is {invoice.status}: nothing is to be paid.")
    return invoice


def _begun(session: Session, invoice: Invoice, way: Way) -> UUID | None:
    """Return the payment of what is due that the customer can go on with, in the way they want."""
    if way.payment_method_id is not None:
        return None
    latest = select(Transaction).where(Transaction.invoice_id == invoice.id)
    payment = session.scalars(latest.order_by(Transaction.id.desc()).limit(1)).one_or_none()
    if (under_way := open_of_invoice(session, invoice.id)) is not None:
        payment = session.get_one(Transaction, under_way)
    if payment is None or not _is_wanted(payment, way, invoice.due.amount):
        return None
    if is_closed(payment):
        return None
    return payment.id if resume_of(session, payment).why_not is None else None


def is_closed(payment: Transaction) -> bool:
    """Whether a payment is none of the caller's to go on with.

    A link to one invoice pays with no card that is kept, and the secret of an intent that has one
    would let its browser do that, and show the card.
    """
    return caller().invoice_id is not None and payment.payment_method_id is not None


def _is_wanted(payment: Transaction, way: Way, due: Decimal) -> bool:
    is_browsers = payment.status in (Status.REQUIRES_ACTION, Status.FAILED)
    is_same = payment.payment_method == Provider(way.provider) and payment.amount == due
    return is_browsers and is_same


def _path(invoice_id: UUID, payment_id: UUID) -> PaymentPath:
    """Return which payment; 404 for one of another invoice."""
    with transaction(company_id=caller().company_id) as session:
        payment = session.get(Transaction, payment_id)
        if payment is None or payment.invoice_id != invoice_id:
            raise Problem("not-found", "No such payment.")
    return PaymentPath(transaction_id=payment_id)
