"""Webhook events: what each type does. An event is a hint; only allowed moves are applied.

`STRIPE` names every type that is acted on; others are stored as ignored at the door. Final states
(succeeded, canceled) are applied from the event itself. Of the others the order cannot be known,
so where the event and the row disagree the object is fetched and believed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from models import locks
from models.base import across_companies, turn_to
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


DONE = (WebhookStatus.COMPLETED, WebhookStatus.IGNORED)


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


def _hold(session: Session, owed: Sequence[Owed]) -> None:
    """Lock the events of several tasks, and the payments and invoices that they are about."""
    events = locks.lock_all(
        session, PaymentWebhook, [UUID(each.arguments["event_id"]) for each in owed]
    )
    bodies = [
        event.payload["data"]["object"]
        for event in events.values()
        if event.status not in DONE and event.event_type in STRIPE
    ]
    ours = {str(body["id"]): our_id for body in bodies if (our_id := _our_id_in(body))}
    others = _find_all(session, [body for body in bodies if str(body["id"]) not in ours])
    payments = locks.lock_all(
        session,
        Transaction,
        [*ours.values(), *(where.transaction_id for where in others.values())],
        options=[selectinload(Transaction.attempts)],
        along=Transaction.invoice,
    )
    session.info[_FOUND] = others | {
        name: Whereabouts(payment.id, payment.company_id)
        for name, our_id in ours.items()
        if (payment := payments.get(our_id)) is not None
    }


@task("webhooks.handle", on_failure=_mark_failed, hold=_hold)
def handle(session: Session, cause: Cause, *, event_id: str) -> None:
    """Act on one stored event. Safe twice: the effect and its mark are one commit."""
    crash.point("webhook.before")
    event = locks.lock_existing(session, PaymentWebhook, UUID(event_id))
    if event.status in DONE:
        return
    handler = STRIPE.get(event.event_type)
    payment = None
    if handler is not None:
        body = event.payload["data"]["object"]
        payment = _payment_of(session, body, cause)
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
    crash.point("webhook.applied")


def _finish(event: PaymentWebhook, status: WebhookStatus) -> None:
    event.status = status
    event.handled_at = now()
    event.error_message = event.next_retry_at = None
    telemetry.count(
        "webhooks.handled", provider=event.provider, type=event.event_type, outcome=str(status)
    )


class Whereabouts(NamedTuple):
    """A payment and whose it is."""

    transaction_id: UUID
    company_id: UUID


def _payment_of(session: Session, body: Body, cause: Cause) -> Transaction | None:
    """Return the payment that an object is about, locked, and turn the session to its company.

    Raises:
        NotYet: the object carries ids of ours, but the row is not there.
    """
    known: dict[str, Whereabouts] = session.info.get(_FOUND, {})
    name = str(body["id"])
    found = known.get(name) or _find_all(session, [body]).get(name)
    if found is None:
        metadata = body.get("metadata") or {}
        if _uuid(metadata.get("transaction_id")) and _uuid(metadata.get("company_id")):
            raise NotYet(f"no payment {metadata['transaction_id']} yet")
        return None
    turn_to(session, found.company_id, request_id=cause.request_id)
    return lock_existing(session, found.transaction_id)


_FOUND = "payments_of_events"


def _find_all(session: Session, bodies: Sequence[Body]) -> dict[str, Whereabouts]:
    """Return whose payments these objects are about, by the object's id: by our id, else theirs."""
    because = "an event tells whose it is only by the object that it names"
    ours = {str(body["id"]): _our_id_in(body) for body in bodies}
    theirs = {str(body["id"]): _intent_of(body) for body in bodies}
    by_id: dict[UUID, Whereabouts] = {}
    if wanted := {our_id for our_id in ours.values() if our_id}:
        query = select(Transaction.id, Transaction.company_id).where(Transaction.id.in_(wanted))
        rows = session.execute(across_companies(query, because=because))
        by_id = {identity: Whereabouts(identity, company) for identity, company in rows}
    found = {each: by_id[our_id] for each, our_id in ours.items() if our_id in by_id}
    by_intent: dict[str, Whereabouts] = {}
    if intents := {intent for each, intent in theirs.items() if intent and each not in found}:
        attempts = select(
            PaymentAttempt.provider_id, PaymentAttempt.transaction_id, PaymentAttempt.company_id
        ).where(PaymentAttempt.provider == Provider.STRIPE, PaymentAttempt.provider_id.in_(intents))
        attempts_found = session.execute(across_companies(attempts, because=because))
        by_intent = {
            intent: Whereabouts(identity, company)
            for intent, identity, company in attempts_found
            if intent
        }
    return {
        each: by_intent[intent] for each, intent in theirs.items() if intent in by_intent
    } | found


def _our_id_in(body: Body) -> UUID | None:
    return _uuid((body.get("metadata") or {}).get("transaction_id"))


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
    attempt = settlement.attempt_behind(payment, intent)
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
            event_id=cause.event_id,
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
