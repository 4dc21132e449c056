"""Idempotency keys of our own API: the same key and body give the same answer, for 24 hours."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import CHAR, JSON, Index, Integer, String, UniqueConstraint, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import CompanyOwned, across_companies

# How long a key is remembered, as Stripe does.
LIFE = timedelta(hours=24)


class IdempotencyKey(CompanyOwned):
    """A key that a caller used. Written in the transaction that makes the thing.

    The unique key makes a second request with the same key wait for the first one's commit.
    `answer` is what was answered; it is None where the answer holds what must not be stored, and
    is then told again from `resource_id`.
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        UniqueConstraint("company_id", "idempotency_key"),
        Index("idx_idempotency_keys_created_at", "created_at"),
    )

    idempotency_key: Mapped[str] = mapped_column(String(255, collation="utf8mb4_bin"))
    fingerprint: Mapped[str] = mapped_column(CHAR(64))  # SHA-256 of method, path and body
    resource_id: Mapped[UUID | None]
    status_code: Mapped[int | None] = mapped_column(Integer)
    answer: Mapped[Any | None] = mapped_column(JSON)


def find(session: Session, key: str) -> IdempotencyKey | None:
    """Return what the session's company did with `key`."""
    return session.scalars(
        select(IdempotencyKey)
        .where(IdempotencyKey.idempotency_key == key)
        .execution_options(populate_existing=True)
    ).one_or_none()


def forget_expired(session: Session, *, moment: datetime, limit: int = 5000) -> int:
    """Delete keys past their life; return how many."""
    result = session.execute(
        across_companies(
            delete(IdempotencyKey)
            .where(IdempotencyKey.created_at < moment - LIFE)
            .with_dialect_options(mysql_limit=limit),
            because="age alone decides",
        )
    )
    return int(result.rowcount)  # type: ignore[attr-defined]
