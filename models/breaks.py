"""Breaks: what we and a provider do not agree about, each kept once however often it is seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    ColumnElement,
    Index,
    String,
    Text,
    UniqueConstraint,
    and_,
    or_,
    select,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import CURRENCY, PROVIDER_ID, Changing, words
from models.ids import new_id
from models.tenants import Company, Tenant
from models.transactions import Provider


class BreakKind(StrEnum):
    """What does not agree."""

    MISSING_LOCALLY = "missing_locally"
    MISSING_AT_PROVIDER = "missing_at_provider"
    AMOUNT = "amount"
    CURRENCY = "currency"
    STATUS = "status"
    REFUND_MISSING_LOCALLY = "refund_missing_locally"
    REFUND_MISSING_AT_PROVIDER = "refund_missing_at_provider"
    REFUND_AMOUNT = "refund_amount"
    FEE = "fee"
    DUPLICATE_CHARGE = "duplicate_charge"
    DISPUTE = "dispute"
    ORPHAN_METHOD = "orphan_method"
    ORPHAN_CUSTOMER = "orphan_customer"
    WRONG_COMPANY = "wrong_company"
    PAYOUT_UNBALANCED = "payout_unbalanced"


class BreakStatus(StrEnum):
    """Where a break stands."""

    OPEN = "open"
    REPAIRED = "repaired"  # by a handler of ours, which a later run confirms
    RESOLVED = "resolved"  # found to agree, or settled by a person with a note


class Resolution(StrEnum):
    """Why a break is no longer open."""

    AGREED = "agreed"  # a later run found that both sides say the same
    REPAIRED = "repaired"
    ACCEPTED = "accepted"  # a person says that it may stay, and why


class ReconciliationBreak(Changing):
    """One thing that does not agree, with both sides as they were last seen.

    Whose it is may be unknown: `company_id` is then NULL, and only the platform's operators see it.
    """

    __tablename__ = "reconciliation_breaks"
    __table_args__ = (
        UniqueConstraint(
            "provider", "account", "kind", "object_id", name="uq_reconciliation_breaks"
        ),
        Index("idx_reconciliation_breaks_run_id", "run_id", "id"),
        Index("idx_reconciliation_breaks_status", "status", "id"),
        Index("idx_reconciliation_breaks_object_id", "object_id"),
        Index("idx_reconciliation_breaks_company_id", "company_id", "status", "id"),
        Index("idx_reconciliation_breaks_owner_id", "owner_id"),
        {"info": {"company_owned": False}},
    )

    company_id: Mapped[UUID | None]
    run_id: Mapped[UUID | None]  # that saw it last; none of a payout
    provider: Mapped[Provider] = mapped_column(words(Provider))
    account: Mapped[str] = mapped_column(String(50, collation="utf8mb4_bin"), default="")
    kind: Mapped[BreakKind] = mapped_column(words(BreakKind))
    object_id: Mapped[str] = mapped_column(PROVIDER_ID)  # the provider's
    status: Mapped[BreakStatus] = mapped_column(words(BreakStatus), default=BreakStatus.OPEN)
    # Which object it is about: charge, refund, dispute, customer, method or payout.
    subject: Mapped[str] = mapped_column(String(20))
    transaction_id: Mapped[UUID | None]
    amount: Mapped[Decimal | None]
    currency: Mapped[str | None] = mapped_column(CURRENCY)
    ours: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    theirs: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    happened_at: Mapped[datetime | None]  # when the provider says, else when we do
    first_seen: Mapped[datetime]
    last_seen: Mapped[datetime]
    owner_id: Mapped[UUID | None]
    repair_error: Mapped[str | None] = mapped_column(Text)
    resolution: Mapped[Resolution | None] = mapped_column(words(Resolution))
    note: Mapped[str | None] = mapped_column(Text)
    resolved_by: Mapped[UUID | None]
    resolved_at: Mapped[datetime | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What was found to disagree about one object, to be kept as a break."""

    kind: BreakKind
    subject: str
    object_id: str
    ours: Mapping[str, Any] | None
    theirs: Mapping[str, Any] | None
    company_id: UUID | None = None
    transaction_id: UUID | None = None
    amount: Decimal | None = None
    currency: str | None = None
    happened_at: datetime | None = None


def keep(
    session: Session,
    finding: Finding,
    *,
    provider: Provider,
    account: str,
    run_id: UUID | None,
    moment: datetime,
) -> bool:
    """Keep what was found; True if a break is opened by it, or opened again.

    Whoever calls it holds the run, of which there is one a provider's account. What a person has
    accepted stays so while both sides stay as they are.
    """
    row = find(session, finding.kind, finding.object_id, provider=provider, account=account)
    is_new = row is None
    if row is None:
        row = ReconciliationBreak(
            id=new_id(),
            provider=provider,
            account=account,
            kind=finding.kind,
            object_id=finding.object_id,
            status=BreakStatus.OPEN,
            first_seen=moment,
        )
        session.add(row)
    ours, theirs = _told(finding.ours), _told(finding.theirs)
    is_accepted = row.resolution == Resolution.ACCEPTED and (row.ours, row.theirs) == (ours, theirs)
    row.company_id, row.transaction_id = finding.company_id, finding.transaction_id
    row.subject, row.amount, row.currency = finding.subject, finding.amount, finding.currency
    row.ours, row.theirs, row.happened_at = ours, theirs, finding.happened_at
    row.run_id, row.last_seen = run_id, moment
    if row.status == BreakStatus.OPEN or is_accepted:
        return is_new
    row.status, row.resolution, row.resolved_at, row.resolved_by = (
        BreakStatus.OPEN,
        None,
        None,
        None,
    )
    return True


def find(
    session: Session, kind: BreakKind, object_id: str, *, provider: Provider, account: str = ""
) -> ReconciliationBreak | None:
    """Return the break of this key, locked until the commit."""
    return session.scalars(
        select(ReconciliationBreak)
        .where(
            ReconciliationBreak.provider == provider,
            ReconciliationBreak.account == account,
            ReconciliationBreak.kind == kind,
            ReconciliationBreak.object_id == object_id,
        )
        .with_for_update()
    ).one_or_none()


def agree(row: ReconciliationBreak, *, moment: datetime) -> None:
    """Close a locked break: both sides say the same now."""
    if row.status == BreakStatus.RESOLVED:
        return
    row.status, row.resolution, row.resolved_at = BreakStatus.RESOLVED, Resolution.AGREED, moment


def open_before(
    session: Session,
    *,
    provider: Provider,
    account: str,
    run_id: UUID,
    after: UUID | None,
    limit: int,
) -> list[ReconciliationBreak]:
    """Return the next breaks that this run has not seen, and of which nobody has said enough."""
    query = select(ReconciliationBreak).where(
        ReconciliationBreak.status.in_((BreakStatus.OPEN, BreakStatus.REPAIRED)),
        ReconciliationBreak.provider == provider,
        ReconciliationBreak.account == account,
        ReconciliationBreak.run_id != run_id,
        ReconciliationBreak.kind != BreakKind.PAYOUT_UNBALANCED,
    )
    if after is not None:
        query = query.where(ReconciliationBreak.id > after)
    return list(session.scalars(query.order_by(ReconciliationBreak.id).limit(limit)))


def seen_by(tenant_id: UUID, company_id: UUID | None = None) -> ColumnElement[bool]:
    """Return the condition that a break is a tenant's operators' to see, who may act for one.

    The platform's see all; another tenant's those of its own companies.
    """
    own = select(Company.id).where(Company.tenant_id == tenant_id)
    if company_id is not None:
        return and_(
            ReconciliationBreak.company_id == company_id,
            ReconciliationBreak.company_id.in_(own),
        )
    is_platform = select(Tenant.id).where(Tenant.id == tenant_id, Tenant.is_platform).exists()
    return or_(ReconciliationBreak.company_id.in_(own), is_platform)


def _told(side: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a side as JSON keeps it."""
    if side is None:
        return None
    return {
        name: value if isinstance(value, bool | int) or value is None else str(value)
        for name, value in side.items()
    }
