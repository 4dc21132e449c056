"""Alerts: what a person must see. One is open at a time for the same thing."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Index, String, Text, UniqueConstraint, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Changing, CompanyOwned, words
from models.clock import now


class Severity(StrEnum):
    """How soon somebody must act."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Alert(Changing):
    """One alert, of a company's or of the whole system.

    `open_key` names the thing while the alert is open, so that it is told once and not each time
    it is seen; it is NULL from when it is resolved.
    """

    __tablename__ = "alerts"
    __table_args__ = (
        UniqueConstraint("open_key"),
        Index("idx_alerts_company_id", "company_id", "id"),
        Index("idx_alerts_resolved_at", "resolved_at"),
        {"info": {"company_owned": False}},
    )

    company_id: Mapped[UUID | None]
    kind: Mapped[str] = mapped_column(String(50))
    severity: Mapped[Severity] = mapped_column(words(Severity))
    subject: Mapped[str | None] = mapped_column(String(20))
    subject_id: Mapped[UUID | None]
    message: Mapped[str] = mapped_column(Text)
    detail: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    open_key: Mapped[str | None] = mapped_column(String(150, collation="utf8mb4_bin"))
    resolved_at: Mapped[datetime | None]
    resolved_by: Mapped[UUID | None]
    resolution: Mapped[str | None] = mapped_column(Text)


def raise_alert(  # noqa: PLR0913  what an alert says
    session: Session,
    kind: str,
    *,
    severity: Severity,
    message: str,
    company_id: UUID | None = None,
    subject: CompanyOwned | None = None,
    open_key: str | None = None,
    detail: dict[str, Any] | None = None,
) -> Alert | None:
    """Add an alert; None if the same is open already.

    Args:
        kind: what it is about, in a word or two: `needs_review`, `dispute_opened`, ...
        company_id: whose it is, unless `subject` tells.
        open_key: what is the same thing; the kind and the subject unless given. Without either,
            each call is an alert of its own.
    """
    key = open_key or (f"{kind}:{subject.id}" if subject is not None else None)
    if key is not None and open_alert(session, key) is not None:
        return None
    alert = Alert(
        company_id=subject.company_id if subject is not None else company_id,
        kind=kind,
        severity=severity,
        subject=subject.__tablename__.removesuffix("s") if subject is not None else None,
        subject_id=subject.id if subject is not None else None,
        message=message,
        detail=detail,
        open_key=key,
    )
    session.add(alert)
    return alert


def open_alert(session: Session, open_key: str) -> Alert | None:
    """Return the open alert about `open_key`, locked until the commit."""
    return session.scalars(
        select(Alert).where(Alert.open_key == open_key).with_for_update()
    ).one_or_none()


def resolve(alert: Alert, *, why: str, user_id: UUID | None = None) -> None:
    """Close an alert: the thing is over, or somebody has seen to it."""
    alert.open_key = None
    alert.resolved_at = now()
    alert.resolved_by = user_id
    alert.resolution = why
