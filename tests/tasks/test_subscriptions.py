"""Subscriptions by themselves: begun, renewed, changed, paused, ended, billed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from sqlalchemy import select

from models.invoices import InvoiceStatus
from models.plans import PlanPrice
from models.prices import Tier
from models.subscriptions import PeriodStatus, SubscriptionStatus
from models.tenants import Company
from models.totals import Tax
from schedules.periods import Interval
from tasks.subscriptions import sweep
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
from worker.database import transaction
from worker.subscribing import Change, Refused


@pytest.fixture(autouse=True)
def _clock(database):
    with time_goes_back():
        yield


@pytest.fixture
def company() -> Subscriber:
    return Subscriber()


def plan_of(company, *prices, **how):
    module = add_module(company.tenant_id, "Reports")
    made = prices or (price(module, "10.00"), price(module, "3.00", "per_seat"))
    return add_plan(company.tenant_id, made, **how)


def test_the_first_period_is_billed_at_once_and_the_next_when_it_begins(company):
    set_clock(at(2027, 1, 31, 9))
    subscription_id = company.start(plan_of(company), seats=2)
    company.work()
    assert company.amounts() == [Decimal("16.00")]
    company.go_to(at(2027, 2, 28, 8, 59))
    assert len(company.invoices()) == 1
    company.go_to(at(2027, 2, 28, 9))
    assert company.amounts() == [Decimal("16.00")] * 2
    company.go_to(at(2027, 3, 31, 9))
    periods = company.periods(subscription_id)
    assert [period.starts_at for period in periods] == [
        at(2027, 1, 31, 9), at(2027, 2, 28, 9), at(2027, 3, 31, 9),
    ]  # fmt: skip
    assert {period.status for period in periods} == {PeriodStatus.INVOICED}
    assert company.status(subscription_id) == SubscriptionStatus.PAST_DUE  # nobody has paid


def test_a_trial_is_told_of_before_it_ends_and_costs_nothing(company):
    set_clock(at(2027, 3, 1, 9))
    subscription_id = company.start(plan_of(company), trial_days=14)
    assert company.status(subscription_id) == SubscriptionStatus.TRIALING
    company.go_to(at(2027, 3, 12, 8, 59))
    assert company.notices("trial_ending") == []
    company.go_to(at(2027, 3, 12, 9))
    [notice] = company.notices("trial_ending")
    assert notice.arguments["ends_at"] == "2027-03-15T09:00:00+00:00"
    assert company.invoices() == []
    company.go_to(at(2027, 3, 15, 9))
    assert company.status(subscription_id) == SubscriptionStatus.ACTIVE
    [invoice] = company.invoices()
    assert (invoice.period_start, invoice.period_end) == (at(2027, 3, 15, 9), at(2027, 4, 15, 9))


def test_a_trial_that_was_not_wanted_ends_without_an_invoice(company):
    set_clock(at(2027, 3, 1, 9))
    subscription_id = company.start(plan_of(company), trial_days=14)
    company.act("cancel", subscription_id, is_now=False, prorate=True)
    company.go_to(at(2027, 3, 13, 9))
    company.go_to(at(2027, 3, 15, 9))
    assert company.status(subscription_id) == SubscriptionStatus.CANCELED
    assert company.invoices() == []
    assert [notice.template for notice in company.notices("trial_ending")] == []


def test_a_change_of_seats_is_prorated_by_the_second(company):
    set_clock(at(2027, 4, 1))
    module = add_module(company.tenant_id, "Team")
    plan = add_plan(company.tenant_id, [price(module, "30.00", "per_seat")])
    subscription_id = company.start(plan, seats=1)
    company.work()
    company.pay(company.invoices()[0].id)
    set_clock(at(2027, 4, 16))  # half of April
    lines = company.act("change", subscription_id, Change(seats=3))
    assert [line.unit_amount for line in lines] == [Decimal("-15.00"), Decimal("45.00")]
    set_clock(at(2027, 4, 21))  # a third is left
    lines = company.act("change", subscription_id, Change(seats=2))
    assert [line.unit_amount for line in lines] == [Decimal("-30.00"), Decimal("20.00")]
    company.go_to(at(2027, 5, 1))
    [first, second] = company.invoices()
    assert (first.amount, second.amount) == (Decimal(30), Decimal(60 - 15 + 45 - 30 + 20))
    assert len(company.lines(second.id)) == 5


def test_a_change_that_is_not_prorated_costs_nothing_until_the_period_ends(company):
    set_clock(at(2027, 4, 1))
    subscription_id = company.start(plan_of(company), seats=1)
    company.work()
    set_clock(at(2027, 4, 16))
    assert company.act("change", subscription_id, Change(seats=4, prorate=False)) == []
    company.go_to(at(2027, 5, 1))
    assert company.amounts() == [Decimal(13), Decimal(22)]


def test_another_interval_begins_anew_and_credits_what_is_left(company):
    set_clock(at(2027, 4, 1))
    module = add_module(company.tenant_id, "Team")
    monthly = add_plan(company.tenant_id, [price(module, "30.00")])
    yearly = add_plan(company.tenant_id, [price(module, "300.00")], every=(Interval.YEAR, 1))
    subscription_id = company.start(monthly)
    company.work()
    company.pay(company.invoices()[0].id)
    set_clock(at(2027, 4, 21))
    company.change_plan(subscription_id, yearly)
    company.work()
    assert company.amounts() == [Decimal(30), Decimal(290)]
    held = company.subscription(subscription_id)
    assert held.current_period.end == at(2028, 4, 21)
    [cut, whole] = company.periods(subscription_id)
    assert cut.ends_at == whole.starts_at == at(2027, 4, 21)


def test_a_plan_is_kept_at_the_price_that_it_was_sold_at(company):
    set_clock(at(2027, 4, 1))
    plan = plan_of(company)
    company.start(plan)
    company.work()
    with transaction() as session:
        for row in session.scalars(select(PlanPrice).where(PlanPrice.plan_id == plan)):
            row.unit_amount *= 2
    company.go_to(at(2027, 5, 1))
    assert company.amounts() == [Decimal(13)] * 2


def test_use_is_billed_in_arrears_by_its_tiers(company):
    set_clock(at(2027, 4, 1))
    module = add_module(company.tenant_id, "Calls", unit="call")
    tiers = [Tier(100, Decimal("0.10")), Tier(None, Decimal("0.055"), Decimal(2))]
    plan = add_plan(
        company.tenant_id, [price(module, "5.00"), price(module, kind="usage", tiers=tiers)]
    )
    subscription_id = company.start(plan)
    company.work()
    set_clock(at(2027, 4, 30, 23, 59, 59))
    company.use(module, 130)
    company.go_to(at(2027, 5, 1))
    company.use(module, 10)
    # 100 at 0.10, 30 at 0.055 and 2 once, beside the plan's 5.
    assert company.amounts() == [Decimal(5), Decimal("18.65")]
    set_clock(at(2027, 5, 11))
    company.act("cancel", subscription_id, is_now=True, prorate=False)
    company.work()
    assert company.amounts()[2:] == [Decimal("1.00")]
    assert company.status(subscription_id) == SubscriptionStatus.CANCELED


def test_what_is_left_at_a_cancellation_pays_for_the_next_subscription(company):
    set_clock(at(2027, 4, 1))
    module = add_module(company.tenant_id, "Team")
    plan = add_plan(company.tenant_id, [price(module, "30.00")])
    subscription_id = company.start(plan)
    company.work()
    company.pay(company.invoices()[0].id)
    set_clock(at(2027, 4, 11))
    company.act("cancel", subscription_id, is_now=True, prorate=True)
    company.work()
    [_, closing] = company.invoices()
    assert (closing.amount, closing.status) == (0, InvoiceStatus.PAID)
    assert company.credit() == Decimal(20)
    company.start(plan)
    company.work()
    assert company.amounts() == [Decimal(30), Decimal(0), Decimal(10)]
    assert company.credit() == 0


def test_modules_come_and_go_with_their_subscription(company):
    module = add_module(company.tenant_id, "Team")
    plan = add_plan(company.tenant_id, [price(module, "30.00")])
    subscription_id = company.start(plan)
    assert company.has(module)
    company.act("pause", subscription_id)
    assert not company.has(module)
    company.act("resume", subscription_id)
    assert company.has(module)
    company.act("cancel", subscription_id, is_now=True, prorate=True)
    assert not company.has(module)
    company.work()
    assert company.told()[:2] == ["module.subscribed", "module.unsubscribed"]


def test_nothing_is_billed_while_it_is_paused_and_a_new_period_begins_then(company):
    set_clock(at(2027, 4, 1))
    module = add_module(company.tenant_id, "Team")
    subscription_id = company.start(add_plan(company.tenant_id, [price(module, "30.00")]))
    company.work()
    company.pay(company.invoices()[0].id)
    set_clock(at(2027, 4, 16))
    company.act("pause", subscription_id)
    company.go_to(at(2027, 7, 20))
    assert company.amounts() == [Decimal(30)]
    company.act("resume", subscription_id)
    company.work()
    # Half of April was paid for and not had.
    assert company.amounts() == [Decimal(30), Decimal(15)]
    assert company.subscription(subscription_id).current_period.end == at(2027, 8, 20)


def test_it_ends_with_its_period_unless_it_is_kept(company):
    set_clock(at(2027, 4, 1))
    ending, kept = company.start(plan_of(company)), company.start(plan_of(company))
    for each in (ending, kept):
        company.act("cancel", each, is_now=False, prorate=True)
    company.act("keep", kept)
    company.go_to(at(2027, 5, 1))
    assert company.status(ending) == SubscriptionStatus.CANCELED
    assert company.subscription(ending).ended_at == at(2027, 5, 1)
    assert len(company.notices("subscription_canceled")) == 1
    assert len(company.periods(kept)) == 2
    with pytest.raises(Refused, match="not to be canceled"):
        company.act("keep", kept)


def test_periods_that_were_missed_are_billed_one_by_one_in_order(company):
    set_clock(at(2027, 1, 31))
    subscription_id = company.start(plan_of(company))
    company.work()
    set_clock(at(2027, 6, 15))
    sweep()
    company.work()
    starts = [invoice.period_start.strftime("%m-%d") for invoice in company.invoices()]
    assert starts == ["01-31", "02-28", "03-31", "04-30", "05-31"]
    assert len(company.periods(subscription_id)) == 5


def test_a_company_that_moves_keeps_the_period_that_has_begun():
    company = Subscriber(zone="Europe/Berlin")
    set_clock(at(2027, 1, 14, 23))  # the 15th in Berlin
    subscription_id = company.start(plan_of(company))
    with transaction() as session:
        session.get_one(Company, company.company_id).time_zone = "Asia/Tokyo"
    company.go_to(at(2027, 3, 20))
    periods = company.periods(subscription_id)
    # The 15th at midnight: in Berlin at 23:00 UTC, in Tokyo at 15:00.
    assert [period.ends_at for period in periods] == [
        at(2027, 2, 14, 23), at(2027, 3, 14, 15), at(2027, 4, 14, 15),
    ]  # fmt: skip


def test_taxes_and_a_discount_are_on_every_line(company):
    set_clock(at(2027, 4, 1))
    module = add_module(company.tenant_id, "Team")
    plan = add_plan(company.tenant_id, [price(module, "100.00", "per_seat")])
    subscription_id = company.start(
        plan, taxes=(Tax("VAT", Decimal(19)),), discount_percent=Decimal(10)
    )
    company.work()
    set_clock(at(2027, 4, 16))
    company.act("change", subscription_id, Change(seats=2))
    company.go_to(at(2027, 5, 1))
    [first, second] = company.invoices()
    assert (first.discount_amount, first.tax_amount, first.amount) == (
        Decimal("10.00"), Decimal("17.10"), Decimal("107.10"),
    )  # fmt: skip
    assert second.amount == Decimal("107.10") * 2 + Decimal("107.10") / 2


def test_any_number_of_sweeps_and_workers_make_each_invoice_once(company):
    set_clock(at(2027, 1, 31))
    subscription_id = company.start(plan_of(company))
    set_clock(at(2027, 6, 15))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: sweep(), range(4)))
        sweep()  # what was held by another is left to the next ring
        owed = company.owed("invoicing.")
        list(pool.map(lambda row: ring(row.task, row.id), [*reversed(owed), *owed]))
    assert company.owed("invoicing.") == []
    periods, invoices = company.periods(subscription_id), company.invoices()
    assert [period.invoice_id for period in periods] == [invoice.id for invoice in invoices]
    assert len(periods) == 5
