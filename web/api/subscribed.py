"""Subscriptions and their coming invoices, as they are answered."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.plans import Plan
from models.prices import PriceKind, TiersMode
from models.subscriptions import Subscription, SubscriptionItem, SubscriptionStatus, items_of
from models.totals import Line, Priced
from schedules.periods import Interval
from web.api.plans import TierAnswer
from web.schemas import Amount, Moment
from worker.upcoming import Upcoming, priced, total_of


class TaxAnswer(BaseModel):
    """A rate."""

    name: str
    percent: Amount


class SubscriptionSummary(BaseModel):
    """A subscription without its prices."""

    id: UUID
    plan_id: UUID
    plan: str
    status: SubscriptionStatus
    currency: str
    seats: int
    interval: Interval
    interval_count: int
    time_zone: str
    current_period_start: Moment
    current_period_end: Moment
    trial_ends_at: Moment | None
    cancel_at_period_end: bool
    canceled_at: Moment | None
    ended_at: Moment | None
    paused_at: Moment | None
    provider: str | None
    provider_subscription_id: str | None
    taxes: list[TaxAnswer]
    discount_percent: Amount
    payment_method_id: UUID | None
    created_at: Moment
    updated_at: Moment


class ItemAnswer(BaseModel):
    """What a subscription pays for one module: as it was sold."""

    module_id: UUID
    module: str
    kind: PriceKind
    unit_amount: Amount
    tiers: list[TierAnswer]
    tiers_mode: TiersMode | None
    included: int


class SubscriptionAnswer(SubscriptionSummary):
    """A subscription with the prices that it was sold at."""

    items: list[ItemAnswer]


class SubscriptionsAnswer(BaseModel):
    """A page of subscriptions, newest first."""

    data: list[SubscriptionSummary]
    next_cursor: str | None


class UpcomingLine(BaseModel):
    """A line of an invoice that is yet to be made."""

    description: str
    quantity: Amount
    unit_amount: Amount
    amount: Amount
    discount_amount: Amount
    tax_amount: Amount
    total: Amount
    period_start: Moment | None
    period_end: Moment | None


class UpcomingAnswer(BaseModel):
    """The next invoice as it would be by now, with what was used so far."""

    at: Moment | None
    currency: str
    lines: list[UpcomingLine]
    subtotal: Amount
    discount_amount: Amount
    tax_amount: Amount
    amount: Amount


class PreviewAnswer(BaseModel):
    """What a change would come to, and the next invoice with it."""

    change: list[UpcomingLine]
    change_total: Amount
    upcoming: UpcomingAnswer | None


def whole(session: Session, subscription: Subscription) -> dict[str, Any]:
    """Return a subscription as `SubscriptionAnswer` has it."""
    items = items_of(session, [subscription.id])[subscription.id]
    plan = session.get_one(Plan, subscription.plan_id)
    return {**summary(subscription, plan.code), "items": [_item(each) for each in items]}


def plan_codes(session: Session, rows: Iterable[Subscription]) -> dict[UUID, str]:
    """Return the codes of the plans of subscriptions, in one query."""
    wanted = {row.plan_id for row in rows}
    found = session.execute(select(Plan.id, Plan.code).where(Plan.id.in_(wanted)))
    return {identity: code for identity, code in found}  # noqa: C416  rows are no pairs to mypy


def summary(row: Subscription, plan: str) -> dict[str, Any]:
    """Return a subscription as `SubscriptionSummary` has it; `plan` is the plan's code."""
    same = (
        "id plan_id status currency seats interval interval_count time_zone current_period_start"
        " current_period_end trial_ends_at cancel_at_period_end canceled_at ended_at paused_at"
        " provider provider_subscription_id payment_method_id created_at updated_at"
    )
    return {
        **{name: getattr(row, name) for name in same.split()},
        "plan": plan,
        "taxes": [{"name": tax.name, "percent": _plain(tax.percent)} for tax in row.tax_rates],
        "discount_percent": _plain(row.discount_percent),
    }


def _item(item: SubscriptionItem) -> dict[str, Any]:
    price = item.price
    return {
        "module_id": price.module_id,
        "module": price.module,
        "kind": price.kind,
        "unit_amount": _plain(price.unit_amount),
        "tiers": [
            {"up_to": tier.up_to, "unit_amount": tier.unit_amount, "flat_amount": tier.flat_amount}
            for tier in price.tiers
        ],
        "tiers_mode": TiersMode(price.mode) if price.tiers else None,
        "included": price.included,
    }


def shown_upcoming(found: Upcoming) -> dict[str, Any]:
    """Return an invoice that is yet to be made as `UpcomingAnswer` has it."""
    return {
        "at": found.at,
        "currency": found.currency,
        "lines": [_line(line, figures) for line, figures in found.lines],
        "subtotal": found.totals.subtotal,
        "discount_amount": found.totals.discount_amount,
        "tax_amount": found.totals.tax_amount,
        "amount": found.totals.amount,
    }


def shown_preview(lines: Iterable[Line], coming: Upcoming | None, currency: str) -> dict[str, Any]:
    """Return what a change comes to as `PreviewAnswer` has it."""
    change = priced(lines, currency)
    return {
        "change": [_line(line, figures) for line, figures in change],
        "change_total": total_of(change),
        "upcoming": shown_upcoming(coming) if coming else None,
    }


def _line(line: Line, figures: Priced) -> dict[str, Any]:
    start, end = line.period or (None, None)
    return {
        "description": line.description,
        "quantity": line.quantity,
        "unit_amount": _plain(line.unit_amount),
        "amount": figures.amount,
        "discount_amount": figures.discount_amount,
        "tax_amount": figures.tax_amount,
        "total": figures.total,
        "period_start": start,
        "period_end": end,
    }


def _plain(value: Decimal) -> Decimal:
    """Return a figure without the zeros that its column adds."""
    return value.normalize() + 0
