"""Use that is told late is billed once, whatever became of its subscription."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select

from models.ids import new_id
from models.invariants import looks
from models.invoices import InvoiceLine
from models.usage import Reading
from schedules.periods import Interval
from tests.tasks.subscription_shop import (
    CAUSE,
    Subscriber,
    add_module,
    add_plan,
    at,
    price,
    set_clock,
    time_goes_back,
)
from worker import usage
from worker.database import transaction
from worker.subscribing import Refused

BILLED = "use of a time that a subscription has billed was billed, or waits as late"


@pytest.fixture(autouse=True)
def _clock(database):
    with time_goes_back():
        set_clock(at(2027, 3, 1))
        yield


@pytest.fixture
def company():
    made = Subscriber()
    yield made
    with transaction() as session:
        by_name = dict(looks(limit=10_000, within=timedelta(hours=1)))
        found = by_name[BILLED](session)
    assert not [each for each in found if str(made.company_id) in each.detail]


@pytest.fixture
def calls(company):
    return add_module(company.tenant_id, "Calls", unit="call")


def plan_of(company, *prices, **more):
    return add_plan(company.tenant_id, list(prices), **more)


def tell(company, module, quantity, when):
    """Tell of use as the API does; return what became of it."""
    reading = Reading(module_id=module, key=new_id().hex, quantity=quantity, at=when)
    [outcome] = usage.record(company.company_id, [reading], because=CAUSE).outcomes
    return outcome.verdict


def cancel(company, subscription_id, **how):
    company.act("cancel", subscription_id, **{"is_now": True, "prorate": True} | how)
    company.work()


def test_use_told_after_the_end_is_billed_by_one_more_invoice(company, calls):
    subscription_id = company.start(plan_of(company, price(calls, "2", "usage")))
    company.use(calls, 10)
    set_clock(at(2027, 3, 10))
    cancel(company, subscription_id)
    set_clock(at(2027, 3, 12))
    assert tell(company, calls, 3, at(2027, 3, 9)) == "recorded"
    assert tell(company, calls, 4, at(2027, 3, 2)) == "recorded"
    [owed] = company.owed("subscriptions.close")
    assert owed.due_at > at(2027, 3, 12, 23)
    set_clock(at(2027, 3, 13))
    company.work()
    assert company.amounts() == [Decimal(20), Decimal(14)]
    assert tell(company, calls, 5, at(2027, 3, 10, 1)) == "not_subscribed"
    assert tell(company, calls, 1, at(2027, 3, 9)) == "recorded"
    company.work()
    assert company.amounts() == [Decimal(20), Decimal(14), Decimal(2)]


def test_late_use_of_the_last_one_is_billed_beside_the_next_subscription(company, calls):
    plan = plan_of(company, price(calls, "1", "usage"))
    first = company.start(plan)
    set_clock(at(2027, 3, 10))
    cancel(company, first)
    set_clock(at(2027, 3, 11))
    company.start(plan_of(company, price(calls, "10", "usage")))
    tell(company, calls, 7, at(2027, 3, 5))
    tell(company, calls, 1, at(2027, 3, 11))
    company.go_to(at(2027, 4, 11))
    assert sorted(company.amounts()) == [Decimal(7), Decimal(10)]


def test_late_use_of_a_module_that_a_change_has_dropped_is_billed_with_the_next(company, calls):
    other = add_module(company.tenant_id, "Reports")
    counted = plan_of(company, price(calls, "1", "usage", included=10))
    subscription_id = company.start(counted)
    company.use(calls, 8)
    set_clock(at(2027, 3, 5))
    company.change_plan(subscription_id, plan_of(company, price(other, "31")))
    set_clock(at(2027, 3, 6))
    company.use(calls, 5, at(2027, 3, 4))
    company.go_to(at(2027, 4, 1))
    assert sum(company.amounts()) == Decimal(3) + Decimal(27) + Decimal(31)
    company.use(calls, 4, at(2027, 3, 3))
    company.go_to(at(2027, 5, 1))
    assert company.amounts()[-1] == Decimal(4) + Decimal(31)


def test_what_is_to_end_with_its_period_is_not_used_after_that(company, calls):
    subscription_id = company.start(plan_of(company, price(calls, "1", "usage")))
    company.work()
    company.act("cancel", subscription_id, is_now=False, prorate=False)
    company.use(calls, 6)
    set_clock(at(2027, 4, 2))  # nobody has come by
    assert tell(company, calls, 5, at(2027, 4, 1)) == "not_subscribed"
    assert tell(company, calls, 1, at(2027, 3, 31, 23, 59, 59)) == "recorded"
    company.go_on()
    assert tell(company, calls, 5, at(2027, 4, 1)) == "not_subscribed"
    assert company.amounts() == [Decimal(7)]


def test_use_in_the_second_of_a_cancel_or_a_pause_is_billed(company, calls):
    plan = plan_of(company, price(calls, "1", "usage"))
    for end in ("cancel", "pause"):
        subscription_id = company.start(plan)
        company.use(calls, 3)
        if end == "pause":
            company.act("pause", subscription_id)
        cancel(company, subscription_id)
        set_clock(at(2027, 3, 2))
    assert sum(company.amounts()) == Decimal(6)


def test_a_start_back_in_time_does_not_bill_use_again(company, calls):
    plan = plan_of(company, price(calls, "1", "usage"))
    first = company.start(plan)
    set_clock(at(2027, 3, 10))
    company.use(calls, 5)
    cancel(company, first)
    set_clock(at(2027, 3, 11))
    with pytest.raises(Refused, match="Calls"):
        company.start(plan, starts_at=at(2027, 3, 9))
    company.start(plan, starts_at=at(2027, 3, 10, 12))


FEE = (("31", "flat", {}),)


@pytest.mark.parametrize(
    ("prices", "way"),
    [(FEE, "pause"), ((), "pause"), (FEE, "cancel"), ((), "cancel"), (FEE, "yearly and back")],
)
def test_nobody_has_included_units_again_by_beginning_anew(company, calls, prices, way):
    team = add_module(company.tenant_id, "Team")
    asked = [price(calls, "1", "usage", included=31)]
    asked += [price(team, amount, kind, **more) for amount, kind, more in prices]
    monthly = plan_of(company, *asked)
    yearly = plan_of(company, *asked, every=(Interval.YEAR, 1))
    subscription_id = company.start(monthly)
    for day in (2, 3, 4):
        company.use(calls, 31)
        set_clock(at(2027, 3, day))
        if way == "pause":
            company.act("pause", subscription_id)
            company.act("resume", subscription_id)
        elif way == "cancel":
            cancel(company, subscription_id)
            subscription_id = company.start(monthly)
        else:
            company.change_plan(subscription_id, yearly if day != 3 else monthly)
    cancel(company, subscription_id)
    with company.session() as session:
        units = sum(
            line.quantity for line in session.scalars(select(InvoiceLine)) if line.kind == "usage"
        )
    # Of 93 that were used, those of three days are included: one each, as the month has 31.
    assert units >= 93 - 3


def test_what_a_change_let_go_by_is_charged_when_the_period_is_cut(company, calls):
    other = add_module(company.tenant_id, "Reports")
    subscription_id = company.start(plan_of(company, price(calls, "1", "usage", included=310)))
    company.use(calls, 310)
    set_clock(at(2027, 3, 2))
    company.change_plan(subscription_id, plan_of(company, price(other, "31")))
    company.act("pause", subscription_id)
    cancel(company, subscription_id)
    assert sum(company.amounts()) == Decimal(310 - 10) + Decimal(0)


def test_a_period_that_stays_paid_for_keeps_its_included_units(company, calls):
    team = add_module(company.tenant_id, "Team")
    plan = plan_of(company, price(team, "31"), price(calls, "1", "usage", included=100))
    subscription_id = company.start(plan)
    company.use(calls, 100)
    set_clock(at(2027, 3, 2))
    cancel(company, subscription_id, prorate=False)
    assert company.amounts() == [Decimal(31)]
    tell(company, calls, 1, at(2027, 3, 1))
    company.work()
    assert company.amounts() == [Decimal(31), Decimal(1)]
