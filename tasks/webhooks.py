"""Webhook events: what has come is handed to the handler of its type, one commit an event.

`HANDLERS` names every type that is acted on; others are stored as ignored at the door.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from sqlalchemy.orm import Session

from models import locks
from models.clock import now
from models.outbox import Owed, OwedStatus
from models.timeline import Cause
from models.webhooks import PaymentWebhook, WebhookStatus
from tasks import method_events, payment_events
from tasks.handlers import Body, Handler, Hold
from worker import crash, telemetry
from worker.app import task

log = logging.getLogger(__name__)

DONE = (WebhookStatus.COMPLETED, WebhookStatus.IGNORED)
HANDLERS: dict[str, dict[str, Handler]] = {
    "stripe": {**payment_events.STRIPE, **method_events.STRIPE},
}


def _handler_of(event: PaymentWebhook) -> Handler | None:
    return HANDLERS[event.provider].get(event.event_type)


def _body_of(event: PaymentWebhook) -> Body:
    """Return the object that an event tells of, as it then was."""
    body: Body = event.payload["data"]["object"]
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
    handler = _handler_of(event)
    because = replace(cause, why=event.event_type, event_id=event.provider_event_id)
    about = handler.act(session, _body_of(event), because) if handler else None
    if about is None:
        _finish(event, WebhookStatus.IGNORED)
        return
    event.company_id, event.transaction_id = about.company_id, about.transaction_id
    event.subject_id = about.subject_id
    _finish(event, WebhookStatus.COMPLETED)
    crash.point("webhook.applied")


def _finish(event: PaymentWebhook, status: WebhookStatus) -> None:
    event.status = status
    event.handled_at = now()
    event.error_message = event.next_retry_at = None
    telemetry.count(
        "webhooks.handled", provider=event.provider, type=event.event_type, outcome=str(status)
    )
