"""Where a subscription stands follows its payments, the ladder and what is overdue."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select

from models import clock, locks
from models.invoices import Invoice, InvoiceStatus, void, write_off
from models.subscriptions import PeriodStatus, SubscriptionStatus
from models.timeline import history
from models.transactions import Dunning, Transaction
from tests.tasks.dunning_shop import Shop
from tests.tasks.subscription_shop import CAUSE, Subscriber, add_module, add_plan, price

SOFT = "pm_sandbox_decline_insufficient_funds"
HARD = "pm_sandbox_decline_stolen_card"


@pytest.fixture
def company(shop: Shop) -> Subscriber:
    return Subscriber(customer=shop.customer)


def begin(company: Subscriber) -> object:
    module = add_module(company.tenant_id, "Team")
    return company.start(add_plan(company.tenant_id, [price(module, "30.00")]))


def go_on(company: Subscriber, shop: Shop, **by: float) -> None:
    shop.advance(**by)
    company.go_on()
    shop.work()


def payment_of(shop: Shop) -> Transaction:
    with shop.session() as session:
        return session.scalars(select(Transaction).order_by(Transaction.id.desc())).first()


def moves(company: Subscriber, subscription_id) -> list[str]:
    with company.session() as session:
        lines = history(session, [subscription_id])
    return [line.became for line in lines if line.what == "move"]


def test_the_default_card_is_charged_without_the_customer(shop, company):
    shop.make_default(shop.card(), is_default=True)
    subscription_id = begin(company)
    shop.work()
    [invoice] = company.invoices()
    assert invoice.status == InvoiceStatus.PAID
    payment = payment_of(shop)
    assert (payment.off_session, payment.amount) == (True, Decimal("30.00"))
    assert shop.charges(payment.id) == 1
    go_on(company, shop, days=32)
    assert [each.status for each in company.invoices()] == [InvoiceStatus.PAID] * 2
    assert company.status(subscription_id) == SubscriptionStatus.ACTIVE


def test_a_decline_makes_it_past_due_the_spent_ladder_unpaid_and_a_payment_active(shop, company):
    shop.make_default(shop.card(SOFT), is_default=True)
    subscription_id = begin(company)
    shop.work()
    assert company.status(subscription_id) == SubscriptionStatus.PAST_DUE
    payment = payment_of(shop)
    for _ in range(3):
        shop.climb_when_due(payment.id)
    assert shop.payment(payment.id).dunning == Dunning.EXHAUSTED
    assert company.status(subscription_id) == SubscriptionStatus.UNPAID

    go_on(company, shop, days=35)
    [billed, skipped] = company.periods(subscription_id)
    assert skipped.status == PeriodStatus.SKIPPED
    assert len(company.invoices()) == 1

    shop.make_default(payment.payment_method_id, is_default=False)
    company.pay(billed.invoice_id)
    assert company.status(subscription_id) == SubscriptionStatus.ACTIVE
    # Of the period that was skipped nothing is billed; a new one begins with the payment.
    [_, skipped, anew] = company.periods(subscription_id)
    assert skipped.ends_at == anew.starts_at
    assert anew.starts_at >= clock.now() - timedelta(minutes=5)
    assert len(company.invoices()) == 2
    assert moves(company, subscription_id) == ["past_due", "unpaid", "active"]


def test_a_card_that_is_refused_for_good_makes_it_unpaid_at_once(shop, company):
    shop.make_default(shop.card(HARD), is_default=True)
    subscription_id = begin(company)
    shop.work()
    assert company.status(subscription_id) == SubscriptionStatus.UNPAID


def test_what_nobody_pays_is_past_due_after_its_day(shop, company):
    subscription_id = begin(company)
    company.work()
    [invoice] = company.invoices()
    go_on(company, shop, days=14)
    assert company.status(subscription_id) == SubscriptionStatus.ACTIVE
    go_on(company, shop, days=1)
    assert company.status(subscription_id) == SubscriptionStatus.PAST_DUE
    company.pay(invoice.id)
    assert company.status(subscription_id) == SubscriptionStatus.ACTIVE


@pytest.mark.parametrize(
    ("end", "stands"),
    [(void, SubscriptionStatus.ACTIVE), (write_off, SubscriptionStatus.UNPAID)],
)
def test_what_becomes_of_the_invoice_otherwise_is_followed_too(shop, company, end, stands):
    subscription_id = begin(company)
    company.work()
    go_on(company, shop, days=15)
    with company.session() as session:
        invoice = session.scalars(select(Invoice)).one()
        end(session, locks.lock_existing(session, Invoice, invoice.id), because=CAUSE)
    company.work()
    assert company.status(subscription_id) == stands


def test_it_stays_past_due_while_another_invoice_of_it_is(shop, company):
    subscription_id = begin(company)
    company.work()
    go_on(company, shop, days=32)
    go_on(company, shop, days=16)
    [first, second] = company.invoices()
    company.pay(first.id)
    assert company.status(subscription_id) == SubscriptionStatus.PAST_DUE
    company.pay(second.id)
    assert company.status(subscription_id) == SubscriptionStatus.ACTIVE
