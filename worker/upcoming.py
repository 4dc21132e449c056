"""A subscription's next invoice as it would be by now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy.orm import Session

from models import customer_credit
from models.statements import gathered, so_far
from models.subscriptions import (
    RENEWING,
    Subscription,
    SubscriptionStatus,
    generating,
    pending_changes,
    prices_of,
)
from models.totals import Line, Priced, Totals, add_up, price
from schedules.periods import Period
from worker import renewals


@dataclass(frozen=True)
class Upcoming:
    """Its lines with what each comes to, and all together; `at` is when it will be made."""

    at: datetime
    currency: str
    lines: list[tuple[Line, Priced]]
    totals: Totals


def invoice_of(
    session: Session, subscription: Subscription, *, moment: datetime
) -> Upcoming | None:
    """Return the next invoice, with what was used by now; None if there will be none.

    An invoice that is being made just now is the next.
    """
    session.flush()
    making = generating(session, subscription.id)
    until = making[0].starts_at if making else None
    changes = pending_changes(session, subscription.id, until=until)
    if making:
        lines = gathered(
            subscription,
            lines=making[0].lines,
            usage_prices=making[0].usage_prices,
            usage_from=making[0].usage_from,
            usage_until=making[0].usage_until,
            changes=changes,
        )
        return _settled(session, subscription, making[0].starts_at, lines)
    period = _next(session, subscription)
    if period is None:
        return None
    prices = prices_of(session, subscription)
    ends = subscription.cancel_at_period_end
    until = min(moment, period.start)
    lines = gathered(
        subscription,
        lines=[] if ends else renewals.lines_for(session, subscription, prices, period),
        usage_prices=so_far(session, subscription, prices, until),
        usage_from=subscription.usage_from,
        usage_until=until,
        changes=changes,
    )
    return _settled(session, subscription, period.start, lines) if lines or not ends else None


def _next(session: Session, subscription: Subscription) -> Period | None:
    is_going_on = subscription.status in (*RENEWING, SubscriptionStatus.TRIALING)
    is_over = (
        subscription.status == SubscriptionStatus.TRIALING and subscription.cancel_at_period_end
    )
    if not is_going_on or is_over or not subscription.is_ours:
        return None
    return renewals.next_period(session, subscription).period


def _settled(
    session: Session, subscription: Subscription, at: datetime, lines: Sequence[Line]
) -> Upcoming:
    currency = subscription.currency
    available = customer_credit.balance(session, subscription.company_id, currency)
    settled, _ = customer_credit.settled(lines, currency, available)
    with_prices = priced(settled, currency)
    return Upcoming(at, currency, with_prices, add_up(each for _, each in with_prices))


def priced(lines: Iterable[Line], currency: str) -> list[tuple[Line, Priced]]:
    """Return lines with what each comes to."""
    return [(line, price(line, currency)) for line in lines]


def total_of(lines: Iterable[tuple[Line, Priced]]) -> Decimal:
    """Return what lines come to together, below zero too."""
    return sum((each.total for _, each in lines), Decimal("0.00"))
