"""A payment is begun: by a person, or by us with the method that the company has agreed to."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from models import cards
from models.clock import now
from models.dunning import latest
from models.invoices import Invoice
from models.methods import PaymentMethod, default_method
from models.money import InvalidAmount, check_taken
from models.outbox import enqueue
from models.timeline import Cause, note
from models.transactions import Provider, Transaction


def chargeable_method(session: Session, method_id: UUID | None) -> PaymentMethod | None:
    """Return what is charged without the customer: this method, else the default; None if neither.

    In the place of one that was replaced its successor is charged. It is held until the commit, so
    that it is not removed meanwhile; whoever goes on to lock the company has done so before.
    """
    own = latest(session, method_id)
    for each in (own, default_method(session)):
        method = _held(session, each)
        if method is not None:
            return method
    return None


def _held(session: Session, known: PaymentMethod | None) -> PaymentMethod | None:
    if known is None:
        return None
    held = {"read": True}
    method = session.get_one(PaymentMethod, known.id, with_for_update=held, populate_existing=True)
    if not method.is_active:
        return None
    declines = cards.declines_of(session, cards.card_of(method), moment=now())
    return None if declines.is_refused else method


def takes(method: PaymentMethod, amount: Decimal, currency: str) -> bool:
    """Whether the method's provider takes such money at all."""
    try:
        check_taken(amount, currency, method.provider)
    except InvalidAmount:
        return False
    return True


def open_payment(  # noqa: PLR0913  what a payment is made of
    session: Session,
    invoice: Invoice,
    *,
    amount: Decimal,
    provider: Provider,
    method: PaymentMethod | None,
    off_session: bool,
    because: Cause,
    user_id: UUID | None = None,
    details: dict[str, Any] | None = None,
) -> Transaction:
    """Make a payment of a locked invoice; whoever does owes `payments.charge`.

    Raises:
        IntegrityError: the invoice has another one under way.
    """
    payment = Transaction(
        company_id=invoice.company_id,
        invoice_id=invoice.id,
        user_id=user_id,
        amount=amount,
        currency=invoice.currency,
        payment_method=provider,
        payment_method_id=method.id if method else None,
        off_session=off_session,
    )
    if details is not None:
        payment.details = details
    session.add(payment)
    session.flush()
    note(session, payment, what="begun", because=because.but(f"{payment.money} asked for"))
    return payment


def collect(
    session: Session, invoice: Invoice, method: PaymentMethod | None, *, because: Cause
) -> Transaction | None:
    """Charge what is due of an invoice that this transaction has issued; None if it cannot be."""
    due = invoice.due.amount
    if method is None or due <= 0 or not takes(method, due, invoice.currency):
        return None
    payment = open_payment(
        session,
        invoice,
        amount=due,
        provider=Provider(method.provider),
        method=method,
        off_session=True,
        because=because,
        user_id=method.user_id,
    )
    enqueue(session, "payments.charge", transaction_id=payment.id)
    return payment
