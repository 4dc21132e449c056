"""The stand-in's own events, delivered by hand: in any order, any number of times."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select

from models import invariants
from models.alerts import Alert
from models.disputes import Dispute
from models.ledger import Account, LedgerEntry
from models.outbox import enqueue
from models.refunds import Refund, refunds_of
from models.transactions import Transaction
from models.webhooks import PaymentWebhook, WebhookStatus
from tests.bell import ring
from tests.tasks.dunning_shop import Shop
from worker.database import transaction

Event = dict[str, Any]
TABLES = (Transaction, Refund, Dispute)


def events_of(shop: Shop, prefix: str) -> list[Event]:
    """What the provider has told of this kind, oldest first."""
    told = shop.sandbox.control.book()["events"]
    return [event for event in told if event["type"].startswith(prefix)]


def deliver(shop: Shop, events: Iterable[Event], *, works: bool = True) -> list[WebhookStatus]:
    """Hand events over as the endpoint and a worker do; return what became of each."""
    return [_deliver(shop, event, works=works) for event in events]


def _deliver(shop: Shop, event: Event, *, works: bool) -> WebhookStatus:
    with transaction() as session:
        known = select(PaymentWebhook.id).where(PaymentWebhook.provider_event_id == event["id"])
        identity = session.scalar(known)
        if identity is None:
            row = PaymentWebhook(
                event_type=event["type"],
                provider="stripe",
                provider_event_id=event["id"],
                payload=event,
            )
            session.add(row)
            session.flush()
            identity = row.id
        owed = enqueue(session, "webhooks.handle", event_id=identity)
    ring("webhooks.handle", owed.id)
    if works:
        shop.work()
    with transaction() as session:
        return session.get_one(PaymentWebhook, identity).status


def disputes_of(shop: Shop) -> list[Dispute]:
    with shop.session() as session:
        return list(session.scalars(select(Dispute).order_by(Dispute.id)))


def refunds_at(shop: Shop, payment_id: UUID) -> list[Refund]:
    with shop.session() as session:
        return refunds_of(session, payment_id)


def balance(shop: Shop, account: Account) -> Any:
    with shop.session() as session:
        entries = session.scalars(select(LedgerEntry).where(LedgerEntry.account == account))
        return sum(entry.amount for entry in entries)


def alerts_of(shop: Shop) -> list[tuple[str, bool]]:
    """The kinds of the company's alerts, and whether each is still open."""
    with shop.session() as session:
        query = select(Alert).where(Alert.company_id == shop.company_id).order_by(Alert.id)
        return [(alert.kind, alert.open_key is not None) for alert in session.scalars(query)]


def broken(shop: Shop) -> list[str]:
    """What does not hold of this company's rows."""
    with shop.session() as session:
        ids = {str(row.id) for kind in TABLES for row in session.scalars(select(kind))}
        ids |= {str(row.invoice_id) for row in session.scalars(select(Transaction))}
        found = invariants.check(session, limit=10_000, within=timedelta(hours=1))
    return [str(each) for each in found if any(identity in each.detail for identity in ids)]
