"""Subscriptions that Stripe bills: its events activate them here, and keep them as they are there.

An event names the company and the plan in the subscription's metadata (`company_id`, `plan`), or
the company by its customer. It is a hint only: the subscription is fetched and believed, in
whatever order its events come. What Stripe bills our own sweep never bills.

subscriptions.sync    a subscription is fetched, and brought to where it stands there
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import recurring
from models.base import across_companies, turn_to
from models.clock import now
from models.ids import new_id
from models.methods import ProviderCustomer
from models.notifications import owe_notice
from models.outbox import enqueue
from models.plans import Plan, plan_of, sold_in
from models.subscriptions import (
    Subscription,
    SubscriptionStatus,
    lock_existing,
    prices_of,
    sell,
)
from models.tenants import Company
from models.timeline import Cause, note
from tasks.handlers import About, Body, Handler
from worker import modules
from worker.app import Debt, calling_task
from worker.database import in_transaction
from worker.gateways import gateway_for
from worker.gateways.base import SubscriptionAnswer, SubscriptionGateway
from worker.gateways.stripe.subscriptions import subscription_of
from worker.renewals import tell_of_trial

PROVIDER = "stripe"
TRIAL_WILL_END = "customer.subscription.trial_will_end"
BECAUSE = "an event tells whose it is only by what it names"
# In these the company has what it has subscribed to.
ENTITLED = (SubscriptionStatus.TRIALING, SubscriptionStatus.ACTIVE, SubscriptionStatus.PAST_DUE)


def look_again(session: Session, body: Body, cause: Cause) -> About | None:
    """Have the subscription that an event names fetched; make it ours if it is not there yet."""
    told = subscription_of(body)
    company_id = _company_of(session, told)
    if company_id is None:
        return None
    turn_to(session, company_id, request_id=cause.request_id)
    found = session.scalars(
        select(Subscription).where(Subscription.provider_subscription_id == told.provider_id)
    ).one_or_none() or _made(session, company_id, told, cause)
    if found is None:
        return None
    note(session, found, what="event", because=cause)
    if cause.why == TRIAL_WILL_END and told.trial_ends_at is not None:
        tell_of_trial(session, found, told.trial_ends_at)
    enqueue(session, "subscriptions.sync", subscription_id=found.id)
    return About(company_id, subject_id=found.id)


def _company_of(session: Session, told: SubscriptionAnswer) -> UUID | None:
    """Return whose it is: of the row that we have, of Stripe's customer, or as its maker said."""
    ours = select(Subscription.company_id).where(
        Subscription.provider_subscription_id == told.provider_id
    )
    customers = select(ProviderCustomer.company_id).where(
        ProviderCustomer.provider == PROVIDER, ProviderCustomer.provider_id == told.customer
    )
    for query in (ours, customers):
        found = session.scalar(across_companies(query, because=BECAUSE))
        if found is not None:
            return found
    with suppress(ValueError):
        named = UUID(told.metadata.get("company_id", ""))
        return session.scalar(select(Company.id).where(Company.id == named))
    return None


def _made(
    session: Session, company_id: UUID, told: SubscriptionAnswer, cause: Cause
) -> Subscription | None:
    """Add the row of a subscription whose plan we know."""
    company = session.get_one(Company, company_id)
    plan = plan_of(session, company.tenant_id, told.metadata.get("plan", ""))
    if plan is None:
        return None
    made = Subscription(
        id=new_id(),
        company_id=company_id,
        plan_id=plan.id,
        status=told.status,
        currency=told.currency,
        seats=told.seats,
        interval=plan.interval,
        interval_count=plan.interval_count,
        anchor_at=told.current_period_start,
        time_zone=company.time_zone,
        current_period_start=told.current_period_start,
        current_period_end=told.current_period_end,
        usage_from=told.current_period_start,
        provider=PROVIDER,
        provider_subscription_id=told.provider_id,
    )
    session.add(made)
    session.flush()
    sell(session, made, sold_in(session, plan.id, told.currency))
    session.flush()
    note(session, made, what="started", because=cause.but(f"with {plan.name}, billed by Stripe"))
    recurring.begin(session, made)
    return made


_HANDLER = Handler(look_again)
STRIPE: dict[str, Handler] = {
    f"customer.subscription.{kind}": _HANDLER
    for kind in ("created", "updated", "deleted", "trial_will_end", "paused", "resumed")
}


@dataclass(frozen=True)
class Fetch:
    """What is to be looked up, and since when: an answer may be late."""

    subscription_id: UUID
    provider: str
    provider_id: str
    began_at: datetime


def _claim(session: Session, debt: Debt, *, subscription_id: str) -> Fetch | None:
    found = session.get_one(Subscription, UUID(subscription_id))
    provider, provider_id = found.provider, found.provider_subscription_id
    if provider is None or provider_id is None:
        debt.end(session)
        return None
    if debt.waits_for(session, provider):
        return None
    return Fetch(found.id, provider, provider_id, now())


@calling_task("subscriptions.sync", claim=_claim)
def sync(debt: Debt, fetch: Fetch) -> None:
    """Bring a subscription to where it stands at its provider. Safe twice: it is then there."""
    gateway: Any = gateway_for(fetch.provider)
    if not isinstance(gateway, SubscriptionGateway):
        raise TypeError(f"{fetch.provider} bills no subscriptions")
    told = gateway.retrieve_subscription(fetch.provider_id)
    in_transaction(_record, debt.company_id, debt, fetch, told)


def _record(session: Session, debt: Debt, fetch: Fetch, told: SubscriptionAnswer) -> None:
    """Write down what was told, unless something newer was or it has ended."""
    debt.end(session)
    held = lock_existing(session, fetch.subscription_id)
    is_older = held.synced_at is not None and fetch.began_at < held.synced_at
    if is_older or held.status == SubscriptionStatus.CANCELED:
        return
    held.synced_at = fetch.began_at
    had = _modules_of(session, held)
    cause = debt.cause(f"it is {told.status} at {held.provider}")
    _follow_plan(session, held, told.metadata)
    held.seats, held.currency = told.seats, told.currency
    held.current_period_start = told.current_period_start
    held.current_period_end = told.current_period_end
    held.trial_ends_at = told.trial_ends_at
    held.cancel_at_period_end = told.cancel_at_period_end
    held.canceled_at, held.ended_at = told.canceled_at, told.ended_at
    _move(session, held, told.status, cause)
    _follow_modules(session, held, had, cause)
    recurring.follow(session, held)


def _follow_plan(session: Session, held: Subscription, metadata: Mapping[str, str]) -> None:
    company = session.get_one(Company, held.company_id)
    plan = plan_of(session, company.tenant_id, metadata.get("plan", ""))
    if plan is not None and plan.id != held.plan_id:
        held.plan_id = plan.id
        held.interval, held.interval_count = plan.interval, plan.interval_count
        sell(session, held, sold_in(session, plan.id, held.currency))


def _move(session: Session, held: Subscription, to: SubscriptionStatus, cause: Cause) -> None:
    """Move to what is told, by way of active or past_due where the table has no shorter one."""
    if held.status == to:
        return
    between = (SubscriptionStatus.ACTIVE, SubscriptionStatus.PAST_DUE)
    if not held.can_move_to(to):
        way = next(
            (each for each in between if held.can_move_to(each) and to in held.MOVES[each]), None
        )
        if way is None:
            return  # what has ended here stays so
        held.move_to(way, because=cause)
    held.move_to(to, because=cause)
    if to is SubscriptionStatus.CANCELED:
        recurring.end(session, held)
        owe_notice(
            session,
            "subscription_canceled",
            held,
            plan=session.get_one(Plan, held.plan_id).name,
            ended_at=(held.ended_at or held.current_period_end).isoformat(),
        )


def _follow_modules(session: Session, held: Subscription, had: set[UUID], cause: Cause) -> None:
    session.flush()
    has = _modules_of(session, held)
    is_entitled = held.status in ENTITLED
    for module_id in sorted(had | has):
        act = modules.subscribe if is_entitled and module_id in has else modules.unsubscribe
        act(session, held.company_id, module_id, subscription_id=held.id, because=cause)


def _modules_of(session: Session, held: Subscription) -> set[UUID]:
    return {price.module_id for price in prices_of(session, held)}
