"""Events for browsers: the specification's envelope.

`announce` owes the event in the caller's transaction; the task `events.publish` sends what a
company has owed, in order, through `worker.channels`. At least once, from the commit on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy.orm import Session

from models.base import CompanyOwned
from models.clock import now
from models.invoices import Invoice
from models.money import Money
from models.outbox import Owed, enqueue
from models.refunds import Refund
from models.timeline import note_push
from models.transactions import Transaction
from worker.channels import channels

# The specification's. `worker.presence` tells the last two as Redis learns of it, the others are
# owed here.
KINDS = (
    "invoice.created",
    "invoice.updated",
    "invoice.paid",
    "payment.started",
    "payment.succeeded",
    "payment.failed",
    "module.subscribed",
    "module.unsubscribed",
    "module.usage_alert",
    "system.alert",
    "user.online",
    "user.offline",
)
# Beside them, told to a tenant's operators alone (docs/import.md).
OURS = ("import.progressed",)


def announce(
    session: Session,
    kind: str,
    subject: CompanyOwned,
    /,
    *,
    user_id: UUID | None = None,
    **data: Any,
) -> None:
    """Owe the event `kind` about `subject`, whose company hears it.

    What one transaction announces to a company is one debt: it is heard together or not at all.

    Args:
        kind: one of KINDS or OURS, such as `payment.succeeded`.
        data: the payload; ids, amounts and times are turned into text.
    """
    owed = announce_to(session, subject.company_id, kind, user_id=user_id, **data)
    note_push(session, subject, kind, task_id=owed.id)


def announce_to(
    session: Session,
    company_id: UUID,
    kind: str,
    /,
    *,
    user_id: UUID | None = None,
    **data: Any,
) -> Owed:
    """Owe the event `kind` to who hears a company's channel, or a tenant's, whose operators do.

    Returns:
        The debt, which may hold other events of the transaction.
    """
    event = {
        "type": kind,
        "company_id": str(company_id),
        "timestamp": now().isoformat(),
        "data": {name: _plain(value) for name, value in data.items()},
    }
    if user_id is not None:
        event["user_id"] = str(user_id)
    announced: dict[UUID, Owed] = session.info.setdefault("announced", {})
    owed = announced.get(company_id)
    if owed is None:
        announced[company_id] = owed = enqueue(
            session, "events.publish", company_id=company_id, events=[event]
        )
    else:
        # A new list: SQLAlchemy does not see what is appended to the old one.
        owed.arguments = {"events": [*owed.arguments["events"], event]}
    return owed


def announce_payment(
    session: Session,
    kind: str,
    payment: Transaction,
    /,
    *,
    captured: Money | None = None,
    **more: Any,
) -> None:
    """Owe an event about a payment: of what was asked, or of what was captured where that is so.

    Args:
        more: what the kind has beside, such as why it failed.
    """
    money = captured or payment.money
    announce(
        session,
        kind,
        payment,
        transaction_id=payment.id,
        invoice_id=payment.invoice_id,
        amount=money.amount,
        currency=money.currency,
        **more,
    )


def announce_invoice(session: Session, kind: str, invoice: Invoice, /) -> None:
    """Owe an event about where an invoice stands."""
    announce(
        session,
        kind,
        invoice,
        invoice_id=invoice.id,
        number=invoice.number,
        amount=invoice.amount,
        amount_paid=invoice.amount_paid,
        currency=invoice.currency,
        status=str(invoice.status),
    )


def announce_refund(session: Session, payment: Transaction, refund: Refund, /) -> None:
    """Owe an event about where a refund of a payment stands."""
    announce(
        session,
        "invoice.updated",
        payment,
        invoice_id=payment.invoice_id,
        transaction_id=payment.id,
        refund_id=refund.id,
        refund_status=str(refund.status),
        amount_refunded=payment.amount_refunded,
        currency=payment.currency,
    )


def publish(events: Mapping[UUID, Sequence[Mapping[str, Any]]]) -> dict[UUID, Exception]:
    """Number, keep and publish these events of companies, each company's in order.

    Returns:
        The companies whose stream Redis refuses to write, with why.

    Raises:
        CacheAway: Redis is away; some or all may have been published.
    """
    messages = {
        str(company_id): list(map(orjson.dumps, several)) for company_id, several in events.items()
    }
    refused = channels().publish(messages)
    return {UUID(channel): error for channel, error in refused.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Decimal):
        return f"{value:.2f}"
    return value.isoformat() if hasattr(value, "isoformat") else value
