"""No act on a subscription makes money, gives use away, or bills it twice."""

from __future__ import annotations

import threading
from decimal import Decimal

import pytest
from sqlalchemy import select

from models import locks
from models.credit_notes import CreditNote, credit_due
from models.ids import new_id
from models.invoices import Invoice, InvoiceStatus, void, write_off
from models.money import Money
from models.plans import Plan, sold_in
from models.prices import Tier, TiersMode
from models.refunds import Refund, RefundStatus, give
from models.subscriptions import PeriodStatus, SubscriptionPeriod, has_had_trial
from models.totals import Tax
from models.transactions import Transaction
from models.usage import Reading, record
from schedules.periods import Interval
from tasks import subscriptions
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
from worker.database import in_transaction
from worker.subscribing import Change, Refused
from worker.upcoming import invoice_of


@pytest.fixture(autouse=True)
def _clock(database):
    with time_goes_back():
        set_clock(at(2027, 3, 1))
        yield


@pytest.fixture
def company() -> Subscriber:
    return Subscriber()


def flat(company, *amounts):
    """Plans of one module at these prices."""
    module = add_module(company.tenant_id, "Reports")
    return [add_plan(company.tenant_id, [price(module, amount)]) for amount in amounts]


def by_use(company, *amounts, **more):
    """A module and plans that ask so much for each unit of it."""
    module = add_module(company.tenant_id, "Calls", unit="call")
    return module, *(
        add_plan(company.tenant_id, [price(module, amount, "usage", **more)]) for amount in amounts
    )


def change_to(company, subscription_id, plan_id, **how):
    with company.session() as session:
        plan = session.get_one(Plan, plan_id)
        prices = sold_in(session, plan_id, company.currency)
    return company.act("change", subscription_id, Change(plan=plan, prices=prices, **how))


def end_invoice(company, invoice_id, how):
    with company.session() as session:
        how(session, locks.lock_existing(session, Invoice, invoice_id), because=CAUSE)
    company.work()


def notes(company):
    with company.session() as session:
        return [note.amount for note in session.scalars(select(CreditNote))]


def test_what_was_never_billed_is_not_given_back(company):
    cheap, dear = flat(company, "10", "1000")
    subscription_id = company.start(cheap)
    company.work()
    company.pay(company.invoices()[0].id)
    assert change_to(company, subscription_id, dear, prorate=False) == []
    set_clock(at(2027, 3, 2))
    company.act("cancel", subscription_id, is_now=True, prorate=True)
    company.work()
    assert company.credit() == Decimal("9.68")  # 30 days of 31


def test_seats_that_were_never_billed_are_not_given_back(company):
    module = add_module(company.tenant_id, "Team")
    plan = add_plan(company.tenant_id, [price(module, "31", "per_seat")])
    subscription_id = company.start(plan)
    company.work()
    company.act("change", subscription_id, Change(seats=1000, prorate=False))
    set_clock(at(2027, 3, 2))
    lines = company.act("change", subscription_id, Change(seats=2))
    assert [line.unit_amount for line in lines] == [Decimal(-30), Decimal(60)]
    company.go_to(at(2027, 4, 1))
    set_clock(at(2027, 4, 16))  # from here on two were billed for the whole month
    lines = company.act("change", subscription_id, Change(seats=3))
    assert [line.unit_amount for line in lines] == [Decimal(-31), Decimal("46.5")]


def test_the_plan_that_one_has_already_begins_no_new_counting(company):
    module, plan = by_use(company, "1", included=100)
    subscription_id = company.start(plan)
    for day in range(2, 7):
        set_clock(at(2027, 3, day))
        company.use(module, 100)
        set_clock(at(2027, 3, day, 1))
        assert change_to(company, subscription_id, plan) == []
    company.go_to(at(2027, 4, 1))
    assert company.amounts() == [Decimal(400)]


def test_included_units_and_tiers_go_on_where_the_piece_before_has_ended(company):
    module, one, other = by_use(company, "1", "2", included=100)
    subscription_id = company.start(one)
    for day, plan in ((2, other), (3, one), (4, other)):
        set_clock(at(2027, 3, day))
        company.use(module, 60)
        set_clock(at(2027, 3, day, 1))
        change_to(company, subscription_id, plan)
    company.go_to(at(2027, 4, 1))
    # 60 and 40 were included; 20 at 2, then 60 at 1.
    assert company.amounts() == [Decimal(100)]
    tiers = [Tier(50, Decimal(1)), Tier(None, Decimal("0.5"), Decimal(3))]
    by_tier = add_plan(company.tenant_id, [price(module, kind="usage", tiers=tiers)])
    by_size = add_plan(
        company.tenant_id, [price(module, kind="usage", tiers=tiers, mode=TiersMode.VOLUME)]
    )
    for day, plan in ((2, by_tier), (3, by_size), (4, by_tier)):
        set_clock(at(2027, 4, day))
        change_to(company, subscription_id, plan)
        company.use(module, 40)
    company.go_to(at(2027, 5, 1))
    # 40 at 1; 40 at the price that 80 have, and 3 once; 40 at 0.5 in the tier that is begun.
    assert company.amounts()[1] == Decimal(40) + Decimal(23) + Decimal(20)


def test_a_module_comes_with_one_subscription_at_a_time(company):
    module, one, other = by_use(company, "1", "2")
    subscription_id = company.start(one)
    with pytest.raises(Refused, match="Calls"):
        company.start(other)
    [elsewhere] = flat(company, "5")
    second = company.start(elsewhere)
    with pytest.raises(Refused, match="Calls"):
        company.change_plan(second, other)
    company.act("cancel", subscription_id, is_now=True, prorate=True)
    company.change_plan(second, other)
    assert company.has(module)


def test_of_two_who_start_at_once_one_is_refused(company):
    plans = flat(company, "1", "2")
    told = []

    def start(plan):
        try:
            told.append(company.start(plan))
        except Refused:
            told.append(None)

    both = [threading.Thread(target=start, args=(plan,)) for plan in plans]
    for each in both:
        each.start()
    for each in both:
        each.join(60)
    assert len(told) == 2
    assert told.count(None) == 1


@pytest.mark.parametrize("is_invoiced", [True, False])
def test_what_nobody_has_paid_becomes_no_credit(company, is_invoiced):
    [plan] = flat(company, "31")
    subscription_id = company.start(plan, taxes=(Tax("VAT", Decimal(20)),))
    if is_invoiced:
        company.work()
    set_clock(at(2027, 3, 11))
    company.act("cancel", subscription_id, is_now=True, prorate=True)
    company.work()
    invoice = company.invoices()[0]
    assert invoice.due.amount == Decimal(12)
    assert notes(company) == ([Decimal("25.20")] if is_invoiced else [])
    end_invoice(company, invoice.id, void)
    assert (company.credit(), len(company.invoices())) == (0, 1)


def test_of_what_is_half_paid_the_due_half_is_lowered_first(company):
    [plan] = flat(company, "31")
    subscription_id = company.start(plan)
    company.work()
    [invoice] = company.invoices()
    with company.session() as session:
        held = locks.lock_existing(session, Invoice, invoice.id)
        held.amount_paid = Decimal(20)  # as a transfer of a part has it
    set_clock(at(2027, 3, 11))
    company.act("pause", subscription_id)
    company.act("cancel", subscription_id, is_now=True, prorate=True)
    company.work()
    assert notes(company) == [Decimal(11)]
    assert company.credit() == Decimal(10)
    assert company.invoices()[0].status == InvoiceStatus.PAID


def refund(session, invoice, *, because):
    """Give back all that was paid, as a refund does that has gone out."""
    query = select(Transaction.id).where(Transaction.invoice_id == invoice.id)
    paid = locks.lock_existing(session, Transaction, session.scalars(query).one())
    made = Refund(
        company_id=paid.company_id, transaction_id=paid.id, amount=paid.amount, reason="refund"
    )
    session.add(made)
    session.flush()
    made.move_to(RefundStatus.SUCCEEDED, because=because)
    give(session, paid, made, because=because)


def all_but_one(session, invoice, *, because):
    money = Money(invoice.due.amount - 1, invoice.currency)
    credit_due(session, invoice, money, reason="goodwill", because=because)


@pytest.mark.parametrize(
    ("before", "after", "left"),
    [(None, refund, "0"), (all_but_one, None, "1"), (write_off, None, None)],
)
def test_what_went_back_or_never_came_is_not_given_back_again(company, before, after, left):
    [plan] = flat(company, "31")
    subscription_id = company.start(plan, taxes=(Tax("VAT", Decimal(20)),))
    company.work()
    [invoice] = company.invoices()
    with company.session() as session:
        held = locks.lock_existing(session, Invoice, invoice.id)
        if before is not None:
            before(session, held, because=CAUSE)
    if left is not None:
        company.pay(invoice.id)
    if after is not None:
        with company.session() as session:
            after(session, locks.lock_existing(session, Invoice, invoice.id), because=CAUSE)
    set_clock(at(2027, 3, 2))
    company.act("cancel", subscription_id, is_now=True, prorate=True)
    company.work()
    assert company.credit() == Decimal(left or 0)


def test_a_refund_counts_against_all_that_is_given_back_of_a_period(company):
    module = add_module(company.tenant_id, "Team")
    plan = add_plan(company.tenant_id, [price(module, "31", "per_seat")])
    subscription_id = company.start(plan, seats=3)
    company.work()
    [invoice] = company.invoices()
    company.pay(invoice.id)
    with company.session() as session:
        paid = session.scalars(select(Transaction)).one()
        session.add(
            Refund(
                company_id=paid.company_id,
                transaction_id=paid.id,
                amount=Decimal(43),
                reason="refund",
            )
        )
    set_clock(at(2027, 3, 2))
    company.act("change", subscription_id, Change(seats=2))
    company.act("cancel", subscription_id, is_now=True, prorate=True)
    company.work()
    assert company.credit() == Decimal(50)  # not 30 and 60: 43 are on their way back


def test_a_period_that_was_taken_up_before_is_billed_as_it_was(company):
    module, plan = by_use(company, "1")
    subscription_id = company.start(plan)
    company.use(module, 5)
    company.work()
    set_clock(at(2027, 4, 1))
    subscriptions.bring_on(company.company_id, subscription_id, at(2027, 4, 1))
    with company.session() as session:
        row = session.get_one(SubscriptionPeriod, company.periods(subscription_id)[-1].id)
        row.usage_prices = [
            {name: each[name] for name in each if name not in ("short", "below")}
            for each in row.usage_prices
        ]
    company.work()
    assert company.amounts() == [Decimal(5)]


def test_a_void_period_is_not_given_back(company):
    [plan] = flat(company, "31")
    subscription_id = company.start(plan)
    company.work()
    end_invoice(company, company.invoices()[0].id, void)
    company.act("cancel", subscription_id, is_now=True, prorate=True)
    company.work()
    assert company.credit() == 0


def test_use_that_is_being_recorded_is_waited_for_by_a_change(company):
    module, one, other = by_use(company, "1", "2")
    subscription_id = company.start(one)
    company.work()
    set_clock(at(2027, 3, 5, 10))
    is_recorded, goes_on = threading.Event(), threading.Event()

    def use() -> None:
        with company.session() as session:
            reading = Reading(module_id=module, key=new_id().hex, quantity=100)
            record(session, company.company_id, [reading], moment=at(2027, 3, 5, 10))
            is_recorded.set()
            goes_on.wait(60)

    using = threading.Thread(target=use)
    using.start()
    is_recorded.wait(60)
    set_clock(at(2027, 3, 5, 11))
    changing = threading.Thread(target=company.change_plan, args=(subscription_id, other))
    changing.start()
    changing.join(0.3)  # whether it has come to the lock by then or not: it is billed once
    goes_on.set()
    using.join(60)
    changing.join(60)
    company.go_to(at(2027, 4, 1))
    assert company.amounts() == [Decimal(100)]


def test_use_before_a_pause_is_billed_whatever_is_had_after_it(company):
    module, used_plan = by_use(company, "1")
    [other] = flat(company, "5")
    subscription_id = company.start(used_plan)
    set_clock(at(2027, 3, 5))
    company.use(module, 100)
    set_clock(at(2027, 3, 6))
    company.act("pause", subscription_id)
    company.change_plan(subscription_id, other)
    set_clock(at(2027, 3, 7))
    company.act("resume", subscription_id)
    company.work()
    assert company.amounts() == [Decimal(105)]


def test_late_use_is_billed_once_with_the_next_invoice(company):
    module, plan = by_use(company, "1", included=10)
    subscription_id = company.start(plan, trial_days=2)
    company.use(module, 5)
    company.go_to(at(2027, 3, 3))
    company.go_to(at(2027, 4, 3))
    company.use(module, 7, at(2027, 3, 2))  # the trial's is free, also when it is told of later
    company.use(module, 100, at(2027, 4, 2, 23, 59, 59))
    company.use(module, 20)
    set_clock(at(2027, 4, 10))
    company.use(module, 3, at(2027, 3, 20))
    with company.session() as session:
        coming = invoice_of(session, company.subscription(subscription_id), moment=at(2027, 4, 11))
    assert coming.totals.amount == Decimal(113)
    company.go_to(at(2027, 5, 3))
    company.go_to(at(2027, 6, 3))
    assert company.amounts() == [Decimal(113)]


def test_late_use_of_what_was_paused_is_billed_when_it_goes_on(company):
    module, plan, other = by_use(company, "1", "2")
    subscription_id = company.start(plan)
    set_clock(at(2027, 3, 10))
    change_to(company, subscription_id, other)
    company.use(module, 1, at(2027, 3, 9))
    company.act("pause", subscription_id)
    set_clock(at(2027, 3, 12))
    company.use(module, 4, at(2027, 3, 9, 12))
    company.act("resume", subscription_id)
    company.use(module, 8, at(2027, 3, 9, 13))
    company.work()
    company.go_to(at(2027, 4, 12))
    assert sum(company.amounts()) == Decimal(2 * (1 + 4 + 8))


def test_what_is_used_after_a_trial_was_cut_short_is_paid_for(company):
    module, plan = by_use(company, "1")
    subscription_id = company.start(plan, trial_days=14)
    set_clock(at(2027, 3, 10))
    company.act("pause", subscription_id)
    set_clock(at(2027, 3, 12))
    company.act("resume", subscription_id)
    set_clock(at(2027, 3, 13))
    company.use(module, 50)
    company.go_to(at(2027, 4, 12))
    assert company.amounts() == [Decimal(50)]


def test_a_period_of_which_nothing_was_to_be_billed_was_not_skipped(company):
    module, plan = by_use(company, "1")
    subscription_id = company.start(plan)
    company.work()
    company.use(module, 5)
    company.go_to(at(2027, 4, 1))
    company.go_to(at(2027, 5, 1))
    statuses = [period.status for period in company.periods(subscription_id)]
    assert statuses == [PeriodStatus.UNBILLED, PeriodStatus.INVOICED, PeriodStatus.UNBILLED]
    [invoice] = company.invoices()
    end_invoice(company, invoice.id, write_off)
    set_clock(at(2027, 5, 10))
    company.pay(invoice.id)
    assert company.subscription(subscription_id).current_period_end == at(2027, 6, 1)


def test_another_interval_lowers_what_is_due_of_the_old_one(company):
    module = add_module(company.tenant_id, "Team")
    monthly = add_plan(company.tenant_id, [price(module, "31")])
    yearly = add_plan(company.tenant_id, [price(module, "300")], every=(Interval.YEAR, 1))
    subscription_id = company.start(monthly)
    company.work()
    set_clock(at(2027, 3, 11))
    change_to(company, subscription_id, yearly)
    company.work()
    assert [invoice.due.amount for invoice in company.invoices()] == [Decimal(10), Decimal(300)]


def test_a_company_has_one_trial(company):
    with company.session() as session:
        assert not has_had_trial(session)
    company.start(flat(company, "1")[0], trial_days=3)
    assert in_transaction(has_had_trial, company.company_id)
