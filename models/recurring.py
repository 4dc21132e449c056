"""Monthly recurring revenue: what a subscription asks in advance, as if it were billed monthly.

Use, taxes and trials are none of it. It counts while a subscription is active or past due; what is
unpaid, paused or canceled has none. A year's price is a twelfth a month.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal

from sqlalchemy.orm import Session

from models.clock import now
from models.money import Money, decimals
from models.prices import Price, PriceKind
from models.subscriptions import Subscription, SubscriptionStatus, prices_of
from models.tracking import track
from schedules.periods import Every

COUNTED = frozenset({SubscriptionStatus.ACTIVE, SubscriptionStatus.PAST_DUE})
_NONE = Decimal(0)


def monthly(
    prices: Sequence[Price],
    *,
    seats: int,
    every: Every,
    discount_percent: Decimal,
    currency: str,
) -> Decimal:
    """Return what prices come to a month, after the discount, in the currency's main unit."""
    asked = sum(
        (
            charge.quantity * charge.unit_amount
            for price in prices
            if price.kind is not PriceKind.USAGE
            for charge in price.charges(seats)
        ),
        _NONE,
    )
    part = asked * (100 - discount_percent) / 100 / every.months
    return part.quantize(Decimal(1).scaleb(-decimals(currency)), ROUND_HALF_UP)


def mrr_of(session: Session, subscription: Subscription) -> Decimal:
    """Return what a subscription's monthly recurring revenue is as it stands."""
    if subscription.status not in COUNTED:
        return _NONE
    return monthly(
        prices_of(session, subscription),
        seats=subscription.seats,
        every=subscription.every,
        discount_percent=subscription.discount_percent,
        currency=subscription.currency,
    )


def begin(session: Session, subscription: Subscription) -> None:
    """Track that a subscription has begun, and what recurs by it."""
    track(session, "subscription.started", subscription)
    follow(session, subscription)


def change(session: Session, subscription: Subscription) -> None:
    """Track that a locked subscription was changed, and what recurs by it now."""
    session.flush()
    track(session, "subscription.changed", subscription, number=subscription.version)
    follow(session, subscription)


def end(session: Session, subscription: Subscription) -> None:
    """Track that a locked subscription has ended: nothing recurs by it any more."""
    track(session, "subscription.canceled", subscription)
    follow(session, subscription)


def follow(session: Session, subscription: Subscription) -> None:
    """Bring the kept figure of a locked subscription to where it stands; track the difference."""
    session.flush()
    was, is_now = subscription.mrr, mrr_of(session, subscription)
    if was == is_now:
        return
    dimension = _kind_of(subscription, was, is_now)
    moment = now()
    subscription.mrr = is_now
    subscription.recurs_since = subscription.recurs_since or moment
    track(
        session,
        "mrr.changed",
        subscription,
        number=subscription.version,
        at=moment,
        money=Money(is_now - was, subscription.currency),
        dimension=dimension,
    )


def _kind_of(subscription: Subscription, was: Decimal, is_now: Decimal) -> str:
    if not was:
        return "new" if subscription.recurs_since is None else "reactivation"
    if not is_now:
        return "churn"
    return "expansion" if is_now > was else "contraction"
