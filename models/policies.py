"""A company's retry policy: when a declined payment is charged again."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Changing, CompanyOwned


class StoredPolicy(CompanyOwned, Changing):
    """What a company has chosen; without a row the default holds."""

    __tablename__ = "retry_policies"
    __table_args__ = (UniqueConstraint("company_id"),)

    # Hours to wait after the first, second and third decline.
    delays_h: Mapped[list[int]] = mapped_column(JSON)
    is_enabled: Mapped[bool] = mapped_column(Boolean, default=True)
