"""What a subscription's invoice used of its company's credit, and what cannot be billed."""

from __future__ import annotations

import threading
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import select, text

from models import invariants, invoices, locks, wallet
from models.alerts import Alert
from models.base import across_companies
from models.credit_notes import CreditNote, credit_due
from models.invoices import Invoice, LineKind
from models.methods import PaymentMethod
from models.money import Money
from models.subscriptions import PeriodStatus
from models.totals import Tax
from tests.factories import make_method
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
from tests.waiting import wait_for
from worker.database import transaction

VAT = (Tax("VAT", Decimal(20)),)
TRILLION = 10**12


@pytest.fixture(autouse=True)
def _clock(database):
    with time_goes_back():
        yield


@pytest.fixture
def company() -> Subscriber:
    return Subscriber()


@pytest.fixture
def used_credit(company) -> UUID:
    """An invoice of 120.00, of which 60.00 are paid by what is left of an earlier month."""
    set_clock(at(2027, 6, 1))
    plan = add_plan(company.tenant_id, [price(add_module(company.tenant_id, "Reports"), "100")])
    first = company.start(plan, taxes=VAT)
    company.work()
    company.pay(company.invoices()[0].id)
    set_clock(at(2027, 6, 16))
    company.act("cancel", first, is_now=True, prorate=True)
    company.work()
    assert company.credit() == 60
    company.start(plan, taxes=VAT)
    company.work()
    assert company.credit() == 0
    invoice = company.invoices()[-1]
    assert (invoice.amount, invoice.tax_amount) == (60, 20)
    return invoice.id


def lower(company, invoice_id, amount) -> CreditNote:
    with company.session() as session:
        invoice = locks.lock_existing(session, Invoice, invoice_id)
        money = Money(Decimal(amount), "EUR")
        return credit_due(session, invoice, money, reason="a mistake", because=CAUSE)


def broken(invoice_id) -> list[str]:
    with transaction() as session:
        found = invariants.check(session, limit=10_000)
    return [each.invariant for each in found if str(invoice_id) in each.detail]


def test_credit_that_a_void_invoice_used_comes_back(company, used_credit):
    with company.session() as session:
        [*_, line] = invoices.lines_of(session, [used_credit])[used_credit]
        assert (line.kind, line.total) == (LineKind.CREDIT, -60)
        invoice = locks.lock_existing(session, Invoice, used_credit)
        invoices.void(session, invoice, because=CAUSE)
    assert company.credit() == 60
    assert broken(used_credit) == []


def test_credit_comes_back_once_all_of_its_invoice_is_credited_and_no_sooner(company, used_credit):
    first = lower(company, used_credit, "18.00")
    assert company.credit() == 0
    assert broken(used_credit) == []
    second = lower(company, used_credit, "42.00")
    assert company.credit() == 60
    assert broken(used_credit) == []
    # As much of its taxes as of what it came to before the credit; the last has all that is left.
    assert [first.tax_amount, second.tax_amount] == [3, 17]


def test_credit_stays_used_where_a_part_of_the_invoice_was_paid(company, used_credit):
    lower(company, used_credit, "20.00")
    company.pay(used_credit)
    assert company.credit() == 0
    assert broken(used_credit) == []


def test_as_much_use_as_can_be_recorded_is_billed(company):
    set_clock(at(2027, 6, 1))
    module = add_module(company.tenant_id, "Traffic", unit="byte")
    company.start(add_plan(company.tenant_id, [price(module, "0.000001", "usage")]))
    company.work()
    for _ in range(3):
        company.use(module, TRILLION)
    company.go_to(at(2027, 7, 1))
    assert company.amounts() == [3_000_000]


def test_a_period_that_no_invoice_can_hold_is_told_of_and_blocks_no_other(company):
    set_clock(at(2027, 6, 1))
    module = add_module(company.tenant_id, "Traffic", unit="byte")
    plan = add_plan(company.tenant_id, [price(module, "1000", "usage")])
    subscription_id = company.start(plan)
    company.work()
    company.use(module, TRILLION)
    company.go_to(at(2027, 7, 1))
    company.use(module, 3)
    company.go_to(at(2027, 8, 1))
    assert company.amounts() == [3000]
    _, held, billed = company.periods(subscription_id)
    assert (held.status, billed.status) == (PeriodStatus.UNBILLED, PeriodStatus.INVOICED)
    assert "comes to more than" in held.why
    with transaction() as session:
        query = select(Alert).where(Alert.company_id == company.company_id)
        [told] = session.scalars(query).all()
    assert (told.kind, told.subject_id) == ("period_not_billed", subscription_id)
    assert "from 2027-07-01 cannot be billed" in told.message
    assert company.owed("invoicing.") == []


def test_who_changes_the_default_method_and_who_bills_wait_for_each_other_in_turn(company):
    method_id = make_method(company.customer, is_default=True)
    set_clock(at(2027, 6, 1))
    plan = add_plan(company.tenant_id, [price(add_module(company.tenant_id, "Reports"), "100")])
    company.start(plan)
    billing = threading.Thread(target=company.work)
    with company.session() as session:
        wallet.hold(session, company.company_id)
        billing.start()
        wait_for(lambda: is_waiting_for_a_company(session))
        # Who holds the company may have its methods: whoever waits for it holds none of them.
        held = {"nowait": True}
        method = session.get_one(PaymentMethod, method_id, with_for_update=held)
        method.brand = "visa"
    billing.join(60)
    assert company.amounts() == [Decimal(100)]
    [payment] = [row for row in company.owed("payments.") if row.task == "payments.charge"]
    assert payment.failures == 0


def is_waiting_for_a_company(session) -> bool:
    """Whether a statement for a company's lock is at work; it is held, so it waits."""
    at_work = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE :statement"
    query = across_companies(text(at_work), because="of the server")
    return bool(session.scalar(query, {"statement": "SELECT%FROM companies%FOR UPDATE"}))
