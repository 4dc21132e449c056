"""Disputes: a customer's bank takes the money back, and what is done about it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    Boolean,
    ForeignKey,
    Index,
    String,
    Text,
    UniqueConstraint,
    func,
    select,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import CURRENCY, PROVIDER_ID, Changing, CompanyOwned, words
from models.money import Money
from models.states import Moving


class DisputeStatus(StrEnum):
    """Where a dispute stands; a warning is an inquiry that has not taken the money."""

    WARNING_NEEDS_RESPONSE = "warning_needs_response"
    WARNING_UNDER_REVIEW = "warning_under_review"
    WARNING_CLOSED = "warning_closed"
    NEEDS_RESPONSE = "needs_response"
    UNDER_REVIEW = "under_review"
    WON = "won"
    LOST = "lost"
    PREVENTED = "prevented"


# No refund, and no charge of the same payment, while one of these lasts.
OPEN_DISPUTE = (
    DisputeStatus.WARNING_NEEDS_RESPONSE,
    DisputeStatus.WARNING_UNDER_REVIEW,
    DisputeStatus.NEEDS_RESPONSE,
    DisputeStatus.UNDER_REVIEW,
)

# Evidence is asked for, by a date.
NEEDING_RESPONSE = (DisputeStatus.WARNING_NEEDS_RESPONSE, DisputeStatus.NEEDS_RESPONSE)

_CLOSED = frozenset({DisputeStatus.WON, DisputeStatus.LOST, DisputeStatus.PREVENTED})
# True whenever it is heard, whatever has been heard since.
CLOSED_DISPUTE = _CLOSED | {DisputeStatus.WARNING_CLOSED}


class Dispute(Moving):
    """One dispute of a payment, as the provider tells it."""

    __tablename__ = "disputes"
    __table_args__ = (
        UniqueConstraint("provider", "provider_dispute_id"),
        Index("idx_disputes_company_id", "company_id", "status"),
        Index("idx_disputes_transaction_id", "transaction_id"),
        Index("idx_disputes_created_at", "created_at"),
        Index("idx_disputes_evidence_due_at", "status", "evidence_due_at"),
    )

    MOVES = {  # noqa: RUF012  data, read by the docs and the tests
        DisputeStatus.WARNING_NEEDS_RESPONSE: frozenset(
            {
                DisputeStatus.WARNING_UNDER_REVIEW,
                DisputeStatus.WARNING_CLOSED,
                DisputeStatus.NEEDS_RESPONSE,
                DisputeStatus.UNDER_REVIEW,
            }
        )
        | _CLOSED,
        DisputeStatus.WARNING_UNDER_REVIEW: frozenset(
            {
                DisputeStatus.WARNING_CLOSED,
                DisputeStatus.NEEDS_RESPONSE,
                DisputeStatus.UNDER_REVIEW,
            }
        )
        | _CLOSED,
        # An inquiry that was closed may still become a dispute.
        DisputeStatus.WARNING_CLOSED: frozenset({DisputeStatus.NEEDS_RESPONSE}) | _CLOSED,
        DisputeStatus.NEEDS_RESPONSE: frozenset({DisputeStatus.UNDER_REVIEW}) | _CLOSED,
        # A bank may ask again.
        DisputeStatus.UNDER_REVIEW: frozenset({DisputeStatus.NEEDS_RESPONSE}) | _CLOSED,
        DisputeStatus.WON: frozenset(),
        DisputeStatus.LOST: frozenset(),
        DisputeStatus.PREVENTED: frozenset(),
    }

    transaction_id: Mapped[UUID] = mapped_column(ForeignKey("transactions.id"))
    provider: Mapped[str] = mapped_column(String(50))
    provider_dispute_id: Mapped[str] = mapped_column(PROVIDER_ID)
    amount: Mapped[Decimal]
    currency: Mapped[str] = mapped_column(CURRENCY)
    reason: Mapped[str] = mapped_column(String(100))
    status: Mapped[DisputeStatus] = mapped_column(words(DisputeStatus))
    evidence_due_at: Mapped[datetime | None]
    evidence: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    evidence_submitted_at: Mapped[datetime | None]
    is_refundable: Mapped[bool] = mapped_column(Boolean, default=False)
    # What the bank took, and what came back of it.
    amount_withdrawn: Mapped[Decimal] = mapped_column(default=Decimal(0))
    amount_reinstated: Mapped[Decimal] = mapped_column(default=Decimal(0))
    closed_at: Mapped[datetime | None]
    due_told_at: Mapped[datetime | None]  # when somebody was told that the evidence is due soon

    @property
    def money(self) -> Money:
        """Return what is disputed."""
        return Money(self.amount, self.currency)


class DisputeActionKind(StrEnum):
    """What we ask of the provider."""

    EVIDENCE = "evidence"
    ACCEPT = "accept"


class DisputeActionStatus(StrEnum):
    """Where an action stands."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"


class DisputeAction(CompanyOwned, Changing):
    """One thing asked of the provider about a dispute. The row comes before the call."""

    __tablename__ = "dispute_actions"
    __table_args__ = (
        Index("idx_dispute_actions_dispute_id", "dispute_id"),
        Index("idx_dispute_actions_company_id", "company_id"),
    )

    dispute_id: Mapped[UUID] = mapped_column(ForeignKey("disputes.id"))
    kind: Mapped[DisputeActionKind] = mapped_column(words(DisputeActionKind))
    status: Mapped[DisputeActionStatus] = mapped_column(
        words(DisputeActionStatus), default=DisputeActionStatus.PENDING
    )
    # What is sent, to the letter: the same key must always carry the same parameters.
    request: Mapped[dict[str, Any]] = mapped_column(JSON)
    user_id: Mapped[UUID | None]
    first_called_at: Mapped[datetime | None]
    provider_request_id: Mapped[str | None] = mapped_column(String(100))
    error_message: Mapped[str | None] = mapped_column(Text)


def disputed_away(session: Session, transaction_id: UUID) -> Decimal:
    """Return what customers' banks hold of a payment, in the main unit."""
    total = session.scalar(
        select(
            func.coalesce(func.sum(Dispute.amount_withdrawn - Dispute.amount_reinstated), 0)
        ).where(Dispute.transaction_id == transaction_id)
    )
    return Decimal(total or 0)


def has_open_dispute(session: Session, transaction_id: UUID) -> bool:
    """Whether a dispute of a payment is open."""
    query = select(Dispute.id).where(
        Dispute.transaction_id == transaction_id, Dispute.status.in_(OPEN_DISPUTE)
    )
    return session.scalar(query.limit(1)) is not None


def pending_action(session: Session, dispute_id: UUID) -> DisputeAction | None:
    """Return what is still to be sent about a dispute, if anything is."""
    query = select(DisputeAction).where(
        DisputeAction.dispute_id == dispute_id, DisputeAction.status == DisputeActionStatus.PENDING
    )
    return session.scalar(query.limit(1))


def actions_of(session: Session, dispute_id: UUID) -> list[DisputeAction]:
    """Return what was asked of the provider about a dispute, oldest first."""
    query = select(DisputeAction).where(DisputeAction.dispute_id == dispute_id)
    return list(session.scalars(query.order_by(DisputeAction.id)))
