"""Webhook events: what each type does. An event is a hint; only allowed moves are applied.

`STRIPE` names every type that is acted on; others are stored as ignored at the door. Final states
(succeeded, canceled) are applied from the event itself. Of the others the order cannot be known,
so where the event and the row disagree the object is fetched and believed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.base import COMPANY, across_companies
from models.clock import now
from models.outbox import Owed, OwedStatus, enqueue
from models.timeline import Cause, note
from models.transactions import (
    PaymentAttempt,
    Provider,
    Status,
    Transaction,
    lock_existing,
)
from models.webhooks import PaymentWebhook, WebhookStatus
from tasks import refunds, settlement
from worker import crash, telemetry
from worker.app import task
from worker.gateways.stripe.translate import id_of, intent_of, refund_of

log = logging.getLogger(__name__)

Body = Mapping[str, Any]
Handler = Callable[[Session, Transaction, Body, Cause], None]


class NotYet(Exception):
    """The event names a payment of ours that has no row yet; it is tried again, then parked."""


def _mark_failed(session: Session, owed: Owed, error: str) -> None:
    event = session.get(PaymentWebhook, UUID(owed.arguments["event_id"]), with_for_update=True)
    if event is None:
        return
    event.retry_count = owed.failures
    event.error_message = error
    event.next_retry_at = None if owed.status is OwedStatus.DEAD else owed.due_at
    event.status = (
        WebhookStatus.FAILED if owed.status is OwedStatus.DEAD else WebhookStatus.RECEIVED
    )


@task("webhooks.handle", on_failure=_mark_failed)
def handle(session: Session, cause: Cause, *, event_id: str) -> None:
    """Act on one stored event. Safe twice: the effect and its mark are one commit."""
    crash.point("webhook.before")
    event = session.get_one(PaymentWebhook, UUID(event_id), with_for_update=True)
    if event.status in (WebhookStatus.COMPLETED, WebhookStatus.IGNORED):
        return
    handler = STRIPE.get(event.event_type)
    payment = None
    if handler is not None:
        body = event.payload["data"]["object"]
        payment = _payment_of(session, body)
    if handler is None or payment is None:
        _finish(event, WebhookStatus.IGNORED)
        return
    with telemetry.bind(transaction_id=payment.id, company_id=payment.company_id):
        because = replace(cause, why=event.event_type, event_id=event.provider_event_id)
        # One flush at the end writes rows of a kind together.
        with session.no_autoflush:
            note(session, payment, what="event", because=because)
            handler(session, payment, body, because)
        event.company_id, event.transaction_id = payment.company_id, payment.id
        _finish(event, WebhookStatus.COMPLETED)
        session.flush()
    crash.point("webhook.applied")


def _finish(event: PaymentWebhook, status: WebhookStatus) -> None:
    event.status = status
    event.handled_at = now()
    event.error_message = event.next_retry_at = None
    telemetry.count(
        "webhooks.handled", provider=event.provider, type=event.event_type, outcome=str(status)
    )


def _payment_of(session: Session, body: Body) -> Transaction | None:
    """Return the payment that an object is about, locked, and turn the session to its company.

    Raises:
        NotYet: the object carries ids of ours, but the row is not there.
    """
    because = "an event tells whose it is only by the object that it names"
    metadata = body.get("metadata") or {}
    our_id, intent_id = _uuid(metadata.get("transaction_id")), _intent_of(body)
    found = None
    if our_id is not None:
        query = select(Transaction.id, Transaction.company_id).where(Transaction.id == our_id)
        found = session.execute(across_companies(query, because=because)).one_or_none()
    if found is None and intent_id:
        query = select(PaymentAttempt.transaction_id, PaymentAttempt.company_id).where(
            PaymentAttempt.provider == Provider.STRIPE, PaymentAttempt.provider_id == intent_id
        )
        found = session.execute(across_companies(query, because=because)).first()
    if found is None:
        if our_id is not None and _uuid(metadata.get("company_id")) is not None:
            raise NotYet(f"no payment {our_id} yet")
        return None
    session.info[COMPANY] = found.company_id
    return lock_existing(session, found[0])


def _intent_of(body: Body) -> str:
    if body.get("object") == "payment_intent":
        return str(body["id"])
    return id_of(body.get("payment_intent"))


def _uuid(text: object) -> UUID | None:
    try:
        return UUID(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _settle(session: Session, payment: Transaction, body: Body, cause: Cause) -> None:
    """Apply a final state as the event tells it."""
    intent = intent_of(body)
    attempt = settlement.attempt_behind(session, payment, intent)
    settlement.apply(session, payment, attempt, intent, cause=cause)


def _doubt(status: Status) -> Handler:
    """Return a handler for a state that is not final: fetch, if it would change anything."""

    def handler(session: Session, payment: Transaction, body: Body, cause: Cause) -> None:
        if payment.status == status or not payment.can_move_to(status):
            return
        enqueue(
            session,
            "lookups.refresh",
            transaction_id=payment.id,
            intent_id=str(body["id"]),
            why=cause.why,
        )

    return handler


def _refund(session: Session, payment: Transaction, body: Body, cause: Cause) -> None:
    """Apply a refund's state; one that is not ours was made in the dashboard."""
    answer = refund_of(body)
    refund = refunds.behind(session, answer) or refunds.adopt(session, payment, answer, cause=cause)
    refunds.apply(session, payment, refund, answer, cause=cause)


def _charge_refunded(session: Session, payment: Transaction, body: Body, cause: Cause) -> None:  # noqa: ARG001
    """The event has sums and no refunds: have them listed, if there are any that we lack."""
    enqueue(session, "refunds.collect", transaction_id=payment.id)


STRIPE: dict[str, Handler] = {
    "payment_intent.succeeded": _settle,
    "payment_intent.canceled": _settle,
    "payment_intent.payment_failed": _doubt(Status.FAILED),
    "payment_intent.requires_action": _doubt(Status.REQUIRES_ACTION),
    "payment_intent.processing": _doubt(Status.PROCESSING),
    "charge.refunded": _charge_refunded,
    "charge.refund.updated": _refund,
    "refund.created": _refund,
    "refund.updated": _refund,
    "refund.failed": _refund,
}
