"""Bank transfers: recorded by an operator against an invoice, and taken back."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import BaseModel, StringConstraints
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models import bank_transfers, dunning, invoices, refunds, transactions
from models.clock import now
from models.invoices import Invoice, InvoiceStatus
from models.money import InvalidAmount, Money, amount_of
from models.tenants import Company, Permission
from models.transactions import Provider, Status, Transaction
from web.api.payments import PREFIX, PaymentPath, refuse_second
from web.auth import allowed, caller
from web.idempotency import Made, idempotent
from web.problems import DUPLICATE, Problem, invalid, unavailable
from web.routes import Input, Routes
from web.schemas import WRITTEN, Amount, Currency, Day, Exact, Moment, cause
from worker import billing
from worker.database import error_number, transaction
from worker.events import announce_invoice, announce_payment, announce_refund

routes = Routes("bank_transfers", __name__, url_prefix="/api/v1")

PAYABLE = (InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE)
# A day may have begun where the bank is, and not yet by UTC.
AHEAD = timedelta(days=1)
# What is entered as older is a slip of the pen: books of that age are closed.
OLDEST = timedelta(days=2 * 366)
# As banks write them; SEPA's unstructured reference is the longest in common use.
Reference = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=140,
        pattern=r"^[^\x00-\x1f\x7f]+$",
    ),
]
Why = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=WRITTEN),
]


class NewTransfer(Input):
    """A transfer that has come."""

    amount: Exact
    currency: Currency
    reference: Reference
    received_on: Day


class Reversal(Input):
    """Why a record was a mistake."""

    reason: Why


class InvoicePath(Input):
    """Which invoice."""

    invoice_id: UUID


class TransferAnswer(BaseModel):
    """A payment by bank transfer, and where its invoice stands."""

    transaction_id: UUID
    invoice_id: UUID
    status: Status
    amount: Amount
    amount_refunded: Amount
    currency: str
    reference: str
    received_on: date
    invoice_status: InvoiceStatus
    amount_due: Amount
    created_at: Moment


@routes.post("/invoices/<uuid:invoice_id>/bank-transfers", responses={201: TransferAnswer})
@allowed(Permission.OPERATIONS)
@idempotent()
def record_transfer(session: Session, path: InvoicePath, body: NewTransfer) -> Made:
    """Record a bank transfer that has come for an invoice; it has succeeded at once.

    What the ladder had scheduled for the invoice is cleared once it is paid.
    """
    received_on = _day(body)
    because = cause(f"bank transfer {body.reference}")
    _stop_the_ladder(session, path.invoice_id, body)
    invoice = _payable(session, path.invoice_id)
    money = _money(body, invoice)
    try:
        payment = bank_transfers.record(
            session,
            invoice,
            money,
            reference=body.reference,
            received_on=received_on,
            because=because,
        )
    except IntegrityError as error:
        if error_number(error) == DUPLICATE:
            raise _duplicate(body.reference) from None
        raise
    billing.close_oversized(session, invoice)
    billing.receipt(session, payment, paid_at=_noon(session, payment.company_id, received_on))
    _announce(session, payment, invoice)
    return Made(_shown(payment, invoice), location=f"{PREFIX}/{payment.id}")


def _day(body: NewTransfer) -> date:
    today = now().date()
    if body.received_on > today + AHEAD:
        raise invalid("received_on", "has not come yet")
    if body.received_on < today - OLDEST:
        raise invalid("received_on", "is more than two years ago")
    return body.received_on


def _noon(session: Session, company_id: UUID, day: date) -> datetime:
    """Return a time of that day, whichever zone its company is in."""
    zone = ZoneInfo(session.get_one(Company, company_id).time_zone)
    return datetime.combine(day, time(12), tzinfo=zone)


def _stop_the_ladder(session: Session, invoice_id: UUID, body: NewTransfer) -> None:
    """Clear what is scheduled if this pays the invoice. Payments are locked before invoices."""
    invoice = session.get(Invoice, invoice_id)
    if invoice is not None and body.amount >= invoice.due.amount:
        dunning.clear_schedules(session, invoice_id, because=cause("paid by bank transfer"))


def _payable(session: Session, invoice_id: UUID) -> Invoice:
    invoice = invoices.lock(session, invoice_id)
    if invoice is None:
        raise Problem("not-found", "No such invoice.")
    if invoice.status not in PAYABLE:
        raise Problem("conflict", f"The invoice is {invoice.status}: nothing is to be paid.")
    refuse_second(session, invoice.id)
    return invoice


def _money(body: NewTransfer, invoice: Invoice) -> Money:
    if body.currency != invoice.currency:
        raise invalid("currency", f"is not the invoice's, which is {invoice.currency}")
    try:
        amount = amount_of(body.amount, invoice.currency)
    except InvalidAmount as error:
        raise invalid("amount", str(error)) from None
    if amount > invoice.due.amount:
        raise invalid("amount", f"is more than the {invoice.due} that is due; record no more")
    return Money(amount, invoice.currency)


def _duplicate(reference: str) -> Problem:
    """Return why a transfer could not be entered, after its transaction was given up."""
    company_id = caller().company_id
    with transaction(company_id=company_id) as session:
        known = bank_transfers.recorded_as(session, company_id, reference)
    if known is None:
        return unavailable("Another payment of the invoice has just begun or ended.")
    return Problem(
        "conflict",
        f"A transfer of this reference is recorded already: {known}.",
        extra={"transaction_id": str(known)},
        headers={"Location": f"{PREFIX}/{known}"},
    )


@routes.post("/payments/<uuid:transaction_id>/reverse", responses={201: TransferAnswer})
@allowed(Permission.OPERATIONS)
@idempotent()
def reverse_transfer(session: Session, path: PaymentPath, body: Reversal) -> Made:
    """Undo a bank transfer that was recorded by mistake: its invoice is due again."""
    payment = transactions.lock(session, path.transaction_id)
    if payment is None:
        raise Problem("not-found", "No such payment.")
    if payment.payment_method != Provider.BANK_TRANSFER:
        told = f"The payment was made with {payment.payment_method}: refund it instead."
        raise Problem("conflict", told)
    if payment.status != Status.SUCCEEDED or refunds.taken(session, payment.id):
        raise Problem("conflict", f"The payment is {payment.status}: money of it has gone back.")
    invoice = invoices.lock(session, payment.invoice_id)
    if invoice is None or invoice.status == InvoiceStatus.VOID:
        raise Problem("conflict", "The invoice is void.")
    refund = bank_transfers.reverse(session, payment, because=cause(body.reason))
    announce_refund(session, payment, refund)
    announce_invoice(session, "invoice.updated", invoice)
    return Made(_shown(payment, invoice), location=f"{PREFIX}/{payment.id}")


def _announce(session: Session, payment: Transaction, invoice: Invoice) -> None:
    announce_payment(session, "payment.succeeded", payment)
    is_paid = invoice.status == InvoiceStatus.PAID
    announce_invoice(session, "invoice.paid" if is_paid else "invoice.updated", invoice)


def _shown(payment: Transaction, invoice: Invoice) -> dict[str, Any]:
    details = payment.details or {}
    return {
        "transaction_id": payment.id,
        "invoice_id": payment.invoice_id,
        "status": payment.status,
        "amount": payment.amount,
        "amount_refunded": payment.amount_refunded,
        "currency": payment.currency,
        "reference": details["reference"],
        "received_on": details["received_on"],
        "invoice_status": invoice.status,
        "amount_due": invoice.due.amount,
        "created_at": payment.created_at,
    }
