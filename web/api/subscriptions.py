"""Subscriptions: started, read, changed, paused, canceled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from flask import Response
from pydantic import AfterValidator, Field, StrictBool, WithJsonSchema
from sqlalchemy import select
from sqlalchemy.orm import Session

from models import locks
from models.clock import now
from models.methods import PaymentMethod
from models.paging import newest
from models.plans import Plan, sold_in
from models.prices import Price
from models.subscriptions import Subscription, SubscriptionStatus, has_had_trial, lock
from models.tenants import Company, Permission
from models.totals import Line, Tax
from web.api.plans import plan_named
from web.api.subscribed import (
    PreviewAnswer,
    SubscriptionAnswer,
    SubscriptionsAnswer,
    UpcomingAnswer,
    plan_codes,
    shown_preview,
    shown_upcoming,
    summary,
    whole,
)
from web.auth import allowed, caller
from web.idempotency import Made, idempotent
from web.lists import made_within, of_statuses
from web.problems import Problem, invalid
from web.routes import Input, Routes, respond
from web.schemas import ONE_LINE, Currency, Exact, Moment, PageQuery, cause, cursor_of
from worker import subscribing, upcoming
from worker.database import in_transaction, transaction
from worker.subscribing import Change, Refused, Terms

routes = Routes("subscriptions", __name__, url_prefix="/api/v1/subscriptions")

MOST_SEATS = 1_000_000
# How far back a start may lie: what was missed is billed, a period at a time.
MOST_BACK = timedelta(days=400)
MOST_AHEAD = timedelta(days=730)


def _percent(value: Decimal) -> Decimal:
    if not value.is_finite() or not 0 <= value <= 100:  # noqa: PLR2004  percent
        raise ValueError("must be from 0 to 100")
    if value != round(value, 4):
        raise ValueError("has more than 4 decimals")
    return value


Percent = Annotated[
    Exact,
    AfterValidator(_percent),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 100},
                {"type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]{1,4})?$"},
            ],
            "description": "As a number or a string; exact, with up to 4 decimals.",
        }
    ),
]
Seats = Annotated[int, Field(ge=1, le=MOST_SEATS)]


class NewTax(Input):
    """A rate that every line is taxed at."""

    name: str = Field(min_length=1, max_length=50, pattern=ONE_LINE)
    percent: Percent


class NewSubscription(Input):
    """A subscription to a plan."""

    plan: str = Field(max_length=50, description="The plan's code or id.")
    currency: Currency | None = Field(None, description="The company's currency if left out.")
    seats: Seats = 1
    trial: StrictBool = Field(default=True, description="Whether the plan's trial is given.")
    start: Moment | None = Field(
        None,
        description="Now if left out. Earlier: what was missed is billed. Later: a trial until "
        "then.",
    )
    taxes: list[NewTax] = Field([], max_length=5)
    discount_percent: Percent = Decimal(0)
    payment_method_id: UUID | None = Field(
        None, description="Charged for it; the company's default method if left out."
    )


class Changes(Input):
    """What is to be another."""

    plan: str | None = Field(None, max_length=50, description="The plan's code or id.")
    seats: Seats | None = None
    prorate: StrictBool = Field(
        default=True, description="Whether the rest of the period is billed and credited."
    )


class Cancellation(Input):
    """When it ends, and whether what is left of the period is credited."""

    at: Literal["now", "period_end"] = "period_end"
    prorate: StrictBool = True


class SubscriptionPath(Input):
    """Which subscription."""

    subscription_id: UUID


class SubscriptionQuery(PageQuery):
    """Which subscriptions."""

    status: list[SubscriptionStatus] = Field([], description="Any of these.")


@routes.post("", responses={201: SubscriptionAnswer})
@allowed(Permission.INVOICES_WRITE)
@idempotent()
def create_subscription(session: Session, body: NewSubscription) -> Made:
    """Start a subscription, in a trial or with its first period, which is billed at once."""
    company = locks.lock_existing(session, Company, caller().company_id)
    plan = plan_named(session, body.plan)
    if not plan.is_active:
        raise invalid("plan", "is not sold any more")
    currency = body.currency or company.currency
    _refuse_own_terms(body)
    terms = Terms(
        plan=plan,
        prices=_prices(session, plan, currency),
        currency=currency,
        seats=body.seats,
        trial_days=_trial_days(session, plan, body),
        starts_at=_start(body),
        taxes=tuple(Tax(each.name, each.percent) for each in body.taxes),
        discount_percent=body.discount_percent,
        payment_method_id=_method(session, body.payment_method_id),
    )
    with _refusals():
        made = subscribing.start(session, company, terms, because=cause("asked for"))
    session.flush()
    return Made(whole(session, made), location=f"{routes.url_prefix}/{made.id}")


@routes.get("", responses={200: SubscriptionsAnswer})
@allowed(Permission.INVOICES_READ)
def list_subscriptions(query: SubscriptionQuery) -> Response:
    """List subscriptions, newest first."""
    wanted = made_within(Subscription, select(Subscription), query)
    wanted, any_of = of_statuses(wanted, Subscription.status, query.status, is_searched=False)
    with transaction(company_id=caller().company_id) as session:
        page = newest(
            session, Subscription, wanted, after=query.after, limit=query.limit, any_of=any_of
        )
        plans = plan_codes(session, page.rows)
        data = [summary(row, plans[row.plan_id]) for row in page.rows]
    return respond({"data": data, "next_cursor": cursor_of(page.next_after)})


@routes.get("/<uuid:subscription_id>", responses={200: SubscriptionAnswer})
@allowed(Permission.INVOICES_READ)
def read_subscription(path: SubscriptionPath) -> Response:
    """Return a subscription with the prices that it was sold at."""
    with transaction(company_id=caller().company_id) as session:
        return respond(whole(session, _found(session, path)))


@routes.get("/<uuid:subscription_id>/upcoming", responses={200: UpcomingAnswer})
@allowed(Permission.INVOICES_READ)
def read_upcoming(path: SubscriptionPath) -> Response:
    """Return the next invoice as it would be by now; 409 if there will be none."""
    with transaction(company_id=caller().company_id) as session:
        found = upcoming.invoice_of(session, _found(session, path), moment=now())
        if found is None:
            raise Problem("conflict", "It will not be billed again.")
        return respond(shown_upcoming(found))


@routes.post("/<uuid:subscription_id>/change", responses={200: SubscriptionAnswer})
@allowed(Permission.INVOICES_WRITE)
@idempotent()
def change_subscription(session: Session, path: SubscriptionPath, body: Changes) -> Made:
    """Change plan or seats now. The next invoice bills and credits the rest of the period.

    A plan of another interval begins a new period at once, billed at once.
    """
    return _act(session, path, lambda held: _change(session, held, body))


class _Undone(Exception):
    """What was tried is not to be kept; holds the answer."""


@routes.post("/<uuid:subscription_id>/change/preview", responses={200: PreviewAnswer})
@allowed(Permission.INVOICES_WRITE)
def preview_change(path: SubscriptionPath, body: Changes) -> Response:
    """Tell what a change would come to now, to the second; nothing is changed."""
    try:
        in_transaction(_try, caller().company_id, path, body)
    except _Undone as undone:
        return respond(undone.args[0])
    raise AssertionError("what is tried is always undone")


def _try(session: Session, path: SubscriptionPath, body: Changes) -> None:
    held = _held(session, path)
    with _refusals():
        lines = _change(session, held, body)
    coming = upcoming.invoice_of(session, held, moment=now())
    raise _Undone(shown_preview(lines, coming, held.currency))


@routes.post("/<uuid:subscription_id>/pause", responses={200: SubscriptionAnswer})
@allowed(Permission.INVOICES_WRITE)
@idempotent()
def pause_subscription(session: Session, path: SubscriptionPath) -> Made:
    """Pause it: nothing is billed; what is left of the period is credited to the next invoice."""
    return _act(
        session, path, lambda held: subscribing.pause(session, held, because=cause("asked"))
    )


@routes.post("/<uuid:subscription_id>/resume", responses={200: SubscriptionAnswer})
@allowed(Permission.INVOICES_WRITE)
@idempotent()
def resume_subscription(session: Session, path: SubscriptionPath) -> Made:
    """Go on with what is paused: a new period begins now."""
    return _act(
        session, path, lambda held: subscribing.resume(session, held, because=cause("asked"))
    )


@routes.post("/<uuid:subscription_id>/cancel", responses={200: SubscriptionAnswer})
@allowed(Permission.INVOICES_WRITE)
@idempotent()
def cancel_subscription(session: Session, path: SubscriptionPath, body: Cancellation) -> Made:
    """End it now or with its period. What was used is billed then."""
    return _act(
        session,
        path,
        lambda held: subscribing.cancel(
            session,
            held,
            is_now=body.at == "now",
            prorate=body.prorate,
            because=cause("canceled"),
        ),
    )


@routes.post("/<uuid:subscription_id>/keep", responses={200: SubscriptionAnswer})
@allowed(Permission.INVOICES_WRITE)
@idempotent()
def keep_subscription(session: Session, path: SubscriptionPath) -> Made:
    """Undo that it ends with its period."""
    return _act(session, path, lambda held: subscribing.keep(session, held, because=cause("kept")))


def _act(session: Session, path: SubscriptionPath, act: Callable[[Subscription], object]) -> Made:
    held = _held(session, path)
    with _refusals():
        act(held)
    session.flush()
    return Made(whole(session, held), status=200)


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except Refused as refusal:
        raise Problem("conflict", str(refusal)) from None


def _found(session: Session, path: SubscriptionPath) -> Subscription:
    found = session.get(Subscription, path.subscription_id)
    if found is None:
        raise Problem("not-found", "No such subscription.")
    return found


def _held(session: Session, path: SubscriptionPath) -> Subscription:
    held = lock(session, path.subscription_id)
    if held is None:
        raise Problem("not-found", "No such subscription.")
    return held


def _change(session: Session, held: Subscription, body: Changes) -> list[Line]:
    if body.plan is None and body.seats is None:
        raise invalid("plan", "or seats must be given")
    plan = plan_named(session, body.plan) if body.plan is not None else None
    if plan is not None and not plan.is_active and plan.id != held.plan_id:
        raise invalid("plan", "is not sold any more")
    prices = _prices(session, plan, held.currency) if plan is not None else []
    wanted = Change(plan=plan, prices=prices, seats=body.seats, prorate=body.prorate)
    return subscribing.change(session, held, wanted, because=cause("asked for"))


def _prices(session: Session, plan: Plan, currency: str) -> list[Price]:
    prices = sold_in(session, plan.id, currency)
    if not prices:
        raise invalid("currency", f"is none that {plan.code} is sold in")
    return prices


def _refuse_own_terms(body: NewSubscription) -> None:
    """Refuse terms that nobody gives themselves."""
    if Permission.CATALOGUE_WRITE in caller().permissions:
        return
    for name in ("taxes", "discount_percent", "start"):
        if getattr(body, name):
            raise Problem("forbidden", f"Only operators set {name}.")


def _trial_days(session: Session, plan: Plan, body: NewSubscription) -> int:
    """Return how long the trial is: a company has one, and of no plan that it has had already.

    Operators give any. The company is locked, so that of two requests at once one finds the other.
    """
    if not body.trial or not plan.trial_days:
        return 0
    if Permission.CATALOGUE_WRITE in caller().permissions:
        return plan.trial_days
    had = select(Subscription.id).where(Subscription.plan_id == plan.id).limit(1)
    is_new = session.scalar(had) is None and not has_had_trial(session)
    return plan.trial_days if is_new else 0


def _start(body: NewSubscription) -> datetime | None:
    if body.start is None:
        return None
    moment = now()
    if not moment - MOST_BACK <= body.start <= moment + MOST_AHEAD:
        raise invalid(
            "start", f"is more than {MOST_BACK.days} days back or {MOST_AHEAD.days} ahead"
        )
    return body.start


def _method(session: Session, method_id: UUID | None) -> UUID | None:
    if method_id is None:
        return None
    method = session.get(PaymentMethod, method_id)
    if method is None or not method.is_active:
        raise invalid("payment_method_id", "is not an active payment method of the company")
    return method.id
