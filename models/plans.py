"""Plans: which of a tenant's modules are sold together, for how long, and at which prices.

A plan's prices are never changed: who wants other ones makes another plan. What a subscription was
sold at is copied to it besides.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    DECIMAL,
    JSON,
    BigInteger,
    Boolean,
    ForeignKey,
    Index,
    Integer,
    String,
    UniqueConstraint,
    select,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import CURRENCY, Changing, words
from models.modules import Module
from models.prices import Price, PriceKind, TiersMode, tiers_of
from schedules.periods import Every, Interval


class Plan(Changing):
    """What is sold for a month or a year, or several of them."""

    __tablename__ = "plans"
    __table_args__ = (UniqueConstraint("tenant_id", "code"),)

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"))
    code: Mapped[str] = mapped_column(String(50, collation="utf8mb4_bin"))
    name: Mapped[str] = mapped_column(String(200))
    interval: Mapped[Interval] = mapped_column("billed_every", words(Interval))
    interval_count: Mapped[int] = mapped_column(Integer, default=1)
    trial_days: Mapped[int] = mapped_column(Integer, default=0)
    is_active: Mapped[bool] = mapped_column(Boolean, default=True)

    @property
    def every(self) -> Every:
        """Return how long its periods are."""
        return Every(self.interval, self.interval_count)


class PlanPrice(Changing):
    """What a plan asks for one module in one currency. Only ever added."""

    __tablename__ = "plan_prices"
    __table_args__ = (
        UniqueConstraint("plan_id", "module_id", "currency", "kind"),
        Index("idx_plan_prices_module_id", "module_id"),
    )

    plan_id: Mapped[UUID] = mapped_column(ForeignKey("plans.id"))
    module_id: Mapped[UUID] = mapped_column(ForeignKey("modules.id"))
    currency: Mapped[str] = mapped_column(CURRENCY)
    kind: Mapped[PriceKind] = mapped_column(words(PriceKind))
    # What is counted may cost less than the smallest coin.
    unit_amount: Mapped[Decimal] = mapped_column(DECIMAL(19, 6))
    tiers: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON(none_as_null=True))
    tiers_mode: Mapped[TiersMode | None] = mapped_column(words(TiersMode))
    included: Mapped[int] = mapped_column(BigInteger, default=0)


def plan_of(session: Session, tenant_id: UUID, named: str) -> Plan | None:
    """Return a tenant's plan by its code or its id."""
    by_code = select(Plan).where(Plan.tenant_id == tenant_id, Plan.code == named)
    found = session.scalars(by_code).one_or_none()
    if found is not None:
        return found
    try:
        plan = session.get(Plan, UUID(named))
    except ValueError:
        return None
    return plan if plan is not None and plan.tenant_id == tenant_id else None


def prices_of(session: Session, plan_ids: list[UUID]) -> dict[UUID, list[tuple[PlanPrice, str]]]:
    """Return the prices of plans, each with its module's name, in the order they were given."""
    found: dict[UUID, list[tuple[PlanPrice, str]]] = {plan_id: [] for plan_id in plan_ids}
    rows = session.execute(
        select(PlanPrice, Module.name)
        .join(Module, Module.id == PlanPrice.module_id)
        .where(PlanPrice.plan_id.in_(plan_ids))
        .order_by(PlanPrice.id)
    )
    for price, module in rows:
        found[price.plan_id].append((price, module))
    return found


def sold_with(session: Session, module_id: UUID) -> str | None:
    """Return the code of a plan that is sold and asks for a module, or None."""
    return session.scalar(
        select(Plan.code)
        .join(PlanPrice, PlanPrice.plan_id == Plan.id)
        .where(PlanPrice.module_id == module_id, Plan.is_active.is_(True))
        .order_by(Plan.id)
        .limit(1)
    )


def sold_in(session: Session, plan_id: UUID, currency: str) -> list[Price]:
    """Return what a plan asks for its modules in a currency; empty if it is not sold in it."""
    return [
        Price(
            module_id=row.module_id,
            module=module,
            kind=PriceKind(row.kind),
            unit_amount=row.unit_amount,
            tiers=tiers_of(row.tiers),
            mode=TiersMode(row.tiers_mode or TiersMode.GRADUATED),
            included=row.included,
        )
        for row, module in prices_of(session, [plan_id])[plan_id]
        if row.currency == currency
    ]
