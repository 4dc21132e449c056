"""Monthly recurring revenue: its steps, as they are told, sum to what the prices come to."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from models import recurring
from models.analytics_events import AnalyticsEvent
from models.prices import Price, PriceKind
from models.tracking import RECORD
from models.transactions import Transaction
from schedules.periods import Every, Interval
from tests.bell import ring
from tests.tasks.subscription_shop import (
    Subscriber,
    add_module,
    add_plan,
    at,
    price,
    set_clock,
    time_goes_back,
)
from worker.subscribing import Change, Refused

D = Decimal


@pytest.fixture
def subscriber(database):
    with time_goes_back():
        set_clock(at(2029, 1, 10))
        yield Subscriber()


def told(subscriber: Subscriber, name: str) -> list[AnalyticsEvent]:
    """Store what is tracked, and return the company's events of a name in their order."""
    for owed in subscriber.owed(RECORD):
        ring(RECORD, owed.id)
    with subscriber.session() as session:
        query = select(AnalyticsEvent).where(AnalyticsEvent.name == name)
        return list(session.scalars(query.order_by(AnalyticsEvent.timestamp)))


def steps(subscriber: Subscriber) -> list[tuple[str, Decimal]]:
    return [(each.dimension, each.amount) for each in told(subscriber, "mrr.changed")]


def plans(subscriber: Subscriber) -> dict[str, object]:
    module = add_module(subscriber.tenant_id, "Mail")
    calls = add_module(subscriber.tenant_id, "Calls", unit="calls")
    seats, use = price(module, "12", "per_seat"), price(calls, "0.5", "usage")
    return {
        "month": add_plan(subscriber.tenant_id, [seats, use]),
        "year": add_plan(
            subscriber.tenant_id, [price(module, "1000")], every=(Interval.YEAR, 1), name="Year"
        ),
    }


def test_a_year_is_a_twelfth_a_month_and_neither_use_nor_a_trial_counts(subscriber):
    sold = plans(subscriber)
    held = subscriber.start(sold["month"], seats=2, trial_days=14)
    assert steps(subscriber) == []
    subscriber.go_to(at(2029, 1, 25))
    for hour, act in enumerate(
        (
            lambda: subscriber.act("change", held, Change(seats=5)),
            lambda: subscriber.change_plan(held, sold["year"]),
            lambda: subscriber.act("pause", held),
            lambda: subscriber.act("resume", held),
            lambda: subscriber.act("cancel", held, is_now=True, prorate=True),
        )
    ):
        set_clock(at(2029, 1, 26, hour))
        act()
    assert steps(subscriber) == [
        ("new", D("24.00")),
        ("expansion", D("36.00")),
        ("expansion", D("23.33")),
        ("churn", D("-83.33")),
        ("reactivation", D("83.33")),
        ("churn", D("-83.33")),
    ]
    assert [each.name for each in told(subscriber, "subscription.started")] == [
        "subscription.started"
    ]
    assert len(told(subscriber, "subscription.changed")) == 2
    assert len(told(subscriber, "subscription.canceled")) == 1


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_all_steps_of_any_life_sum_to_what_stands(subscriber, seed):
    chance = random.Random(seed)
    sold = plans(subscriber)
    held = subscriber.start(sold["month"], seats=chance.randint(1, 9))
    acts = (
        lambda: subscriber.act("change", held, Change(seats=chance.randint(1, 99))),
        lambda: subscriber.change_plan(held, sold[chance.choice(["month", "year"])]),
        lambda: subscriber.act("pause", held),
        lambda: subscriber.act("resume", held),
    )
    for _ in range(12):
        try:
            chance.choice(acts)()
        except Refused:
            continue
    with subscriber.session() as session:
        row = session.get_one(recurring.Subscription, held)
        stands = recurring.mrr_of(session, row)
        assert row.mrr == stands
    assert sum(amount for _, amount in steps(subscriber)) == stands


@given(
    amount=st.decimals(0, 10_000, places=2),
    seats=st.integers(1, 1000),
    months=st.integers(1, 24),
    discount=st.sampled_from([D(0), D(10), D("33.3333"), D(100)]),
)
def test_a_month_is_its_part_of_what_is_asked(amount, seats, months, discount):
    asked = Price(module_id=None, module="", kind=PriceKind.PER_SEAT, unit_amount=amount)
    part = recurring.monthly(
        [asked],
        seats=seats,
        every=Every(Interval.MONTH, months),
        discount_percent=discount,
        currency="EUR",
    )
    whole = amount * seats * (100 - discount) / 100
    assert abs(part * months - whole) <= D("0.005") * months
    assert part == round(part, 2)


def test_a_payment_that_was_recorded_is_in_the_events_as_in_the_book(subscriber):
    held = subscriber.start(plans(subscriber)["month"], seats=2)
    subscriber.work()
    [invoice] = subscriber.invoices()
    subscriber.pay(invoice.id)
    assert held
    with subscriber.session() as session:
        paid = [
            (each.amount_captured, each.currency) for each in session.scalars(select(Transaction))
        ]
    succeeded = told(subscriber, "payment.succeeded")
    assert [(each.amount, each.currency) for each in succeeded] == paid == [(D("24.00"), "EUR")]
    [issued], [settled] = told(subscriber, "invoice.issued"), told(subscriber, "invoice.paid")
    assert issued.amount == settled.amount == D("24.00")
    assert settled.quantity == 0
