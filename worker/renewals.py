"""How a subscription goes on: its trial ends, periods follow one another, it ends.

Each step brings a locked subscription to one of its dates, in their order; `catch_up` makes all
that are due. The sweep makes them when they are due, and whoever acts on a subscription first.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from models import recurring, usage
from models.billed_lines import as_json, in_advance
from models.clock import now
from models.modules import Module
from models.notifications import owe_notice
from models.outbox import enqueue
from models.plans import Plan
from models.prices import Price
from models.standing import standing_of
from models.statements import Taken, take_up
from models.subscriptions import (
    RENEWING,
    PeriodStatus,
    Subscription,
    SubscriptionPeriod,
    SubscriptionStatus,
    pending_changes,
    period_at,
    prices_of,
)
from models.tenants import Company
from models.timeline import Cause, note
from schedules.periods import Period, boundary, days_on, moved_to
from worker import modules

TRIAL_NOTICE_DAYS = 3


def catch_up(session: Session, subscription: Subscription, moment: datetime, cause: Cause) -> None:
    """Bring a locked subscription to now, through all that it has missed."""
    while step(session, subscription, moment, cause):
        pass


def step(session: Session, subscription: Subscription, moment: datetime, cause: Cause) -> bool:
    """Make the first step that is due of a locked subscription; False if none is."""
    if subscription.next_due_at is None or subscription.next_due_at > moment:
        return False
    if subscription.status == SubscriptionStatus.TRIALING:
        _go_on_with_trial(session, subscription, moment, cause)
    elif subscription.status in RENEWING and subscription.current_period_end <= moment:
        _renew(session, subscription, cause)
    else:
        subscription.overdue_at = None
        stand(session, subscription, moment, cause)
    subscription.look_next()
    return True


def _go_on_with_trial(
    session: Session, subscription: Subscription, moment: datetime, cause: Cause
) -> None:
    subscription.trial_notice_at = None
    ends_at = subscription.current_period_end
    if ends_at > moment:
        tell_of_trial(session, subscription, ends_at)
    elif subscription.cancel_at_period_end:
        end(session, subscription, at=ends_at, because=cause)
    else:
        subscription.move_to(SubscriptionStatus.ACTIVE, because=cause.but("the trial is over"))
        begin_period(session, subscription, because=cause)


def tell_of_trial(session: Session, subscription: Subscription, ends_at: datetime) -> None:
    """Owe the notice that a trial ends soon, once; nothing to who has canceled it already."""
    if not subscription.cancel_at_period_end:
        owe_notice(
            session,
            "trial_ending",
            subscription,
            plan=session.get_one(Plan, subscription.plan_id).name,
            ends_at=ends_at.isoformat(),
        )


def _renew(session: Session, subscription: Subscription, cause: Cause) -> None:
    if subscription.cancel_at_period_end:
        end(session, subscription, at=subscription.current_period_end, because=cause)
    else:
        begin_period(session, subscription, because=cause)


def notice_at(ends_at: datetime, zone: str) -> datetime:
    """Return when a trial's end is to be told."""
    return days_on(ends_at, zone, -TRIAL_NOTICE_DAYS)


class Next(NamedTuple):
    """The period after the current one, and what it is counted by."""

    period: Period
    anchor_at: datetime
    time_zone: str


def next_period(session: Session, subscription: Subscription) -> Next:
    """Return the period after the current one, in the zone that the company is in by now.

    A period that has begun keeps its end; the next one ends by the clocks of the new zone.
    """
    zone = session.get_one(Company, subscription.company_id).time_zone
    anchor_at = subscription.anchor_at
    if zone != subscription.time_zone:
        anchor_at = moved_to(anchor_at, subscription.time_zone, zone)
    number = subscription.period_number + 1
    until = boundary(anchor_at, zone, subscription.every, number)
    return Next(Period(subscription.current_period_end, until), anchor_at, zone)


def begin_period(session: Session, subscription: Subscription, *, because: Cause) -> None:
    """Begin the next period of a locked subscription and owe its invoice.

    What is unpaid is not billed for more: its period is skipped.
    """
    period, subscription.anchor_at, subscription.time_zone = next_period(session, subscription)
    subscription.period_number += 1
    subscription.current_period_start = period.start
    subscription.current_period_end = period.end
    prices = prices_of(session, subscription)
    is_skipped = subscription.status == SubscriptionStatus.UNPAID
    lines = lines_for(session, subscription, prices, period)
    usage_from, taken = subscription.usage_from, []
    if not is_skipped:
        taken = take_up(session, subscription, prices, period.start)
        subscription.taken_up = {}
    subscription.asked = [] if is_skipped else lines
    row = SubscriptionPeriod(
        company_id=subscription.company_id,
        subscription_id=subscription.id,
        starts_at=period.start,
        ends_at=period.end,
        lines=lines,
        status=PeriodStatus.SKIPPED if is_skipped else PeriodStatus.GENERATING,
        why="what is billed is not paid" if is_skipped else None,
        usage_prices=taken,
        usage_from=usage_from,
        usage_until=usage_from if is_skipped else period.start,
    )
    session.add(row)
    session.flush()
    subscription.look_next()
    count_use(session, subscription, prices, period)
    told = because.but(f"from {period.start:%Y-%m-%d} to {period.end:%Y-%m-%d}")
    note(session, subscription, what="skipped" if is_skipped else "renewed", because=told)
    # Also of one that is older than the figure.
    recurring.follow(session, subscription)
    if not is_skipped:
        _owe_invoice(session, row)


def begin_anew(
    session: Session, subscription: Subscription, *, at: datetime, because: Cause
) -> None:
    """Begin a first period at `at`, which is the anchor from here on."""
    cut(session, subscription, at)
    subscription.time_zone = session.get_one(Company, subscription.company_id).time_zone
    subscription.anchor_at = subscription.current_period_end = at
    subscription.period_number = 0
    begin_period(session, subscription, because=because)


def cut(session: Session, subscription: Subscription, at: datetime) -> None:
    """End the current period at `at`, earlier than foreseen."""
    row = period_at(session, subscription.id, subscription.current_period_start)
    if row is not None and row.starts_at < at < row.ends_at:
        row.ends_at = at
    subscription.current_period_end = at


def end(
    session: Session,
    subscription: Subscription,
    *,
    at: datetime,
    kept: Fraction | None = None,
    because: Cause,
) -> None:
    """End a locked subscription: what it still owes is billed, its modules are taken away.

    Args:
        kept: the part of its period that its included units are for; all of it if left out.
    """
    was_trial = subscription.status == SubscriptionStatus.TRIALING
    # What was to end then has, though nobody came by: later use is refused, see `models.usage`.
    is_foreseen = subscription.cancel_at_period_end
    cut(session, subscription, at)
    subscription.move_to(SubscriptionStatus.CANCELED, because=because)
    subscription.canceled_at = subscription.canceled_at or now()
    subscription.ended_at = at
    subscription.cancel_at_period_end = False
    subscription.look_next()
    recurring.end(session, subscription)
    prices = prices_of(session, subscription)
    modules_of = sorted({price.module_id for price in prices})
    for module_id in modules_of:
        modules.unsubscribe(
            session,
            subscription.company_id,
            module_id,
            subscription_id=subscription.id,
            at=at if is_foreseen else None,
            because=because,
        )
    if subscription.is_ours and not was_trial:
        usage_from, until = subscription.usage_from, at if is_foreseen else max(at, now())
        taken = take_up(session, subscription, prices, until, kept=kept)
        _close(session, subscription, taken, usage_from, at)
    owe_notice(
        session,
        "subscription_canceled",
        subscription,
        plan=session.get_one(Plan, subscription.plan_id).name,
        ended_at=at.isoformat(),
    )


def close_late(session: Session, subscription: Subscription, at: datetime) -> None:
    """Owe an invoice of the use of a locked subscription that was told after it ended."""
    usage_from = subscription.usage_from
    taken = take_up(session, subscription, [], usage_from)
    while period_at(session, subscription.id, at) is not None:
        at += timedelta(seconds=1)
    _close(session, subscription, taken, usage_from, at)


def _close(
    session: Session,
    subscription: Subscription,
    taken: list[Taken],
    usage_from: datetime,
    at: datetime,
) -> None:
    """Owe an invoice of what is left: use in arrears and changes."""
    if not taken and not pending_changes(session, subscription.id):
        return
    row = SubscriptionPeriod(
        company_id=subscription.company_id,
        subscription_id=subscription.id,
        starts_at=at,
        ends_at=at,
        lines=[],
        status=PeriodStatus.GENERATING,
        usage_prices=taken,
        usage_from=usage_from,
        usage_until=subscription.usage_from,
    )
    session.add(row)
    session.flush()
    _owe_invoice(session, row)


def stand(session: Session, subscription: Subscription, moment: datetime, cause: Cause) -> None:
    """Bring a locked subscription to where its invoices and their payments have it."""
    if subscription.status not in RENEWING or not subscription.is_ours:
        return
    session.flush()
    found = standing_of(session, subscription, moment=moment)
    subscription.overdue_at = found.overdue_at
    to = found.status
    if to is not None and to != subscription.status and subscription.can_move_to(to):
        was = subscription.status
        subscription.move_to(to, because=cause.but(found.why))
        if was == SubscriptionStatus.UNPAID and _is_skipped(session, subscription):
            begin_anew(session, subscription, at=within(subscription, moment), because=cause)
        recurring.follow(session, subscription)
    subscription.look_next()


def _is_skipped(session: Session, subscription: Subscription) -> bool:
    row = period_at(session, subscription.id, subscription.current_period_start)
    return row is not None and row.status == PeriodStatus.SKIPPED


def whole(moment: datetime) -> datetime:
    """Return a time without its parts of a second: periods are counted in seconds."""
    return moment.replace(microsecond=0)


def within(subscription: Subscription, moment: datetime) -> datetime:
    """Return when an act on a subscription counts: in its period, and not when that begins."""
    return max(whole(moment), subscription.current_period_start + timedelta(seconds=1))


def kept_part(subscription: Subscription, at: datetime, *, is_given_back: bool) -> Fraction | None:
    """Return the part of a period that ends at `at` for which its included units are kept.

    None is all of it: it stays paid for as a whole.
    """
    is_billed = subscription.status in (SubscriptionStatus.ACTIVE, SubscriptionStatus.PAST_DUE)
    if not is_billed or not (is_given_back or not subscription.asked):
        return None
    period = subscription.current_period
    return min(Fraction(1), Fraction(Period(period.start, at).seconds, period.seconds))


def lines_for(
    session: Session, subscription: Subscription, prices: list[Price], period: Period
) -> list[dict[str, object]]:
    """Return what is asked in advance for a period, as rows keep it."""
    plan = session.get_one(Plan, subscription.plan_id)
    lines = in_advance(
        prices,
        plan=plan.name,
        seats=subscription.seats,
        period=period,
        taxes=subscription.tax_rates,
        discount_percent=subscription.discount_percent,
    )
    return [as_json(line) for line in lines]


def count_use(
    session: Session, subscription: Subscription, prices: Sequence[Price], period: Period
) -> None:
    """Have the use of what is counted be counted by this period."""
    for module_id in sorted({price.module_id for price in prices}):
        if session.get_one(Module, module_id).unit is not None:
            _begin_counting(session, subscription, module_id, period)


def _begin_counting(
    session: Session, subscription: Subscription, module_id: UUID, period: Period
) -> None:
    try:
        usage.begin_period(session, subscription.company_id, module_id, period.start, period.end)
    except LookupError:
        return  # somebody has taken the module away from the company


def _owe_invoice(session: Session, row: SubscriptionPeriod) -> None:
    enqueue(session, "invoicing.generate", period_id=row.id)
