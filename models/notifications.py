"""Notices that a company's people are to get: each template once a subject and number."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Changing, CompanyOwned, words
from models.outbox import enqueue


class NotificationStatus(StrEnum):
    """Whether a notice has gone out."""

    OWED = "owed"
    SENT = "sent"
    FAILED = "failed"


class Notification(CompanyOwned, Changing):
    """One notice. The unique key is the promise that nobody gets it twice."""

    __tablename__ = "notifications"
    __table_args__ = (
        UniqueConstraint("template", "subject_id", "number"),
        Index("idx_notifications_company_id", "company_id", "id"),
        Index("idx_notifications_subject_id", "subject_id"),
    )

    template: Mapped[str] = mapped_column(String(50))
    subject: Mapped[str] = mapped_column(String(20))
    subject_id: Mapped[UUID]
    # Which time: the attempt's number, a card's expiry, ...
    number: Mapped[int] = mapped_column(Integer, default=0)
    arguments: Mapped[dict[str, Any]] = mapped_column(JSON)
    status: Mapped[NotificationStatus] = mapped_column(
        words(NotificationStatus), default=NotificationStatus.OWED
    )
    sent_at: Mapped[datetime | None]
    error_message: Mapped[str | None] = mapped_column(Text)


def owe_notice(
    session: Session, template: str, about: CompanyOwned, *, number: int = 0, **arguments: Any
) -> None:
    """Owe a notice about a row to its company's people.

    Args:
        template: what is told: `payment_failed`, `retry_scheduled`, `card_expiring`, ...
        number: which time this template is told of this row; the same one is told once.
        arguments: what the template needs besides the row; ids, amounts and times as text.
    """
    enqueue(
        session,
        "notifications.notify",
        company_id=about.company_id,
        template=template,
        subject=about.__tablename__.removesuffix("s"),
        subject_id=about.id,
        number=number,
        told=arguments,
    )
