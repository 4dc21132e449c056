"""The catalogue of modules that a tenant sells, and which of them a company has."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Self
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Computed,
    ForeignKey,
    Index,
    String,
    Text,
    UniqueConstraint,
    select,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from models import locks
from models.base import Changing, CompanyOwned, Id
from models.clock import now
from models.tenants import Company
from models.timeline import Cause, note

# Clocks of callers differ; what they tell from further ahead is a mistake.
MOST_AHEAD = timedelta(minutes=5)


@dataclass(frozen=True)
class Limits:
    """How much use of a module in a period is told of, and how much is refused; None is never."""

    warning_at: int | None
    critical_at: int | None
    hard_limit: int | None

    @classmethod
    def of(cls, row: Any) -> Self:
        """Return those that a module, what is kept of one, or a company's row says."""
        return cls(row.warning_at, row.critical_at, row.hard_limit)

    def over(self, others: Limits) -> Limits:
        """Return these, and the others' where there is none."""
        pairs = ((getattr(self, each.name), getattr(others, each.name)) for each in fields(self))
        return Limits(*(other if mine is None else mine for mine, other in pairs))


class Module(Changing):
    """What a tenant sells by its name. The limits are those of a company that has none of its own.

    `unit` is the word for what is counted, such as `request`; None where nothing is.
    """

    __tablename__ = "modules"
    __table_args__ = (UniqueConstraint("tenant_id", "code"),)

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"))
    code: Mapped[str] = mapped_column(String(50, collation="utf8mb4_bin"))
    name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str | None] = mapped_column(Text)
    details: Mapped[dict[str, Any] | None] = mapped_column("metadata", JSON(none_as_null=True))
    unit: Mapped[str | None] = mapped_column(String(40))
    is_active: Mapped[bool] = mapped_column(Boolean, default=True)
    warning_at: Mapped[int | None] = mapped_column(BigInteger)
    critical_at: Mapped[int | None] = mapped_column(BigInteger)
    hard_limit: Mapped[int | None] = mapped_column(BigInteger)


class CompanyModule(CompanyOwned, Changing):
    """A module that a company has, or had. One at a time of each module is not ended.

    `subscription_id` is the subscription that it comes with, whose current period is kept here by
    `models.usage.begin_period`; without one, use is counted by the calendar month.
    """

    __tablename__ = "company_modules"
    __table_args__ = (
        UniqueConstraint("company_id", "active_module_id", name="unique_active_module"),
        Index("idx_company_modules_module", "company_id", "module_id"),
        Index("idx_company_modules_subscription_id", "subscription_id"),
    )

    module_id: Mapped[UUID] = mapped_column(ForeignKey("modules.id"))
    subscription_id: Mapped[UUID | None]
    subscribed_at: Mapped[datetime]
    unsubscribed_at: Mapped[datetime | None]
    warning_at: Mapped[int | None] = mapped_column(BigInteger)
    critical_at: Mapped[int | None] = mapped_column(BigInteger)
    hard_limit: Mapped[int | None] = mapped_column(BigInteger)
    period_start: Mapped[datetime | None]
    period_end: Mapped[datetime | None]
    # The time of which its subscription has taken up the use, and how many units that was; what is
    # recorded of it after that is late, and billed with the next invoice.
    billed_from: Mapped[datetime | None]
    billed_until: Mapped[datetime | None]
    billed_units: Mapped[int] = mapped_column(BigInteger, default=0)
    late_units: Mapped[int] = mapped_column(BigInteger, default=0)
    # What its use was last billed by, as `models.statements` keeps it: late use of what the
    # subscription asks no price for by now is billed by this.
    billed_by: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    active_module_id: Mapped[UUID | None] = mapped_column(
        Id,
        Computed("CASE WHEN unsubscribed_at IS NULL THEN module_id END", persisted=True),
        sort_order=85,
    )

    def limits(self, module: Any) -> Limits:
        """Return the limits that hold: the company's own, else those of its module."""
        return Limits.of(self).over(Limits.of(module))

    def was_had(self, at: datetime) -> bool:
        """Whether the company had the module then, by a caller's clock."""
        is_begun = at >= self.subscribed_at - MOST_AHEAD
        return is_begun and (self.unsubscribed_at is None or at < self.unsubscribed_at)

    def is_billed(self, at: datetime) -> bool:
        """Whether the use of that time was taken up for an invoice already."""
        if self.billed_from is None or self.billed_until is None:
            return False
        return self.billed_from <= at < self.billed_until


def of_tenant(
    session: Session, tenant_id: UUID, module_id: UUID, *, is_locked: bool = False
) -> Module | None:
    """Return a tenant's module, locked until the commit if that is asked for."""
    query = select(Module).where(Module.id == module_id, Module.tenant_id == tenant_id)
    return session.scalars(query.with_for_update() if is_locked else query).one_or_none()


def by_codes(session: Session, tenant_id: UUID, codes: Collection[str]) -> dict[str, Module]:
    """Return the modules of a tenant that have these codes, by code."""
    found = session.scalars(
        select(Module).where(Module.tenant_id == tenant_id, Module.code.in_(list(codes)))
    )
    return {module.code: module for module in found}


def active(session: Session, module_ids: Collection[UUID]) -> dict[UUID, CompanyModule]:
    """Return what the session's company has of these modules now, by module."""
    found = session.scalars(
        select(CompanyModule).where(CompanyModule.active_module_id.in_(list(module_ids)))
    )
    return {row.module_id: row for row in found}


def lock_active(session: Session, module_id: UUID) -> CompanyModule | None:
    """Return what the session's company has of a module now, locked until the commit."""
    found = active(session, [module_id]).get(module_id)
    if found is None:
        return None
    row = locks.lock(session, CompanyModule, found.id)
    # It may have ended while the lock was waited for.
    return row if row is not None and row.unsubscribed_at is None else None


def lock_all_of(session: Session, module_ids: Collection[UUID]) -> Sequence[CompanyModule]:
    """Lock what the company has, or had, of these modules, oldest first."""
    return session.scalars(
        select(CompanyModule)
        .where(CompanyModule.module_id.in_(sorted(module_ids)))
        .order_by(CompanyModule.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()


def billed_since(session: Session, module_ids: Collection[UUID], since: datetime) -> str | None:
    """Return the name of a module of which use after `since` is billed by now, or None."""
    query = (
        select(Module.name)
        .join(CompanyModule, CompanyModule.module_id == Module.id)
        .where(Module.id.in_(list(module_ids)), CompanyModule.billed_until > since)
    )
    return session.scalar(query.limit(1))


def of_subscription(
    session: Session, subscription_id: UUID, *, is_locked: bool
) -> dict[UUID, list[CompanyModule]]:
    """Return what came with a subscription, by module, also what has ended.

    Args:
        is_locked: until the commit, in the order in which those who record use lock it: what they
            have in hand is waited for, and what they record later finds what is changed here.
    """
    came = select(CompanyModule.module_id).where(CompanyModule.subscription_id == subscription_id)
    found: dict[UUID, list[CompanyModule]] = {each: [] for each in session.scalars(came)}
    query = select(CompanyModule).where(CompanyModule.module_id.in_(sorted(found)))
    if is_locked:
        query = query.with_for_update().execution_options(populate_existing=True)
    for row in session.scalars(query.order_by(CompanyModule.id)):
        if row.subscription_id == subscription_id:
            found[row.module_id].append(row)
    return found


def subscribe(
    session: Session,
    company_id: UUID,
    module_id: UUID,
    *,
    subscription_id: UUID | None = None,
    because: Cause,
) -> tuple[CompanyModule, bool]:
    """Let a company have a module; return what it has, and whether it did not have it before.

    Twice is once. What the company took by itself becomes the subscription's that includes it.
    Whoever subscribes owes the event as well: see `worker.modules`.
    """
    # Two who subscribe at once take turns, so that the second one finds what the first made.
    locks.lock_existing(session, Company, company_id)
    row = lock_active(session, module_id)
    if row is not None:
        if row.subscription_id is None and subscription_id is not None:
            row.subscription_id = subscription_id
            note(session, row, what="included", because=because)
        return row, False
    row = CompanyModule(
        company_id=company_id,
        module_id=module_id,
        subscription_id=subscription_id,
        subscribed_at=now(),
    )
    session.add(row)
    session.flush()
    note(session, row, what="subscribed", because=because)
    return row, True


def unsubscribe(
    session: Session,
    company_id: UUID,
    module_id: UUID,
    *,
    subscription_id: UUID | None = None,
    at: datetime | None = None,
    because: Cause,
) -> CompanyModule | None:
    """End what a company has of a module; return it, or None if it has none.

    Args:
        subscription_id: only if it comes with this subscription.
        at: when it has ended, if that is over; now if left out.
    """
    locks.lock_existing(session, Company, company_id)
    row = lock_active(session, module_id)
    if row is None or (subscription_id is not None and row.subscription_id != subscription_id):
        return None
    row.unsubscribed_at = at or now()
    note(session, row, what="unsubscribed", because=because)
    return row
