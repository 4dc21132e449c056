"""Webhook events: what has come is handed to the handler of its type, one commit an event.

`HANDLERS` names every type that is acted on; others are stored as ignored at the door.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import cast
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import locks
from models.alerts import Severity
from models.clock import now
from models.outbox import Owed, OwedStatus, enqueue
from models.timeline import Cause
from models.webhooks import PaymentWebhook, WebhookStatus
from tasks import (
    dispute_events,
    mail_events,
    method_events,
    payment_events,
    paypal_events,
    subscription_events,
)
from tasks.handlers import Body, Handler, Hold
from worker import crash
from worker.alerts import alert
from worker.app import Debt, calling_task, task
from worker.database import in_transaction
from worker.gateways.paypal.verification import check
from worker.intake import VERIFYING
from worker.settings import settings
from worker.signatures import Refused
from worker.tally import tally

log = logging.getLogger(__name__)

DONE = (WebhookStatus.COMPLETED, WebhookStatus.IGNORED, WebhookStatus.REFUSED)
# Begins the account of what was refused, so that the true event with its id has its place.
FORGED = "forged:"
HANDLERS: dict[str, dict[str, Handler]] = {
    "stripe": {
        **payment_events.STRIPE,
        **method_events.STRIPE,
        **dispute_events.STRIPE,
        **subscription_events.STRIPE,
    },
    "paypal": {**paypal_events.PAYPAL},
    "sendgrid": {**mail_events.SENDGRID},
}


def _handler_of(event: PaymentWebhook) -> Handler | None:
    return HANDLERS[event.provider].get(event.event_type)


def _body_of(event: PaymentWebhook) -> Body:
    """Return the object that an event tells of, as it then was."""
    payload = event.payload
    if event.provider == "sendgrid":
        return cast("Body", payload)
    body: Body = payload["data"]["object"] if event.provider == "stripe" else payload["resource"]
    return body


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
    """Lock the events of several tasks, and what they are about."""
    events = locks.lock_all(
        session, PaymentWebhook, [UUID(each.arguments["event_id"]) for each in owed]
    )
    bodies: dict[Hold, list[Body]] = {}
    for event in events.values():
        handler = _handler_of(event)
        if event.status not in DONE and handler is not None and handler.hold is not None:
            bodies.setdefault(handler.hold, []).append(_body_of(event))
    for hold, several in bodies.items():
        hold(session, several)


@task("webhooks.handle", on_failure=_mark_failed, hold=_hold)
def handle(session: Session, cause: Cause, *, event_id: str) -> None:
    """Act on one stored event. Safe twice: the effect and its mark are one commit."""
    crash.point("webhook.before")
    event = locks.lock_existing(session, PaymentWebhook, UUID(event_id))
    if event.status in DONE:
        return
    if not event.is_vouched_for:
        enqueue(session, VERIFYING, event_id=event.id)
        return
    _act(session, event, cause)
    crash.point("webhook.applied")


def _act(session: Session, event: PaymentWebhook, cause: Cause) -> None:
    """Hand a locked event to the handler of its type."""
    handler = _handler_of(event)
    because = replace(cause, why=event.event_type, event_id=event.provider_event_id)
    about = handler.act(session, _body_of(event), because) if handler else None
    if about is None:
        _finish(session, event, WebhookStatus.IGNORED)
        return
    event.company_id, event.transaction_id = about.company_id, about.transaction_id
    event.subject_id = about.subject_id
    _finish(session, event, WebhookStatus.COMPLETED)


@dataclass(frozen=True)
class Unverified:
    """An event that anybody may have sent."""

    event_id: UUID
    provider: str
    body: bytes
    headers: dict[str, str]
    received_at: datetime


def _claim_unverified(session: Session, debt: Debt, *, event_id: str) -> Unverified | None:
    event = locks.lock_existing(session, PaymentWebhook, UUID(event_id))
    if event.status in DONE or event.raw_body is None:
        debt.end(session)
        return None
    return Unverified(
        event.id, event.provider, event.raw_body, event.headers or {}, event.created_at
    )


@calling_task(VERIFYING, claim=_claim_unverified, on_failure=_mark_failed)
def verify(debt: Debt, unverified: Unverified) -> None:
    """Find out whether the provider sent an event; only then act on it.

    Safe twice: what has been acted on is left alone. A certificate that cannot be fetched is a
    failure, and it is tried again.
    """
    try:
        check(
            unverified.body,
            unverified.headers,
            webhook_id=settings().paypal_webhook_id,
            at=unverified.received_at,
        )
    except Refused as refusal:
        in_transaction(_refuse, None, debt, unverified.event_id, str(refusal))
    else:
        in_transaction(_act_verified, None, debt, unverified.event_id)


def _act_verified(session: Session, debt: Debt, event_id: UUID) -> None:
    debt.end(session)
    event = locks.lock_existing(session, PaymentWebhook, event_id)
    if event.status in DONE:
        return
    event.verified_at = now()
    if event.account.startswith(FORGED):
        if _has_come(session, event):
            _finish(session, event, WebhookStatus.IGNORED)
            return
        event.account = ""
    _act(session, event, debt.cause(VERIFYING))
    crash.point("webhook.applied")


def _has_come(session: Session, refused: PaymentWebhook) -> bool:
    """Whether an event that was refused, and is found good after all, has come by another way."""
    same = select(PaymentWebhook.id).where(
        PaymentWebhook.provider == refused.provider,
        PaymentWebhook.account == "",
        PaymentWebhook.provider_event_id == refused.provider_event_id,
    )
    return session.scalar(same) is not None


def _refuse(session: Session, debt: Debt, event_id: UUID, why: str) -> None:
    """Keep a forged event for people to see; the event whose id it bears may still come."""
    debt.end(session)
    event = locks.lock_existing(session, PaymentWebhook, event_id)
    if event.status in DONE:
        return
    _finish(session, event, WebhookStatus.REFUSED)
    event.account = f"{FORGED}{event.id.hex}"
    event.error_message = f"Refused: {why}"
    alert(
        session,
        "webhook_refused",
        severity=Severity.WARNING,
        open_key=f"webhook_refused:{event.provider}",
        message=f"An event in {event.provider}'s name was refused: {why} Somebody forges events, "
        "or the webhook's id in the settings is wrong.",
    )


def _finish(session: Session, event: PaymentWebhook, status: WebhookStatus) -> None:
    event.status = status
    event.handled_at = now()
    event.error_message = event.next_retry_at = None
    tally(
        session,
        "webhooks.handled",
        provider=event.provider,
        type=event.event_type,
        outcome=str(status),
    )
