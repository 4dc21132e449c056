"""Deliveries: what endpoints are owed, and what became of it.

A message is an event as it is sent, made once. A delivery is a message that an endpoint is owed;
its row is the debt, and its attempts are written down one by one, each before it is made.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    String,
    UniqueConstraint,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.dialects.mysql import MEDIUMTEXT
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from models.base import Base, Changing, words
from models.endpoints import DisabledReason, Endpoint, EndpointStatus

# How long a message and what became of it is kept.
KEPT = timedelta(days=30)
MOST_EXCERPT = 1024
MOST_ERROR = 500


class DeliveryStatus(StrEnum):
    """Where a delivery stands. Canceled: its endpoint was disabled or deleted meanwhile."""

    OWED = "owed"
    DELIVERING = "delivering"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELED = "canceled"


# What is yet to be sent.
PENDING = (DeliveryStatus.OWED, DeliveryStatus.DELIVERING)
# What may be sent again when somebody asks.
GIVEN_UP = (DeliveryStatus.FAILED, DeliveryStatus.CANCELED)


class EndpointMessage(Base):
    """An event as endpoints hear it, to the byte. Its id is what receivers know a copy by.

    `source_id` is the debt by which the event was announced, `position` its place in it: made a
    second time it is the same.
    """

    __tablename__ = "endpoint_messages"
    __table_args__ = (
        UniqueConstraint("source_id", "position"),
        Index("idx_endpoint_messages_tenant_id", "tenant_id", "id"),
        Index("idx_endpoint_messages_company_id", "company_id", "id"),
        Index("idx_endpoint_messages_created_at", "created_at"),
        {"info": {"company_owned": False}},
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"))
    company_id: Mapped[UUID | None]
    source_id: Mapped[UUID]
    position: Mapped[int] = mapped_column(Integer)
    type: Mapped[str] = mapped_column(String(100))
    payload: Mapped[str] = mapped_column(MEDIUMTEXT)


class EndpointDelivery(Changing):
    """A message that an endpoint is owed, and what became of it."""

    __tablename__ = "endpoint_deliveries"
    __table_args__ = (
        UniqueConstraint("endpoint_id", "message_id"),
        Index("idx_endpoint_deliveries_message_id", "message_id"),
        Index("idx_endpoint_deliveries_newest", "endpoint_id", "id"),
        Index("idx_endpoint_deliveries_status", "endpoint_id", "status", "id"),
        Index("idx_endpoint_deliveries_due", "endpoint_id", "next_attempt_at"),
        Index("idx_endpoint_deliveries_next_attempt_at", "next_attempt_at"),
    )

    endpoint_id: Mapped[UUID] = mapped_column(ForeignKey("endpoints.id"))
    message_id: Mapped[UUID] = mapped_column(ForeignKey("endpoint_messages.id"))
    status: Mapped[DeliveryStatus] = mapped_column(
        words(DeliveryStatus), default=DeliveryStatus.OWED
    )
    # All that were ever made; they number the rows of attempts.
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    # Those since it was last owed anew; they say which step comes next.
    tries: Mapped[int] = mapped_column(Integer, default=0)
    # When it is due: owed, or under way for so long that its worker must have died. Else NULL.
    next_attempt_at: Mapped[datetime | None]
    status_code: Mapped[int | None] = mapped_column(SmallInteger)
    error: Mapped[str | None] = mapped_column(String(MOST_ERROR))
    response: Mapped[str | None] = mapped_column(String(MOST_EXCERPT))
    duration_ms: Mapped[int | None] = mapped_column(Integer)
    delivered_at: Mapped[datetime | None]

    # Joined where it is shown, and never fetched row by row.
    message: Mapped[EndpointMessage] = relationship(lazy="raise", viewonly=True)


class EndpointAttempt(Base):
    """One try to deliver, written down before it is made; `ended_at` is NULL until it is over."""

    __tablename__ = "endpoint_attempts"
    __table_args__ = (UniqueConstraint("delivery_id", "number"),)

    delivery_id: Mapped[UUID] = mapped_column(ForeignKey("endpoint_deliveries.id"))
    number: Mapped[int] = mapped_column(Integer)
    status_code: Mapped[int | None] = mapped_column(SmallInteger)
    error: Mapped[str | None] = mapped_column(String(MOST_ERROR))
    duration_ms: Mapped[int | None] = mapped_column(Integer)
    ended_at: Mapped[datetime | None]


def known_positions(session: Session, source_id: UUID) -> set[int]:
    """Return which events of a source have become messages."""
    return set(
        session.scalars(
            select(EndpointMessage.position).where(EndpointMessage.source_id == source_id)
        )
    )


def owe(
    session: Session, message: EndpointMessage, hearing: Iterable[Endpoint], *, moment: datetime
) -> list[EndpointDelivery]:
    """Owe a message to endpoints; to a disabled one it is canceled, for who asks for it later."""
    deliveries = [
        EndpointDelivery(
            endpoint_id=endpoint.id,
            message_id=message.id,
            status=DeliveryStatus.OWED if endpoint.is_enabled else DeliveryStatus.CANCELED,
            next_attempt_at=moment if endpoint.is_enabled else None,
            error=None if endpoint.is_enabled else "the endpoint was disabled",
        )
        for endpoint in hearing
    ]
    session.add_all(deliveries)
    return deliveries


def next_due(session: Session, endpoint: Endpoint, *, moment: datetime) -> EndpointDelivery | None:
    """Return what is due to a locked endpoint next; None if nothing is, or its slots are taken.

    What is under way is due again once its lease has ended: its worker must have died.
    """
    if not endpoint.is_enabled:
        return None
    ours = EndpointDelivery.endpoint_id == endpoint.id
    under_way = session.scalar(
        select(func.count(EndpointDelivery.id)).where(
            ours,
            EndpointDelivery.status == DeliveryStatus.DELIVERING,
            EndpointDelivery.next_attempt_at > moment,
        )
    )
    if (under_way or 0) >= endpoint.slots:
        return None
    return session.scalars(
        select(EndpointDelivery)
        .where(ours, EndpointDelivery.next_attempt_at <= moment)
        .order_by(EndpointDelivery.next_attempt_at, EndpointDelivery.id)
        .limit(1)
        .execution_options(populate_existing=True)
    ).one_or_none()


def due_endpoints(session: Session, *, moment: datetime, limit: int) -> list[UUID]:
    """Return the enabled endpoints with something due, the longest waiting first."""
    due = (
        select(EndpointDelivery.endpoint_id, func.min(EndpointDelivery.next_attempt_at))
        .join(Endpoint, Endpoint.id == EndpointDelivery.endpoint_id)
        .where(
            EndpointDelivery.next_attempt_at <= moment,
            Endpoint.status == EndpointStatus.ENABLED,
            Endpoint.deleted_at.is_(None),
        )
        .group_by(EndpointDelivery.endpoint_id)
        .order_by(func.min(EndpointDelivery.next_attempt_at))
        .limit(limit)
    )
    return [row[0] for row in session.execute(due)]


def attempts_of(session: Session, delivery_id: UUID) -> Sequence[EndpointAttempt]:
    """Return the attempts of a delivery, the first one first."""
    return session.scalars(
        select(EndpointAttempt)
        .where(EndpointAttempt.delivery_id == delivery_id)
        .order_by(EndpointAttempt.number)
    ).all()


def attempt_of(session: Session, delivery_id: UUID, number: int) -> EndpointAttempt | None:
    """Return one attempt of a delivery."""
    return session.scalars(
        select(EndpointAttempt).where(
            EndpointAttempt.delivery_id == delivery_id, EndpointAttempt.number == number
        )
    ).one_or_none()


def disable(
    session: Session, endpoint: Endpoint, reason: DisabledReason, *, moment: datetime
) -> None:
    """Send nothing more to a locked endpoint; what it is owed is canceled."""
    endpoint.status = EndpointStatus.DISABLED
    endpoint.disabled_reason, endpoint.disabled_at = reason, moment
    if reason is not DisabledReason.ASKED:
        endpoint.disablings += 1
    cancel(session, endpoint, why="the endpoint was disabled")


def cancel(session: Session, endpoint: Endpoint, *, why: str) -> None:
    """Cancel what a locked endpoint is owed.

    What is under way may still arrive, and then counts as delivered.
    """
    session.flush()
    session.execute(
        update(EndpointDelivery)
        .where(
            EndpointDelivery.endpoint_id == endpoint.id,
            EndpointDelivery.status.in_(PENDING),
        )
        .values(status=DeliveryStatus.CANCELED, next_attempt_at=None, error=why)
    )


def given_up_since(
    endpoint_id: UUID, since: datetime, until: datetime | None
) -> list[ColumnElement[bool]]:
    """Return the condition of an endpoint's deliveries of that time that were given up."""
    conditions = [
        EndpointDelivery.endpoint_id == endpoint_id,
        EndpointDelivery.status.in_(GIVEN_UP),
        EndpointDelivery.created_at >= since,
    ]
    if until is not None:
        conditions.append(EndpointDelivery.created_at < until)
    return conditions


def owe_again(session: Session, delivery_ids: Collection[UUID], *, moment: datetime) -> None:
    """Owe deliveries anew, from the first step, of an endpoint that is locked."""
    session.execute(
        update(EndpointDelivery)
        .where(EndpointDelivery.id.in_(sorted(delivery_ids)))
        .values(status=DeliveryStatus.OWED, next_attempt_at=moment, tries=0, delivered_at=None)
    )


def forget_old(session: Session, *, moment: datetime, limit: int = 500) -> int:
    """Delete old messages with what became of them; return how many."""
    old = session.scalars(
        select(EndpointMessage.id)
        .where(EndpointMessage.created_at < moment - KEPT)
        .order_by(EndpointMessage.created_at)
        .limit(limit)
    ).all()
    if old:
        of_old = select(EndpointDelivery.id).where(EndpointDelivery.message_id.in_(old))
        deliveries = session.scalars(of_old).all()
        if deliveries:
            by_delivery = EndpointAttempt.delivery_id.in_(deliveries)
            session.execute(delete(EndpointAttempt).where(by_delivery))
            session.execute(delete(EndpointDelivery).where(EndpointDelivery.id.in_(deliveries)))
        session.execute(delete(EndpointMessage).where(EndpointMessage.id.in_(old)))
    return len(old)
