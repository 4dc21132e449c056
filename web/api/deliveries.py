"""What endpoints were told: messages, deliveries with their attempts, and sending again."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Response
from pydantic import BaseModel, Field
from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from models import deliveries
from models.clock import now
from models.deliveries import (
    DeliveryStatus,
    EndpointAttempt,
    EndpointDelivery,
    EndpointMessage,
)
from models.endpoints import Endpoint
from models.ids import new_id
from models.outbox import enqueue
from models.tenants import Permission
from web.api.endpoints import PREFIX, EndpointPath, find, theirs
from web.auth import allowed
from web.idempotency import Made, idempotent
from web.lists import answer_page
from web.problems import Problem
from web.routes import Input, Routes, respond
from web.schemas import Moment, PageQuery
from worker.database import transaction
from worker.outgoing import payloads

routes = Routes("deliveries", __name__, url_prefix=PREFIX)

# How many deliveries one request owes again.
MOST_RESENT = 1000


class DeliveriesQuery(PageQuery):
    """Which deliveries."""

    status: list[DeliveryStatus] = Field([], description="Any of these.")


class DeliveryPath(Input):
    """Which delivery."""

    delivery_id: UUID


class MessagesQuery(PageQuery):
    """Which messages."""

    type: str | None = Field(None, max_length=100, description="Such as `payment.failed`.")


class MessagePath(Input):
    """Which message."""

    message_id: UUID


class Resend(Input):
    """Which deliveries are to be made again: those of a time that failed or were canceled."""

    since: Moment
    until: Moment | None = None


class AttemptAnswer(BaseModel):
    """One attempt. One that has not ended is under way, or its worker has died."""

    number: int
    started_at: Moment
    ended_at: Moment | None
    status_code: int | None
    error: str | None
    duration_ms: int | None


class DeliveryAnswer(BaseModel):
    """A message that an endpoint is owed; `response` is how its last answer began."""

    id: UUID
    endpoint_id: UUID
    message_id: UUID
    webhook_id: str
    type: str
    status: DeliveryStatus
    attempts: int
    next_attempt_at: Moment | None
    status_code: int | None
    error: str | None
    response: str | None
    duration_ms: int | None
    delivered_at: Moment | None
    created_at: Moment


class OneDeliveryAnswer(DeliveryAnswer):
    """A delivery with what is sent and each attempt, the first one first."""

    payload: str
    made: list[AttemptAnswer]


class DeliveriesAnswer(BaseModel):
    """A page of deliveries, newest first."""

    data: list[DeliveryAnswer]
    next_cursor: str | None


class MessageAnswer(BaseModel):
    """An event as endpoints hear it."""

    id: UUID
    webhook_id: str
    type: str
    company_id: UUID | None
    created_at: Moment


class OneMessageAnswer(MessageAnswer):
    """A message, what is sent, and what became of it at each endpoint."""

    payload: str
    deliveries: list[DeliveryAnswer]


class MessagesAnswer(BaseModel):
    """A page of messages, newest first."""

    data: list[MessageAnswer]
    next_cursor: str | None


class ResentAnswer(BaseModel):
    """How many deliveries are owed again, and how many more there are: ask again for those."""

    resent: int
    left: int


_WITH_TYPE = joinedload(EndpointDelivery.message, innerjoin=True).defer(EndpointMessage.payload)


@routes.get("/<uuid:endpoint_id>/deliveries", responses={200: DeliveriesAnswer})
@allowed(Permission.ENDPOINTS_READ)
def list_deliveries(path: EndpointPath, query: DeliveriesQuery) -> Response:
    """List what an endpoint was told or is owed, newest first."""
    with transaction() as session:
        find(session, path.endpoint_id)
    wanted = (
        select(EndpointDelivery)
        .where(EndpointDelivery.endpoint_id == path.endpoint_id)
        .options(_WITH_TYPE)
    )
    if query.status:
        wanted = wanted.where(EndpointDelivery.status.in_(query.status))
    return answer_page(EndpointDelivery, wanted, query, _shown)


@routes.get("/deliveries/<uuid:delivery_id>", responses={200: OneDeliveryAnswer})
@allowed(Permission.ENDPOINTS_READ)
def read_delivery(path: DeliveryPath) -> Response:
    """Return a delivery with each attempt."""
    with transaction() as session:
        return respond(_whole(session, _find(session, path.delivery_id)))


@routes.post("/deliveries/<uuid:delivery_id>/resend", responses={202: OneDeliveryAnswer})
@allowed(Permission.ENDPOINTS_WRITE)
@idempotent()
def resend_delivery(session: Session, path: DeliveryPath) -> Made:
    """Send a message again, at once and then by the steps, under the same `webhook-id`.

    Also one that has arrived. 409 while it is being sent or its endpoint is disabled.
    """
    delivery = _find(session, path.delivery_id)
    endpoint = _sendable(session, delivery.endpoint_id)
    session.refresh(delivery, ["status"])
    if delivery.status is DeliveryStatus.DELIVERING:
        raise Problem("conflict", "It is being sent just now.")
    _owe_again(session, endpoint, [delivery.id])
    session.expire(delivery)
    return Made(_whole(session, _find(session, path.delivery_id)), status=202)


@routes.post("/<uuid:endpoint_id>/resend", responses={202: ResentAnswer})
@allowed(Permission.ENDPOINTS_WRITE)
@idempotent()
def resend_given_up(session: Session, path: EndpointPath, body: Resend) -> Made:
    """Send again what failed, or was canceled, since a time; the oldest 1,000 of it."""
    endpoint = _sendable(session, path.endpoint_id)
    wanted = deliveries.given_up_since(endpoint.id, body.since, body.until)
    number = session.scalar(select(func.count(EndpointDelivery.id)).where(*wanted)) or 0
    oldest = select(EndpointDelivery.id).where(*wanted).order_by(EndpointDelivery.id)
    ids = session.scalars(oldest.limit(MOST_RESENT)).all()
    _owe_again(session, endpoint, list(ids))
    return Made({"resent": len(ids), "left": number - len(ids)}, status=202)


@routes.post("/<uuid:endpoint_id>/test", responses={202: OneDeliveryAnswer})
@allowed(Permission.ENDPOINTS_WRITE)
@idempotent()
def test_endpoint(session: Session, path: EndpointPath) -> Made:
    """Send an endpoint an event `endpoint.test`, whatever its filter is."""
    endpoint = _sendable(session, path.endpoint_id)
    moment = now()
    event = {
        "type": payloads.TEST,
        "timestamp": moment.isoformat(),
        "company_id": None if endpoint.company_id is None else str(endpoint.company_id),
        "data": {"endpoint_id": str(endpoint.id)},
    }
    message = EndpointMessage(
        id=new_id(),
        tenant_id=endpoint.tenant_id,
        company_id=endpoint.company_id,
        source_id=new_id(),
        position=0,
        type=payloads.TEST,
        payload=payloads.written(event),
    )
    session.add(message)
    session.flush()
    [delivery] = deliveries.owe(session, message, [endpoint], moment=moment)
    session.flush()
    enqueue(session, "endpoints.deliver", endpoint_id=endpoint.id)
    return Made(_whole(session, _find(session, delivery.id)), status=202)


@routes.get("/messages", responses={200: MessagesAnswer})
@allowed(Permission.ENDPOINTS_READ)
def list_messages(query: MessagesQuery) -> Response:
    """List the events that endpoints were told of, newest first. They are kept for 30 days."""
    wanted = select(EndpointMessage).where(
        theirs(EndpointMessage.tenant_id, EndpointMessage.company_id)
    )
    if query.type is not None:
        wanted = wanted.where(EndpointMessage.type == query.type)
    return answer_page(EndpointMessage, wanted, query, _told)


@routes.get("/messages/<uuid:message_id>", responses={200: OneMessageAnswer})
@allowed(Permission.ENDPOINTS_READ)
def read_message(path: MessagePath) -> Response:
    """Return a message and what became of it at each endpoint that the caller sees."""
    with transaction() as session:
        message = session.scalars(
            select(EndpointMessage).where(
                EndpointMessage.id == path.message_id,
                theirs(EndpointMessage.tenant_id, EndpointMessage.company_id),
            )
        ).one_or_none()
        if message is None:
            raise Problem("not-found", "No such message.")
        made = session.scalars(
            select(EndpointDelivery)
            .join(Endpoint, Endpoint.id == EndpointDelivery.endpoint_id)
            .where(
                EndpointDelivery.message_id == message.id,
                theirs(Endpoint.tenant_id, Endpoint.company_id),
            )
            .options(_WITH_TYPE)
            .order_by(EndpointDelivery.id)
        ).all()
        whole = {"payload": message.payload, "deliveries": list(map(_shown, made))}
        return respond(_told(message) | whole)


def _find(session: Session, delivery_id: UUID) -> EndpointDelivery:
    found = session.scalars(
        select(EndpointDelivery)
        .join(Endpoint, Endpoint.id == EndpointDelivery.endpoint_id)
        .where(
            EndpointDelivery.id == delivery_id,
            theirs(Endpoint.tenant_id, Endpoint.company_id),
            Endpoint.deleted_at.is_(None),
        )
        .options(joinedload(EndpointDelivery.message, innerjoin=True))
        .execution_options(populate_existing=True)
    ).one_or_none()
    if found is None:
        raise Problem("not-found", "No such delivery.")
    return found


def _sendable(session: Session, endpoint_id: UUID) -> Endpoint:
    endpoint = find(session, endpoint_id, is_locked=True)
    if not endpoint.is_enabled:
        raise Problem("conflict", "The endpoint is disabled. Enable it first.")
    return endpoint


def _owe_again(session: Session, endpoint: Endpoint, ids: list[UUID]) -> None:
    if ids:
        deliveries.owe_again(session, ids, moment=now())
        enqueue(session, "endpoints.deliver", endpoint_id=endpoint.id)


def _shown(delivery: EndpointDelivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "endpoint_id": delivery.endpoint_id,
        "message_id": delivery.message_id,
        "webhook_id": payloads.message_name(delivery.message_id),
        "type": delivery.message.type,
        "status": delivery.status,
        "attempts": delivery.attempts,
        # Under way it is the end of a lease, which is nobody's business.
        "next_attempt_at": (
            delivery.next_attempt_at if delivery.status is DeliveryStatus.OWED else None
        ),
        "status_code": delivery.status_code,
        "error": delivery.error,
        "response": delivery.response,
        "duration_ms": delivery.duration_ms,
        "delivered_at": delivery.delivered_at,
        "created_at": delivery.created_at,
    }


def _whole(session: Session, delivery: EndpointDelivery) -> dict[str, Any]:
    made = deliveries.attempts_of(session, delivery.id)
    payload = delivery.message.payload
    return _shown(delivery) | {"payload": payload, "made": list(map(_attempt, made))}


def _attempt(attempt: EndpointAttempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "started_at": attempt.created_at,
        "ended_at": attempt.ended_at,
        "status_code": attempt.status_code,
        "error": attempt.error,
        "duration_ms": attempt.duration_ms,
    }


def _told(message: EndpointMessage) -> dict[str, Any]:
    return {
        "id": message.id,
        "webhook_id": payloads.message_name(message.id),
        "type": message.type,
        "company_id": message.company_id,
        "created_at": message.created_at,
    }
