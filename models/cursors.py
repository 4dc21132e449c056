"""How far something that a provider lists has been read."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Changing


class ProviderCursor(Changing):
    """Where the last look at a provider's list ended."""

    __tablename__ = "provider_cursors"
    __table_args__ = (UniqueConstraint("provider", "name"),)

    provider: Mapped[str] = mapped_column(String(50))
    name: Mapped[str] = mapped_column(String(50))
    position: Mapped[str | None] = mapped_column(String(255))
    looked_at: Mapped[datetime | None]
