"""Telling the tenants' own systems what happens, by the rules of Standard Webhooks.

endpoints.fan_out   what a channel has heard is owed to the endpoints that hear it
endpoints.deliver   send what is due to one endpoint, one message after another
endpoints.sweep     beat's ring: endpoints with something due are rung
endpoints.forget    beat's ring: old messages go

A delivery's row is its debt: `endpoints.deliver` only rings an endpoint's bell. Who is rung takes
a slot of the endpoint, of which there are few, and goes on until nothing is due; whoever finds no
slot free leaves it to those who have them. So a system that hangs holds its own slots and no more.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from models import clock, deliveries, endpoints
from models.base import COMPANY
from models.clock import now
from models.deliveries import (
    DeliveryStatus,
    EndpointAttempt,
    EndpointDelivery,
    EndpointMessage,
)
from models.endpoints import DisabledReason, Endpoint
from models.ids import new_id
from models.outbox import enqueue
from models.tenants import Company
from models.timeline import Cause
from schedules.deliveries import is_given_up, next_attempt_at
from worker import crash
from worker.app import Debt, calling_task, periodic, task
from worker.database import in_transaction
from worker.outgoing import disabling, payloads, signing
from worker.outgoing.sending import Reply, sender
from worker.settings import settings
from worker.tally import tally

log = logging.getLogger(__name__)

# Who has been at one endpoint for so long goes to the end of the queue: others wait too.
FAIR_S = 5.0
# Endpoints that one ring of beat's rings.
SWEPT = 200
# Of a process's threads, how many those endpoints may hold that only fail.
FAILING_AT_ONCE = 12
NO_OUTCOME = "no outcome was written down: the worker died"

_failing = threading.BoundedSemaphore(FAILING_AT_ONCE)


@dataclass(frozen=True)
class Shipment:
    """One attempt that has been written down, and what it takes to make it."""

    endpoint_id: UUID
    delivery_id: UUID
    message_id: UUID
    number: int
    url: str
    secrets: tuple[str, ...]
    body: bytes
    is_failing: bool
    # Not shown with the rest: an address may hold what its owner keeps secret.

    def __repr__(self) -> str:
        return f"Shipment(delivery_id={self.delivery_id}, number={self.number})"


def lease_s() -> float:
    """Return for how long an attempt is its worker's: for longer than it can take."""
    return 2 * settings().endpoints_timeout_s


@task("endpoints.fan_out")
def fan_out(session: Session, cause: Cause, *, announced: list[dict[str, Any]]) -> None:  # noqa: ARG001
    """Owe events to the endpoints that hear them. Safe twice: an event is known by its source.

    Args:
        announced: of each debt of publishing its `source_id` and its `events`.
    """
    channel, moment = session.info[COMPANY], now()
    hearing = endpoints.hearers(session, channel)
    if not hearing:
        return
    company = session.get(Company, channel)
    rung: dict[UUID, Endpoint] = {}
    for each in announced:
        source_id = UUID(each["source_id"])
        known = deliveries.known_positions(session, source_id)
        for position, event in enumerate(each["events"]):
            those = [endpoint for endpoint in hearing if endpoint.hears(event["type"])]
            if not those or position in known:
                continue
            message = EndpointMessage(
                id=new_id(),
                tenant_id=those[0].tenant_id,
                company_id=company.id if company is not None else None,
                source_id=source_id,
                position=position,
                type=event["type"],
                payload=payloads.written(event),
            )
            session.add(message)
            session.flush()
            deliveries.owe(session, message, those, moment=moment)
            rung.update({endpoint.id: endpoint for endpoint in those if endpoint.is_enabled})
    for endpoint_id in rung:
        enqueue(session, "endpoints.deliver", endpoint_id=endpoint_id)


@periodic("endpoints.sweep")
def sweep() -> None:
    """Ring endpoints with something due. Safe in any number of copies: bells do nothing."""
    for endpoint_id in in_transaction(_due, None):
        in_transaction(_ring, None, endpoint_id)


def _due(session: Session) -> list[UUID]:
    return deliveries.due_endpoints(session, moment=now(), limit=SWEPT)


def _ring(session: Session, endpoint_id: UUID) -> None:
    """Owe a run to an endpoint, if a slot of it is free: else who has them all goes on anyway."""
    endpoint = session.get(Endpoint, endpoint_id)
    if endpoint is not None and deliveries.next_due(session, endpoint, moment=now()):
        enqueue(
            session, "endpoints.deliver", company_id=endpoint.company_id, endpoint_id=endpoint_id
        )


@periodic("endpoints.forget")
def forget() -> None:
    """Delete what is a month old. Safe in any number of copies: age alone decides."""
    moment = now()
    while in_transaction(_forget, None, moment):
        pass


def _forget(session: Session, moment: datetime) -> int:
    return deliveries.forget_old(session, moment=moment)


def _claim(session: Session, debt: Debt, *, endpoint_id: str) -> Shipment | None:
    shipment = _next(session, UUID(endpoint_id))
    if shipment is None:
        debt.end(session)
    return shipment


def _next(session: Session, endpoint_id: UUID) -> Shipment | None:
    """Take what is due to an endpoint next, and write the attempt down; None if there is none.

    Whoever finds no slot free may go: those who have one look again when they are done.
    """
    endpoint, moment = endpoints.lock(session, endpoint_id), now()
    if endpoint is None:
        return None
    delivery = deliveries.next_due(session, endpoint, moment=moment)
    if delivery is None:
        return None
    if delivery.status is DeliveryStatus.DELIVERING:
        lost = deliveries.attempt_of(session, delivery.id, delivery.attempts)
        if lost is not None and lost.ended_at is None:
            lost.ended_at, lost.error = moment, NO_OUTCOME
    delivery.status = DeliveryStatus.DELIVERING
    delivery.attempts += 1
    # For how long it is ours; then somebody else may send it again.
    delivery.next_attempt_at = moment + timedelta(seconds=lease_s())
    session.add(EndpointAttempt(delivery_id=delivery.id, number=delivery.attempts))
    message = session.get_one(EndpointMessage, delivery.message_id)
    return Shipment(
        endpoint_id=endpoint.id,
        delivery_id=delivery.id,
        message_id=message.id,
        number=delivery.attempts,
        url=endpoint.url,
        secrets=endpoint.secrets_at(moment),
        body=message.payload.encode(),
        is_failing=endpoint.failing_since is not None,
    )


@calling_task("endpoints.deliver", claim=_claim)
def deliver(debt: Debt, first: Shipment) -> None:
    """Send what is due to an endpoint until nothing is. Safe twice: each attempt is claimed.

    A crash after sending sends again once the lease is over: at least once, under the same id.
    """
    shipment: Shipment | None = first
    leaves_at = time.monotonic() + FAIR_S
    while shipment is not None:
        is_held = shipment.is_failing
        if is_held and not _failing.acquire(blocking=False):
            in_transaction(_put_back, None, debt, shipment)
            return
        try:
            reply = _send(shipment)
        finally:
            if is_held:
                _failing.release()
        crash.point("endpoint.sent")
        stays = time.monotonic() < leaves_at
        shipment = in_transaction(_record, None, debt, shipment, reply, stays=stays)


def _send(shipment: Shipment) -> Reply:
    # The receiver compares it with its own clock, whatever the sandbox has made of ours.
    timestamp = int(clock.wall().timestamp())
    headers = signing.headers_of(
        shipment.secrets,
        message_id=payloads.message_name(shipment.message_id),
        timestamp=timestamp,
        body=shipment.body,
    )
    return sender().post(shipment.url, headers, shipment.body)


def _put_back(session: Session, debt: Debt, shipment: Shipment) -> None:
    """Leave it for later: too many endpoints that only fail are being tried now."""
    endpoints.lock(session, shipment.endpoint_id)
    delivery = session.get_one(EndpointDelivery, shipment.delivery_id)
    attempt = deliveries.attempt_of(session, delivery.id, shipment.number)
    if delivery.status is DeliveryStatus.DELIVERING and delivery.attempts == shipment.number:
        delivery.status, delivery.next_attempt_at = DeliveryStatus.OWED, now()
        delivery.attempts -= 1
        if attempt is not None:
            session.delete(attempt)
    debt.end(session)


def _record(
    session: Session,
    debt: Debt,
    shipment: Shipment,
    reply: Reply,
    *,
    stays: bool,
) -> Shipment | None:
    """Write down what became of an attempt, and take the next; None where the run ends."""
    endpoint, moment = endpoints.lock(session, shipment.endpoint_id), now()
    delivery = session.get_one(EndpointDelivery, shipment.delivery_id)
    attempt = deliveries.attempt_of(session, delivery.id, shipment.number)
    if endpoint is None or attempt is None:
        debt.end(session)
        return None
    attempt.ended_at, attempt.duration_ms = moment, reply.duration_ms
    attempt.status_code, attempt.error = reply.status_code, reply.error
    is_ours = delivery.status is DeliveryStatus.DELIVERING and delivery.attempts == shipment.number
    # A success counts also of an attempt that was given up for dead.
    if is_ours or (reply.is_good and delivery.status is not DeliveryStatus.DELIVERED):
        _settle(delivery, reply, moment)
    if endpoint.url == shipment.url:
        _judge(session, endpoint, reply, moment)
    outcome = "delivered" if reply.is_good else "failed"
    tally(session, "endpoints.attempts", outcome=outcome)
    session.flush()
    following = _next(session, endpoint.id) if stays else None
    if following is None:
        debt.end(session)
        if not stays and deliveries.next_due(session, endpoint, moment=moment):
            enqueue(session, "endpoints.deliver", endpoint_id=endpoint.id)
    return following


def _settle(delivery: EndpointDelivery, reply: Reply, moment: datetime) -> None:
    delivery.status_code, delivery.error = reply.status_code, reply.error
    delivery.response, delivery.duration_ms = reply.excerpt, reply.duration_ms
    delivery.next_attempt_at = None
    if reply.is_good:
        delivery.status, delivery.delivered_at = DeliveryStatus.DELIVERED, moment
        return
    delivery.tries += 1
    delivery.next_attempt_at = next_attempt_at(
        delivery.tries,
        last=moment,
        spread=random.random(),  # noqa: S311  no secret: it keeps two apart
        asked_s=reply.retry_after_s,
    )
    is_over = delivery.next_attempt_at is None
    delivery.status = DeliveryStatus.FAILED if is_over else DeliveryStatus.OWED


def _judge(session: Session, endpoint: Endpoint, reply: Reply, moment: datetime) -> None:
    """Learn from an attempt how the endpoint is; disable one that is gone or given up."""
    if reply.is_good:
        if not endpoint.is_proven or endpoint.failing_since is not None:
            endpoint.is_proven = True
            endpoint.forget_failures()
        return
    endpoint.failures += 1
    endpoint.failing_since = endpoint.failing_since or moment
    if not endpoint.is_enabled:
        return
    if reply.status_code == 410:  # noqa: PLR2004  Gone
        disabling.give_up(session, endpoint, DisabledReason.GONE, moment=moment)
    elif is_given_up(
        failing_since=endpoint.failing_since, failures=endpoint.failures, moment=moment
    ):
        disabling.give_up(session, endpoint, DisabledReason.FAILING, moment=moment)
