"""What people do with subscriptions: start, change, pause, resume, cancel, keep.

Each acts on a subscription that is locked and has caught up with now. A change in a period is
prorated by the second; the next invoice takes it up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

from sqlalchemy.orm import Session

from models import locks, recurring
from models.billed_lines import as_json, line_of, of_change
from models.clock import now
from models.ids import new_id
from models.modules import billed_since
from models.plans import Plan
from models.prices import Price
from models.statements import of_use, take_up
from models.subscriptions import (
    Subscription,
    SubscriptionChange,
    SubscriptionStatus,
    prices_of,
    sell,
    taken_elsewhere,
)
from models.tenants import Company
from models.timeline import Cause, note
from models.totals import Line, Tax
from schedules.periods import days_on
from worker import giving_back, modules, renewals

_S = SubscriptionStatus


class Refused(Exception):
    """It cannot be done with a subscription as it stands; says why to a person."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a subscription is started with.

    Attributes:
        prices: the plan's, in the currency.
        starts_at: earlier than now bills what was missed; later is a trial until then.
    """

    plan: Plan
    prices: Sequence[Price]
    currency: str
    seats: int = 1
    trial_days: int = 0
    starts_at: datetime | None = None
    taxes: tuple[Tax, ...] = ()
    discount_percent: Decimal = Decimal(0)
    payment_method_id: UUID | None = None


def start(session: Session, company: Company, terms: Terms, *, because: Cause) -> Subscription:
    """Start a subscription, in a trial or with its first period, whose invoice is then owed.

    Raises:
        Refused: the company has one of its modules by another subscription.
    """
    _refuse_taken(session, company.id, terms.prices)
    _refuse_billed(session, terms)
    moment = renewals.whole(now())
    begins_at = renewals.whole(terms.starts_at or moment)
    paid_from = days_on(begins_at, company.time_zone, terms.trial_days)
    is_trial = paid_from > moment
    subscription = Subscription(
        id=new_id(),
        company_id=company.id,
        plan_id=terms.plan.id,
        status=_S.TRIALING if is_trial else _S.ACTIVE,
        currency=terms.currency,
        seats=terms.seats,
        interval=terms.plan.interval,
        interval_count=terms.plan.interval_count,
        anchor_at=paid_from,
        time_zone=company.time_zone,
        period_number=0,
        current_period_start=min(begins_at, moment) if is_trial else paid_from,
        current_period_end=paid_from,
        usage_from=paid_from,
        trial_ends_at=paid_from if is_trial else None,
        cancel_at_period_end=False,
        taxes=[{"name": tax.name, "percent": f"{tax.percent:f}"} for tax in terms.taxes],
        discount_percent=terms.discount_percent,
        payment_method_id=terms.payment_method_id,
    )
    session.add(subscription)
    session.flush()
    sell(session, subscription, list(terms.prices))
    session.flush()
    note(session, subscription, what="started", because=because.but(f"with {terms.plan.name}"))
    _have_modules(session, subscription, terms.prices, because)
    if is_trial:
        notice_at = renewals.notice_at(paid_from, company.time_zone)
        subscription.trial_notice_at = max(notice_at, moment)
        subscription.look_next()
        renewals.count_use(session, subscription, terms.prices, subscription.current_period)
    else:
        renewals.begin_period(session, subscription, because=because)
    recurring.begin(session, subscription)
    return subscription


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is to be another: a plan with its prices, the seats, or both."""

    plan: Plan | None = None
    prices: Sequence[Price] = ()
    seats: int | None = None
    prorate: bool = True


def change(
    session: Session, subscription: Subscription, wanted: Change, *, because: Cause
) -> list[Line]:
    """Change a locked subscription now; return what that comes to until its period ends.

    Another interval begins a new period at once. The plan that it has already is no change.

    Raises:
        Refused: it is canceled, unpaid, or billed by a provider, or the company has one of the
            plan's modules by another subscription.
    """
    at = _ready(session, subscription, but=(_S.CANCELED, _S.UNPAID), because=because)
    before = prices_of(session, subscription)
    plan, seats = _other_plan(subscription, before, wanted), wanted.seats or subscription.seats
    after = list(wanted.prices) if plan is not None else before
    _refuse_taken(session, subscription.company_id, after, but=subscription.id)
    is_billed = subscription.status in (_S.ACTIVE, _S.PAST_DUE)
    is_other_interval = plan is not None and plan.every != subscription.every
    used: list[Line] = []
    if is_billed and plan is not None:
        part = None
        if is_other_interval:
            part = renewals.kept_part(subscription, at, is_given_back=wanted.prorate)
        used = _used_so_far(session, subscription, before, at, part)
    _swap(session, subscription, plan, before, after, seats)
    prorated: list[Line] = []
    if is_billed and wanted.prorate:
        asked = [] if is_other_interval else _in_advance(session, subscription, after)
        prorated = _prorated(subscription, asked, at)
    kept = giving_back.settled(session, subscription, prorated, because=because)
    _keep(session, subscription, at, kept + used)
    told = f"{subscription.seats} seats" if plan is None else f"{plan.name}, {seats} seats"
    note(session, subscription, what="changed", because=because.but(f"to {told}"))
    _drop_modules(session, subscription, before, but=after, because=because)
    if subscription.status != _S.PAUSED:
        _have_modules(session, subscription, after, because)
    if is_billed and is_other_interval:
        renewals.begin_anew(session, subscription, at=at, because=because)
    elif plan is not None and subscription.status != _S.PAUSED:
        renewals.count_use(session, subscription, after, subscription.current_period)
    recurring.change(session, subscription)
    return prorated + used


def _other_plan(subscription: Subscription, before: Sequence[Price], wanted: Change) -> Plan | None:
    if wanted.plan is None:
        return None
    is_same = wanted.plan.id == subscription.plan_id and list(wanted.prices) == list(before)
    return None if is_same else wanted.plan


def _swap(
    session: Session,
    subscription: Subscription,
    plan: Plan | None,
    before: Sequence[Price],
    after: Sequence[Price],
    seats: int,
) -> None:
    subscription.seats = seats
    if plan is not None:
        subscription.plan_id = plan.id
        subscription.interval, subscription.interval_count = plan.interval, plan.interval_count
    if list(before) != list(after):
        sell(session, subscription, list(after))
    session.flush()


def pause(session: Session, subscription: Subscription, *, because: Cause) -> None:
    """Pause a locked subscription: what is left of its period is credited to the next invoice.

    Raises:
        Refused: it is paused, canceled or unpaid, or billed by a provider.
    """
    at = _ready(session, subscription, but=(_S.CANCELED, _S.UNPAID, _S.PAUSED), because=because)
    _give_back(session, subscription, at, because, with_use=True)
    renewals.cut(session, subscription, at)
    subscription.move_to(_S.PAUSED, because=because)
    subscription.paused_at, subscription.trial_notice_at = at, None
    subscription.look_next()
    _drop_modules(session, subscription, prices_of(session, subscription), because=because)
    recurring.follow(session, subscription)


def resume(session: Session, subscription: Subscription, *, because: Cause) -> None:
    """Go on with a locked subscription that is paused: a new period begins now.

    Raises:
        Refused: it is not paused, or billed by a provider.
    """
    _refuse_foreign(subscription)
    if subscription.status != _S.PAUSED:
        raise Refused(f"It is {subscription.status}, not paused.")
    at = max(renewals.whole(now()), subscription.current_period_end)
    subscription.move_to(_S.ACTIVE, because=because)
    subscription.paused_at = None
    _have_modules(session, subscription, prices_of(session, subscription), because)
    renewals.begin_anew(session, subscription, at=at, because=because)
    renewals.stand(session, subscription, now(), because)
    recurring.follow(session, subscription)


def cancel(
    session: Session,
    subscription: Subscription,
    *,
    is_now: bool,
    prorate: bool,
    because: Cause,
) -> None:
    """Cancel a locked subscription, now or when its period ends.

    Args:
        prorate: what is left of the period becomes a credit, where it ends now.

    Raises:
        Refused: it is canceled already, or billed by a provider.
    """
    at = _ready(session, subscription, but=(_S.CANCELED,), because=because)
    subscription.canceled_at = now()
    if not is_now and subscription.status != _S.PAUSED:
        subscription.cancel_at_period_end = True
        told = f"it ends on {subscription.current_period_end:%Y-%m-%d}"
        note(session, subscription, what="cancel_asked", because=because.but(told))
        return
    kept = renewals.kept_part(subscription, at, is_given_back=prorate)
    if prorate:
        _give_back(session, subscription, at, because)
    ends_at = subscription.current_period_end if subscription.status == _S.PAUSED else at
    renewals.end(session, subscription, at=ends_at, kept=kept, because=because)


def keep(session: Session, subscription: Subscription, *, because: Cause) -> None:
    """Undo that a locked subscription was to end with its period.

    Raises:
        Refused: it was not to end.
    """
    _ready(session, subscription, but=(_S.CANCELED,), because=because)
    if not subscription.cancel_at_period_end:
        raise Refused("It is not to be canceled.")
    subscription.cancel_at_period_end, subscription.canceled_at = False, None
    note(session, subscription, what="kept", because=because)


def _ready(
    session: Session, subscription: Subscription, *, but: tuple[_S, ...], because: Cause
) -> datetime:
    """Bring it to now, refuse what cannot be acted on, and return when the act counts."""
    _refuse_foreign(subscription)
    giving_back.hold(session, subscription)
    moment = now()
    renewals.catch_up(session, subscription, moment, because)
    if subscription.status in but:
        raise Refused(f"It is {subscription.status}.")
    return renewals.within(subscription, moment)


def _refuse_foreign(subscription: Subscription) -> None:
    if not subscription.is_ours:
        raise Refused(f"It is billed by {subscription.provider}: change it there.")


def _give_back(
    session: Session,
    subscription: Subscription,
    at: datetime,
    because: Cause,
    *,
    with_use: bool = False,
) -> None:
    """Keep what is left of the period for the next invoice, and what was used, where asked to."""
    if subscription.status not in (_S.ACTIVE, _S.PAST_DUE):
        return
    kept = renewals.kept_part(subscription, at, is_given_back=True)
    lines = _prorated(subscription, [], at)
    lines = giving_back.settled(session, subscription, lines, because=because)
    if with_use:
        lines += _used_so_far(session, subscription, prices_of(session, subscription), at, kept)
    _keep(session, subscription, at, lines)


def _prorated(subscription: Subscription, asked: list[Line], at: datetime) -> list[Line]:
    """Return what it comes to that these are asked from now on; a part of `asked` is given back."""
    before = [line_of(each) for each in subscription.asked]
    subscription.asked = [as_json(line) for line in asked]
    return of_change(before, asked, subscription.current_period, at, subscription.currency)


def _in_advance(
    session: Session, subscription: Subscription, prices: Sequence[Price]
) -> list[Line]:
    kept = renewals.lines_for(session, subscription, list(prices), subscription.current_period)
    return [line_of(each) for each in kept]


def _refuse_taken(
    session: Session, company_id: UUID, prices: Sequence[Price], *, but: UUID | None = None
) -> None:
    """Refuse a module that another subscription has: its use would be billed by both."""
    # Two who start at once take turns, so that the second one finds what the first made.
    locks.lock_existing(session, Company, company_id)
    taken = taken_elsewhere(session, {price.module_id for price in prices}, but=but)
    if taken is not None:
        raise Refused(f"The company has {taken} by another subscription: change or end that.")


def _refuse_billed(session: Session, terms: Terms) -> None:
    """Refuse a start back in a time of which use is billed: it would be billed again."""
    if terms.starts_at is None:
        return
    module_ids = {price.module_id for price in terms.prices}
    billed = billed_since(session, module_ids, renewals.whole(terms.starts_at))
    if billed is not None:
        raise Refused(f"Use of {billed} after that is billed already: start later.")


def _used_so_far(
    session: Session,
    subscription: Subscription,
    prices: Sequence[Price],
    at: datetime,
    kept: Fraction | None,
) -> list[Line]:
    """Return what was used by now, at the prices that are about to be changed."""
    begins = subscription.usage_from
    return of_use(subscription, take_up(session, subscription, prices, at, kept=kept), begins, at)


def _keep(
    session: Session, subscription: Subscription, at: datetime, lines: Sequence[Line]
) -> None:
    if lines:
        session.add(
            SubscriptionChange(
                company_id=subscription.company_id,
                subscription_id=subscription.id,
                at=at,
                lines=[as_json(line) for line in lines],
            )
        )


def _have_modules(
    session: Session, subscription: Subscription, prices: Sequence[Price], because: Cause
) -> None:
    for module_id in sorted({price.module_id for price in prices}):
        modules.subscribe(
            session,
            subscription.company_id,
            module_id,
            subscription_id=subscription.id,
            because=because,
        )


def _drop_modules(
    session: Session,
    subscription: Subscription,
    prices: Sequence[Price],
    *,
    but: Sequence[Price] = (),
    because: Cause,
) -> None:
    gone = {price.module_id for price in prices} - {price.module_id for price in but}
    for module_id in sorted(gone):
        modules.unsubscribe(
            session,
            subscription.company_id,
            module_id,
            subscription_id=subscription.id,
            because=because,
        )
