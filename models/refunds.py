"""Refunds: money given back, never more than was captured."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Boolean, ForeignKey, Index, String, Text, UniqueConstraint, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import PROVIDER_ID, words
from models.states import Moving


class RefundStatus(StrEnum):
    """Where a refund stands."""

    PENDING = "pending"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class RefundReason(StrEnum):
    """The specification's reasons."""

    REQUESTED = "requested"
    CHARGEBACK = "chargeback"
    REFUND = "refund"


# What the API takes, mapped to what the table keeps.
REASONS: dict[str, RefundReason] = {
    "requested": RefundReason.REQUESTED,
    "customer_request": RefundReason.REQUESTED,
    "requested_by_customer": RefundReason.REQUESTED,
    "chargeback": RefundReason.CHARGEBACK,
    "fraudulent": RefundReason.CHARGEBACK,
    "refund": RefundReason.REFUND,
    "duplicate": RefundReason.REFUND,
    "other": RefundReason.REFUND,
}

# What may still take money out, or has: their sum never passes what was captured.
TAKING = (RefundStatus.PENDING, RefundStatus.PROCESSING, RefundStatus.SUCCEEDED)


class Refund(Moving):
    """One refund of a transaction, full or in part."""

    __tablename__ = "refunds"
    __table_args__ = (
        UniqueConstraint("provider_refund_id"),
        Index("idx_transaction_id", "transaction_id"),
        Index("idx_status", "status"),
        Index("idx_refunds_company_id", "company_id"),
    )

    MOVES = {  # noqa: RUF012  data, read by the docs and the tests
        RefundStatus.PENDING: frozenset(
            {RefundStatus.PROCESSING, RefundStatus.SUCCEEDED, RefundStatus.FAILED}
        ),
        RefundStatus.PROCESSING: frozenset({RefundStatus.SUCCEEDED, RefundStatus.FAILED}),
        # A bank may send the money back after the provider said that it went out.
        RefundStatus.SUCCEEDED: frozenset({RefundStatus.FAILED}),
        RefundStatus.FAILED: frozenset(),
    }

    transaction_id: Mapped[UUID] = mapped_column(ForeignKey("transactions.id"))
    amount: Mapped[Decimal]
    reason: Mapped[RefundReason] = mapped_column(words(RefundReason))
    status: Mapped[RefundStatus] = mapped_column(words(RefundStatus), default=RefundStatus.PENDING)
    provider_refund_id: Mapped[str | None] = mapped_column(PROVIDER_ID)
    provider_request_id: Mapped[str | None] = mapped_column(String(100))
    notes: Mapped[str | None] = mapped_column(Text)
    user_id: Mapped[UUID | None]
    first_called_at: Mapped[datetime | None]
    leased_until: Mapped[datetime | None]
    # It undoes a payment that was recorded by mistake: its invoice is due again.
    reopens_invoice: Mapped[bool] = mapped_column(Boolean, default=False)
    review_since: Mapped[datetime | None]  # nobody can tell what became of it
    looked_up_at: Mapped[datetime | None]  # while the provider is at work
    error_message: Mapped[str | None] = mapped_column(Text)


def taken(session: Session, transaction_id: UUID) -> Decimal:
    """Return the sum of refunds that have taken or may take money, in the main unit.

    The caller holds the transaction's lock, so that two refunds cannot both fit.
    """
    total = session.scalar(
        select(func.coalesce(func.sum(Refund.amount), 0)).where(
            Refund.transaction_id == transaction_id, Refund.status.in_(TAKING)
        )
    )
    return Decimal(total or 0)


def refunds_of(session: Session, transaction_id: UUID) -> list[Refund]:
    """Return the refunds of a transaction, oldest first."""
    return list(
        session.scalars(
            select(Refund).where(Refund.transaction_id == transaction_id).order_by(Refund.id)
        )
    )
