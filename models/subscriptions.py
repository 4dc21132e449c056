"""Subscriptions, their billing periods, what they were sold at, and what is yet to be billed.

    trialing ── active ⇄ past_due ── unpaid
        └─────── paused ⇄ active          any of them ── canceled

A period's row is written when the period begins, as `generating`, and holds what its invoice asks
in advance; `invoicing.generate` works from the row alone. The unique key on subscription and start
is the promise of one invoice a period.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
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
    Text,
    UniqueConstraint,
    select,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from models import locks
from models.base import CURRENCY, PROVIDER_ID, Changing, CompanyOwned, words
from models.prices import Price, PriceKind, TiersMode, tier_as_json, tiers_of
from models.states import Moving
from models.totals import Tax
from schedules.periods import Every, Interval, Period


class SubscriptionStatus(StrEnum):
    """Where a subscription stands."""

    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"  # a payment was declined, or an invoice is overdue
    UNPAID = "unpaid"  # nothing more is tried; nothing more is billed until it is paid
    PAUSED = "paused"
    CANCELED = "canceled"


_S = SubscriptionStatus
# In these a period follows the one before.
RENEWING = (_S.ACTIVE, _S.PAST_DUE, _S.UNPAID)
LIVE = (_S.TRIALING, *RENEWING, _S.PAUSED)


class Subscription(Moving):
    """What a company has subscribed to, and until when it is billed."""

    __tablename__ = "subscriptions"
    __table_args__ = (
        UniqueConstraint("provider_subscription_id"),
        Index("idx_subscriptions_company_id", "company_id", "id"),
        Index("idx_subscriptions_company_status", "company_id", "status"),
        Index("idx_subscriptions_next_due_at", "next_due_at"),
    )

    MOVES = {  # noqa: RUF012  data, read by the docs and the tests
        _S.TRIALING: frozenset({_S.ACTIVE, _S.PAST_DUE, _S.PAUSED, _S.CANCELED}),
        _S.ACTIVE: frozenset({_S.PAST_DUE, _S.UNPAID, _S.PAUSED, _S.CANCELED}),
        _S.PAST_DUE: frozenset({_S.ACTIVE, _S.UNPAID, _S.PAUSED, _S.CANCELED}),
        _S.UNPAID: frozenset({_S.ACTIVE, _S.CANCELED}),
        _S.PAUSED: frozenset({_S.ACTIVE, _S.CANCELED}),
        _S.CANCELED: frozenset(),
    }

    plan_id: Mapped[UUID] = mapped_column(ForeignKey("plans.id"))
    status: Mapped[SubscriptionStatus] = mapped_column(words(SubscriptionStatus))
    currency: Mapped[str] = mapped_column(CURRENCY)
    seats: Mapped[int] = mapped_column(Integer, default=1)
    # The plan's when it was sold: a plan's own are never changed.
    interval: Mapped[Interval] = mapped_column("billed_every", words(Interval))
    interval_count: Mapped[int] = mapped_column(Integer, default=1)
    anchor_at: Mapped[datetime]
    time_zone: Mapped[str] = mapped_column(String(64))
    # How many periods have begun since the anchor; 0 in a trial.
    period_number: Mapped[int] = mapped_column(Integer, default=0)
    current_period_start: Mapped[datetime]
    current_period_end: Mapped[datetime]
    # Use is billed from here on: up to here it has been, or will be by a period's row.
    usage_from: Mapped[datetime]
    trial_ends_at: Mapped[datetime | None]
    trial_notice_at: Mapped[datetime | None]  # until its end has been told
    cancel_at_period_end: Mapped[bool] = mapped_column(Boolean, default=False)
    canceled_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    paused_at: Mapped[datetime | None]
    # When the oldest open invoice that nobody pays becomes overdue.
    overdue_at: Mapped[datetime | None]
    # When the sweep must look; None for never.
    next_due_at: Mapped[datetime | None]
    provider: Mapped[str | None] = mapped_column(String(50))  # who bills it, if not we
    provider_subscription_id: Mapped[str | None] = mapped_column(PROVIDER_ID)
    taxes: Mapped[list[dict[str, str]]] = mapped_column(JSON, default=list)
    discount_percent: Mapped[Decimal] = mapped_column(DECIMAL(7, 4), default=Decimal(0))
    payment_method_id: Mapped[UUID | None] = mapped_column(ForeignKey("payment_methods.id"))
    # What was asked in advance for the current period, as if for all of it: what a change or an
    # end gives back is a part of this. A change that is not prorated leaves it.
    asked: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    # Of each module, by its id: what of its use this period has taken up, see `models.statements`.
    taken_up: Mapped[dict[str, dict[str, Any]]] = mapped_column(JSON, default=dict)
    # Monthly recurring revenue, and since when there has been any: models/recurring.py.
    mrr: Mapped[Decimal] = mapped_column(default=Decimal(0), server_default="0")
    recurs_since: Mapped[datetime | None]
    synced_at: Mapped[datetime | None]  # when what is known was asked for, of who bills it

    @property
    def every(self) -> Every:
        """Return how long its periods are."""
        return Every(self.interval, self.interval_count)

    @property
    def current_period(self) -> Period:
        """Return the period that it is in; in a trial, the trial."""
        return Period(self.current_period_start, self.current_period_end)

    @property
    def tax_rates(self) -> tuple[Tax, ...]:
        """Return the rates that its lines are taxed at."""
        return tuple(Tax(each["name"], Decimal(each["percent"])) for each in self.taxes)

    @property
    def is_ours(self) -> bool:
        """Whether we bill it, and not a provider."""
        return self.provider is None

    def look_next(self) -> None:
        """Set when the sweep must look, from where it stands."""
        self.next_due_at = min((at for at in self._ahead() if at is not None), default=None)

    def _ahead(self) -> list[datetime | None]:
        if not self.is_ours or self.status == _S.CANCELED:
            return []
        if self.status == _S.TRIALING:
            return [self.trial_notice_at, self.trial_ends_at]
        if self.status == _S.PAUSED:
            return [self.overdue_at]
        return [self.current_period_end, self.overdue_at]


class SubscriptionItem(CompanyOwned, Changing):
    """What a subscription pays for one module: the price that it was sold at."""

    __tablename__ = "subscription_items"
    __table_args__ = (
        UniqueConstraint("subscription_id", "module_id", "kind"),
        Index("idx_subscription_items_company_id", "company_id"),
    )

    subscription_id: Mapped[UUID] = mapped_column(ForeignKey("subscriptions.id"))
    module_id: Mapped[UUID] = mapped_column(ForeignKey("modules.id"))
    module: Mapped[str] = mapped_column(String(255))  # its name then
    kind: Mapped[PriceKind] = mapped_column(words(PriceKind))
    unit_amount: Mapped[Decimal] = mapped_column(DECIMAL(19, 6))
    tiers: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON(none_as_null=True))
    tiers_mode: Mapped[TiersMode | None] = mapped_column(words(TiersMode))
    included: Mapped[int] = mapped_column(BigInteger, default=0)
    position: Mapped[int] = mapped_column(Integer)

    @property
    def price(self) -> Price:
        """Return it as a price."""
        return Price(
            module_id=self.module_id,
            module=self.module,
            kind=PriceKind(self.kind),
            unit_amount=self.unit_amount,
            tiers=tiers_of(self.tiers),
            mode=TiersMode(self.tiers_mode or TiersMode.GRADUATED),
            included=self.included,
        )


class PeriodStatus(StrEnum):
    """What has become of a period's invoice."""

    GENERATING = "generating"
    INVOICED = "invoiced"
    UNBILLED = "unbilled"  # nothing was to be billed, or no invoice can hold it: see `why`
    SKIPPED = "skipped"  # what is billed already was not paid


class SubscriptionPeriod(CompanyOwned, Changing):
    """One period of a subscription, and its one invoice.

    What a subscription owes at its end has a row too, of no length.
    """

    __tablename__ = "subscription_periods"
    __table_args__ = (
        UniqueConstraint("subscription_id", "starts_at"),
        UniqueConstraint("invoice_id"),
        Index("idx_subscription_periods_company_id", "company_id"),
    )

    subscription_id: Mapped[UUID] = mapped_column(ForeignKey("subscriptions.id"))
    starts_at: Mapped[datetime]
    # Earlier than foreseen where the subscription was paused, ended, or began anew in it.
    ends_at: Mapped[datetime]
    status: Mapped[PeriodStatus] = mapped_column(
        words(PeriodStatus), default=PeriodStatus.GENERATING
    )
    # What is asked in advance: lines, as `models.billed_lines` keeps them.
    lines: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    # What is asked in arrears: the prices of use, each with how much it was, and of which time.
    usage_prices: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    usage_from: Mapped[datetime]
    usage_until: Mapped[datetime]
    invoice_id: Mapped[UUID | None] = mapped_column(ForeignKey("invoices.id"))
    why: Mapped[str | None] = mapped_column(Text)  # it has no invoice

    @property
    def period(self) -> Period:
        """Return from when until when it is."""
        return Period(self.starts_at, self.ends_at)


class SubscriptionChange(CompanyOwned, Changing):
    """What a change within a period comes to; the next invoice takes it up."""

    __tablename__ = "subscription_changes"
    __table_args__ = (
        Index("idx_subscription_changes_pending", "subscription_id", "invoiced_in"),
        Index("idx_subscription_changes_company_id", "company_id"),
    )

    subscription_id: Mapped[UUID] = mapped_column(ForeignKey("subscriptions.id"))
    at: Mapped[datetime]
    lines: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    invoiced_in: Mapped[UUID | None] = mapped_column(ForeignKey("invoices.id"))


def lock(session: Session, subscription_id: UUID) -> Subscription | None:
    """Return the company's subscription, locked until the commit."""
    return locks.lock(session, Subscription, subscription_id)


def lock_existing(session: Session, subscription_id: UUID) -> Subscription:
    """Return a subscription that is known to exist, locked until the commit."""
    return locks.lock_existing(session, Subscription, subscription_id)


def has_had_trial(session: Session) -> bool:
    """Whether the session's company has, or had, a trial of anything. Hold its row to go on."""
    found = select(Subscription.id).where(Subscription.trial_ends_at.is_not(None)).limit(1)
    return session.scalar(found) is not None


def taken_elsewhere(
    session: Session, module_ids: Collection[UUID], *, but: UUID | None = None
) -> str | None:
    """Return the name of a module that another live subscription of the company has, or None.

    Hold the company's row to go on with that.
    """
    query = (
        select(SubscriptionItem.module)
        .join(Subscription, Subscription.id == SubscriptionItem.subscription_id)
        .where(SubscriptionItem.module_id.in_(list(module_ids)), Subscription.status.in_(LIVE))
        .limit(1)
    )
    return session.scalar(query if but is None else query.where(Subscription.id != but))


def ends_foreseen(
    session: Session, subscription_ids: Collection[UUID | None]
) -> dict[UUID | None, datetime]:
    """Return when each of these ends that is to end with its period, of those that do."""
    asked = [each for each in subscription_ids if each is not None]
    if not asked:
        return {}
    rows = session.execute(
        select(Subscription.id, Subscription.current_period_end).where(
            Subscription.id.in_(asked), Subscription.cancel_at_period_end.is_(True)
        )
    )
    return {row.id: row.current_period_end for row in rows}


def items_of(session: Session, subscription_ids: list[UUID]) -> dict[UUID, list[SubscriptionItem]]:
    """Return what subscriptions pay for, in order, in one query."""
    found: dict[UUID, list[SubscriptionItem]] = {each: [] for each in subscription_ids}
    rows = session.scalars(
        select(SubscriptionItem)
        .where(SubscriptionItem.subscription_id.in_(subscription_ids))
        .order_by(SubscriptionItem.position)
    )
    for row in rows:
        found[row.subscription_id].append(row)
    return found


def prices_of(session: Session, subscription: Subscription) -> list[Price]:
    """Return the prices that a subscription was sold at."""
    return [item.price for item in items_of(session, [subscription.id])[subscription.id]]


def sell(session: Session, subscription: Subscription, prices: list[Price]) -> None:
    """Keep these prices with a subscription, in place of those that it has."""
    for old in items_of(session, [subscription.id])[subscription.id]:
        session.delete(old)
    session.flush()
    for position, price in enumerate(prices):
        session.add(
            SubscriptionItem(
                company_id=subscription.company_id,
                subscription_id=subscription.id,
                module_id=price.module_id,
                module=price.module,
                kind=price.kind,
                unit_amount=price.unit_amount,
                tiers=[tier_as_json(tier) for tier in price.tiers] or None,
                tiers_mode=price.mode if price.tiers else None,
                included=price.included,
                position=position,
            )
        )


def pending_changes(
    session: Session, subscription_id: UUID, *, until: datetime | None = None
) -> list[SubscriptionChange]:
    """Return what the next invoice is to take up, oldest first.

    Args:
        until: when the period of that invoice begins; what is changed later is for the one after.
    """
    query = select(SubscriptionChange).where(
        SubscriptionChange.subscription_id == subscription_id,
        SubscriptionChange.invoiced_in.is_(None),
    )
    if until is not None:
        query = query.where(SubscriptionChange.at <= until)
    return list(session.scalars(query.order_by(SubscriptionChange.at, SubscriptionChange.id)))


def generating(session: Session, subscription_id: UUID) -> list[SubscriptionPeriod]:
    """Return the periods whose invoices are yet to be made, in their order."""
    return list(
        session.scalars(
            select(SubscriptionPeriod)
            .where(
                SubscriptionPeriod.subscription_id == subscription_id,
                SubscriptionPeriod.status == PeriodStatus.GENERATING,
            )
            .order_by(SubscriptionPeriod.starts_at)
        )
    )


def period_at(
    session: Session, subscription_id: UUID, starts_at: datetime
) -> SubscriptionPeriod | None:
    """Return the period that begins then."""
    return session.scalars(
        select(SubscriptionPeriod).where(
            SubscriptionPeriod.subscription_id == subscription_id,
            SubscriptionPeriod.starts_at == starts_at,
        )
    ).one_or_none()
