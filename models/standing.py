"""Where a subscription stands by its invoices and their payments."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.invoices import Invoice, InvoiceStatus
from models.subscriptions import Subscription, SubscriptionStatus
from models.transactions import OPEN, Dunning, Status, Transaction
from schedules.periods import at_wall

_LEAST = 9  # the rank of what nothing follows from
_GIVEN_UP = (Dunning.STOPPED, Dunning.EXHAUSTED)


@dataclass(frozen=True)
class Standing:
    """What its invoices say of a subscription.

    Attributes:
        status: None while a payment is under way that will tell.
        overdue_at: when the first of the open invoices will be overdue that is not so yet.
    """

    status: SubscriptionStatus | None
    why: str
    overdue_at: datetime | None = None


def overdue_at(invoice: Invoice, zone: str) -> datetime | None:
    """Return the end of the day on which an invoice is due, where the company is."""
    if invoice.due_on is None:
        return None
    return at_wall(datetime.combine(invoice.due_on + timedelta(days=1), time()), zone)


def standing_of(session: Session, subscription: Subscription, *, moment: datetime) -> Standing:
    """Return where a locked subscription stands by what is not paid of it."""
    invoices = _unpaid(session, subscription)
    latest = _latest_payments(session, invoices)
    told: list[tuple[int, SubscriptionStatus | None, str]] = []
    ahead = []
    for invoice in invoices:
        ends_at = overdue_at(invoice, subscription.time_zone)
        payment = latest.get(invoice.id)
        is_overdue = ends_at is not None and ends_at <= moment
        if ends_at is not None and not is_overdue:
            ahead.append(ends_at)
        told.append(_of_one(invoice, payment, is_overdue=is_overdue))
    all_paid = (_LEAST, SubscriptionStatus.ACTIVE, "all is paid")
    _, status, why = min(told, key=lambda each: each[0], default=all_paid)
    return Standing(status, why, min(ahead, default=None))


def _of_one(
    invoice: Invoice, payment: Transaction | None, *, is_overdue: bool
) -> tuple[int, SubscriptionStatus | None, str]:
    """Return what one invoice says, the gravest first."""
    failed = payment is not None and payment.status == Status.FAILED
    if invoice.status == InvoiceStatus.UNCOLLECTIBLE:
        return 0, SubscriptionStatus.UNPAID, f"{invoice.number} was written off"
    if failed and payment is not None and payment.dunning in _GIVEN_UP:
        return 1, SubscriptionStatus.UNPAID, f"{invoice.number} is tried no more"
    if failed:
        return 2, SubscriptionStatus.PAST_DUE, f"a payment of {invoice.number} was declined"
    if payment is not None and payment.status in OPEN:
        return 4, None, "a payment is under way"
    if is_overdue:
        return 3, SubscriptionStatus.PAST_DUE, f"{invoice.number} is overdue"
    return 5, SubscriptionStatus.ACTIVE, "nothing is overdue"


def _unpaid(session: Session, subscription: Subscription) -> list[Invoice]:
    return list(
        session.scalars(
            select(Invoice).where(
                Invoice.subscription_id == subscription.id,
                Invoice.status.in_((InvoiceStatus.OPEN, InvoiceStatus.UNCOLLECTIBLE)),
            )
        )
    )


def _latest_payments(session: Session, invoices: list[Invoice]) -> dict[object, Transaction]:
    if not invoices:
        return {}
    payments = session.scalars(
        select(Transaction)
        .where(Transaction.invoice_id.in_([invoice.id for invoice in invoices]))
        .order_by(Transaction.id)
    )
    return {payment.invoice_id: payment for payment in payments}
