"""How far a long list has been read: what a provider lists, or our own book."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, String, UniqueConstraint, insert, or_, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Changing


class ProviderCursor(Changing):
    """Where the last look at a provider's list, or at a list of our own, ended."""

    __tablename__ = "provider_cursors"
    __table_args__ = (UniqueConstraint("provider", "name"),)

    provider: Mapped[str] = mapped_column(String(50))
    name: Mapped[str] = mapped_column(String(50))
    position: Mapped[str | None] = mapped_column(String(255))
    looked_at: Mapped[datetime | None]


def take_due(
    session: Session, provider: str, name: str, *, moment: datetime, looked_before: datetime
) -> ProviderCursor | None:
    """Return the cursor and mark it as looked at; None if that was done since `looked_before`.

    Of several who ask at once one gets it.
    """
    named = _made(session, provider, name)
    cursor = session.scalars(
        select(ProviderCursor)
        .where(
            *named,
            or_(ProviderCursor.looked_at.is_(None), ProviderCursor.looked_at <= looked_before),
        )
        .with_for_update(skip_locked=True)
    ).one_or_none()
    if cursor is not None:
        cursor.looked_at = moment
    return cursor


def take(session: Session, provider: str, name: str) -> ProviderCursor:
    """Return the cursor, locked."""
    named = _made(session, provider, name)
    return session.scalars(select(ProviderCursor).where(*named).with_for_update()).one()


def _made(session: Session, provider: str, name: str) -> tuple[ColumnElement[bool], ...]:
    """Return what names a cursor, which there is from now on."""
    named = (ProviderCursor.provider == provider, ProviderCursor.name == name)
    if session.scalar(select(ProviderCursor.id).where(*named)) is None:
        fresh = insert(ProviderCursor).values(provider=provider, name=name)
        session.execute(fresh.prefix_with("IGNORE"))
    return named


def move(session: Session, provider: str, name: str, *, position: str) -> None:
    """Set where the last look ended."""
    take(session, provider, name).position = position
