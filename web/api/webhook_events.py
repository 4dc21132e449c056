"""Stored webhook events: what came, what became of it, and having it handled again."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Response
from pydantic import BaseModel, Field
from sqlalchemy import Select, true
from sqlalchemy.orm import Session

from models import replays
from models.operations import Action
from models.tenants import Permission
from models.webhooks import PaymentWebhook, WebhookStatus
from web.api.operations import PREFIX, ActAnswer, shown_acts, write_down
from web.api.replaying import Kind, ReplayAnswer, Several, waits
from web.auth import allowed
from web.lists import answer_page
from web.routes import Input, Routes, respond
from web.schemas import Moment, PageQuery, cause
from worker.database import transaction

routes = Routes("webhook_events", __name__, url_prefix=f"{PREFIX}/events")


class Narrowed(Input):
    """Which events."""

    provider: str | None = Field(None, max_length=50)
    type: str | None = Field(None, max_length=100, description="Such as `charge.refunded`.")
    status: WebhookStatus | None = None
    transaction_id: UUID | None = None


class EventsQuery(PageQuery, Narrowed):
    """Which page of which events."""


class EventPath(Input):
    """Which event."""

    event_id: UUID


class Replay(Several):
    """Which events to have handled again."""

    filter: Narrowed | None = None


class EventAnswer(BaseModel):
    """An event as it stands; what it said is not shown."""

    id: UUID
    provider: str
    type: str
    provider_event_id: str
    account: str
    status: WebhookStatus
    company_id: UUID | None
    transaction_id: UUID | None
    subject_id: UUID | None
    error: str | None
    failures: int
    received_at: Moment
    handled_at: Moment | None


class OneEventAnswer(EventAnswer):
    """An event, why it is put off if it is, and what operators did about it, oldest first."""

    waits: str | None
    acts: list[ActAnswer]


class EventsAnswer(BaseModel):
    """A page of events, newest first."""

    data: list[EventAnswer]
    next_cursor: str | None


@routes.get("", responses={200: EventsAnswer})
@allowed(Permission.OPERATIONS)
def list_events(query: EventsQuery) -> Response:
    """List stored webhook events, newest first."""
    return answer_page(PaymentWebhook, _narrowed(query), query, _shown)


@routes.get("/<uuid:event_id>", responses={200: OneEventAnswer})
@allowed(Permission.OPERATIONS)
def read_event(path: EventPath) -> Response:
    """Return one, with what operators did about it."""
    with transaction() as session:
        [event] = _EVENTS.find(session, [path.event_id])
        waits = replays.why_it_waits(session, event.id)
        return respond(_shown(event) | {"waits": waits, "acts": shown_acts(session, event.id)})


@routes.post("/replay", responses={200: ReplayAnswer})
@allowed(Permission.OPERATIONS)
@waits
def replay_events(body: Replay) -> Response:
    """Have stored events handled again by today's handlers, or tell what that would change.

    What was handled may be handled again: only moves that are allowed are made.
    """
    return _EVENTS.replay_some(body, _narrowed(body.filter or Narrowed.model_validate({})))


def _narrowed(by: Narrowed) -> Select[PaymentWebhook]:
    wanted = _EVENTS.theirs()
    for column, value in (
        (PaymentWebhook.provider, by.provider),
        (PaymentWebhook.event_type, by.type),
        (PaymentWebhook.status, by.status),
        (PaymentWebhook.transaction_id, by.transaction_id),
    ):
        if value is not None:
            wanted = wanted.where(column == value)
    return wanted


def _replay(session: Session, ids: list[UUID], note: str | None) -> list[UUID]:
    """Return which will be handled again; what is owed anyway is not among them."""
    done = []
    for event in _EVENTS.find(session, ids):
        because = cause("replayed by an operator")
        if replays.replay_event(session, event.id, cause=because) is None:
            continue
        write_down(
            session, Action.REPLAY, "event", event.id, company_id=event.company_id, note=note
        )
        done.append(event.id)
    return done


_EVENTS = Kind(
    PaymentWebhook,
    "event",
    "events",
    company_id=PaymentWebhook.company_id,
    shown=true(),
    due=PaymentWebhook.status.not_in(replays.IN_HAND),
    replay=_replay,
)


def _shown(event: PaymentWebhook) -> dict[str, Any]:
    return {
        "id": event.id,
        "provider": event.provider,
        "type": event.event_type,
        "provider_event_id": event.provider_event_id,
        "account": event.account,
        "status": event.status,
        "company_id": event.company_id,
        "transaction_id": event.transaction_id,
        "subject_id": event.subject_id,
        "error": event.error_message,
        "failures": event.retry_count,
        "received_at": event.created_at,
        "handled_at": event.handled_at,
    }
