"""Webhook events as they came from the provider, and what became of them."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    and_,
    bindparam,
    delete,
    or_,
    select,
)
from sqlalchemy.dialects.mysql import MEDIUMBLOB
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Changing, words


class WebhookStatus(StrEnum):
    """What became of an event. Ignored: no handler, or nothing of ours. Refused: a forgery."""

    RECEIVED = "received"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    IGNORED = "ignored"
    REFUSED = "refused"


# The event types that are acted on, a provider: `tasks.webhooks` has a handler for each. Others are
# stored as ignored and owe nothing; most of what a provider sends is of that kind.
HANDLED: dict[str, frozenset[str]] = {
    "stripe": frozenset(
        {
            "payment_intent.succeeded",
            "payment_intent.canceled",
            "payment_intent.payment_failed",
            "payment_intent.requires_action",
            "payment_intent.processing",
            "payment_method.automatically_updated",
            "payment_method.updated",
            "payment_method.detached",
            "charge.refunded",
            "charge.refund.updated",
            "refund.created",
            "refund.updated",
            "refund.failed",
            "charge.dispute.created",
            "charge.dispute.updated",
            "charge.dispute.closed",
            "charge.dispute.funds_withdrawn",
            "charge.dispute.funds_reinstated",
            "customer.subscription.created",
            "customer.subscription.updated",
            "customer.subscription.deleted",
            "customer.subscription.trial_will_end",
            "customer.subscription.paused",
            "customer.subscription.resumed",
        }
    ),
    "sendgrid": frozenset(
        {
            "processed",
            "deferred",
            "delivered",
            "bounce",
            "dropped",
            "spamreport",
            "unsubscribe",
            "group_unsubscribe",
        }
    ),
    "paypal": frozenset(
        {
            "CHECKOUT.ORDER.APPROVED",
            "PAYMENT.CAPTURE.COMPLETED",
            "PAYMENT.CAPTURE.PENDING",
            "PAYMENT.CAPTURE.DECLINED",
            "PAYMENT.CAPTURE.DENIED",
            "PAYMENT.CAPTURE.REFUNDED",
            "PAYMENT.CAPTURE.REVERSED",
            "PAYMENT.REFUND.PENDING",
            "PAYMENT.REFUND.FAILED",
            "CUSTOMER.DISPUTE.CREATED",
            "CUSTOMER.DISPUTE.UPDATED",
            "CUSTOMER.DISPUTE.RESOLVED",
            "VAULT.PAYMENT-TOKEN.CREATED",
            "VAULT.PAYMENT-TOKEN.DELETED",
        }
    ),
}
# Whose signatures a worker checks, as the door cannot: until then nobody acts on their events.
CHECKED_LATER = frozenset({"paypal"})
# How long an event is kept that nobody vouched for and nobody acts on: anybody may send such. It is
# as far back as missed events are asked for, so that a true one does not come in a second time.
KEPT_UNVOUCHED = timedelta(days=30)

# Stands among the headers of an event that was fetched from the provider; the door keeps none of
# this name, so nobody can send it.
FETCHED = "fetched"


class PaymentWebhook(Changing):
    """One event. Unique a provider, account and event id, so that a second copy changes nothing.

    It belongs to no company until it has been handled: whose it is stands in the object it names.
    """

    __tablename__ = "payment_webhooks"
    __table_args__ = (
        UniqueConstraint("provider", "account", "provider_event_id", name="uq_payment_webhooks"),
        Index("idx_event_type", "event_type"),
        Index("idx_provider", "provider"),
        Index("idx_created_at", "created_at"),
        Index("idx_payment_webhooks_transaction_id", "transaction_id"),
        {"info": {"company_owned": False}},
    )

    event_type: Mapped[str] = mapped_column(String(100))
    provider: Mapped[str] = mapped_column(String(50))
    # Letter by letter: ids that differ in case only are two events.
    account: Mapped[str] = mapped_column(String(50, collation="utf8mb4_bin"), default="")
    provider_event_id: Mapped[str] = mapped_column(String(100, collation="utf8mb4_bin"))
    payload: Mapped[Any] = mapped_column(JSON)
    headers: Mapped[dict[str, str] | None] = mapped_column(JSON)
    # What was signed, to the byte, where it must still be checked: JSON in a column may change.
    raw_body: Mapped[bytes | None] = mapped_column(MEDIUMBLOB, deferred=True)
    verified_at: Mapped[datetime | None]
    status: Mapped[WebhookStatus] = mapped_column(
        words(WebhookStatus), default=WebhookStatus.RECEIVED
    )
    company_id: Mapped[UUID | None]
    transaction_id: Mapped[UUID | None]
    # What it was about where that was no payment: a payment method.
    subject_id: Mapped[UUID | None]
    error_message: Mapped[str | None] = mapped_column(Text)
    retry_count: Mapped[int] = mapped_column(Integer, default=0)
    next_retry_at: Mapped[datetime | None]
    handled_at: Mapped[datetime | None]

    @property
    def is_vouched_for(self) -> bool:
        """Whether its provider is known to have sent it."""
        return self.provider not in CHECKED_LATER or self.verified_at is not None


def forget_unvouched(session: Session, *, moment: datetime, limit: int = 1000) -> int:
    """Delete old events that anybody may have sent and that owe nothing; return how many."""
    row = PaymentWebhook
    is_done = or_(row.status == WebhookStatus.IGNORED, row.status == WebhookStatus.REFUSED)
    is_idle = and_(is_done, row.verified_at.is_(None))
    is_old = and_(row.provider.in_(CHECKED_LATER), row.created_at < moment - KEPT_UNVOUCHED)
    # Found before anything is locked, and each looked at again: a replay may have it in hand.
    found = session.scalars(select(row.id).where(is_old, is_idle).limit(limit)).all()
    if found:
        by_key = delete(Base.metadata.tables[row.__tablename__]).where(
            row.id == bindparam("found"), is_idle
        )
        session.execute(by_key, [{"found": identity} for identity in found])
    return len(found)
