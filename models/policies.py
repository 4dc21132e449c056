"""A company's retry policy: when a declined payment is charged again."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import JSON, Boolean, UniqueConstraint, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Changing, CompanyOwned
from schedules.ladder import RetryPolicy


class StoredPolicy(CompanyOwned, Changing):
    """What a company has chosen; without a row the default holds."""

    __tablename__ = "retry_policies"
    __table_args__ = (UniqueConstraint("company_id"),)

    # Hours to wait after the first, second and third decline.
    delays_h: Mapped[list[int]] = mapped_column(JSON)
    is_enabled: Mapped[bool] = mapped_column(Boolean, default=True)

    @property
    def policy(self) -> RetryPolicy:
        """Return what it says."""
        return RetryPolicy(tuple(self.delays_h), self.is_enabled)


def stored_policy(session: Session) -> StoredPolicy | None:
    """Return what the session's company has chosen, if it has."""
    return session.scalars(select(StoredPolicy)).one_or_none()


def policy_of(session: Session) -> RetryPolicy:
    """Return the policy of the session's company."""
    stored = stored_policy(session)
    return stored.policy if stored is not None else RetryPolicy()


def store(session: Session, company_id: UUID, policy: RetryPolicy) -> StoredPolicy:
    """Keep a company's choice; it holds for what is decided from now on."""
    stored = stored_policy(session)
    if stored is None:
        stored = StoredPolicy(company_id=company_id)
        session.add(stored)
    stored.delays_h = list(policy.delays_h)
    stored.is_enabled = policy.is_enabled
    return stored
