"""Each invariant of subscriptions is broken on purpose and must be told."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from models.base import across_companies
from models.ids import new_id
from models.invariants import check
from models.ledger import Account, post
from models.money import Money
from models.subscription_invariants import SUBSCRIPTIONS
from tests.factories import make_company
from tests.tasks.subscription_shop import Subscriber, add_module, add_plan, price
from worker.database import engine
from worker.subscribing import Change

ONE = "subscription_id = :subscription"
BREAKS = {
    "each period of a subscription has exactly one invoice once it is billed": (
        f"UPDATE subscription_periods SET invoice_id = NULL WHERE {ONE}"
    ),
    "an invoice of a subscription is that of exactly one period": (
        f"UPDATE subscription_periods SET invoice_id = NULL, status = 'skipped' WHERE {ONE}"
    ),
    "the periods of a subscription do not overlap": (
        "INSERT INTO subscription_periods (id, company_id, subscription_id, starts_at, ends_at,"
        " status, `lines`, usage_prices, usage_from, usage_until, created_at, updated_at)"
        " SELECT :new, company_id, subscription_id, starts_at + INTERVAL 1 DAY, ends_at,"
        " 'skipped', '[]', '[]', usage_from, usage_until, created_at, updated_at"
        f" FROM subscription_periods WHERE {ONE}"
    ),
    "what goes on is in a period that has its row": (
        "UPDATE subscriptions SET current_period_start = current_period_start + INTERVAL 1 SECOND"
        " WHERE id = :subscription"
    ),
    "a period that is not billed yet is owed its invoice": (
        f"UPDATE subscription_periods SET status = 'generating' WHERE {ONE}"
    ),
    "a company's credit is never used up beyond what it was given": (
        "UPDATE ledger_entries SET amount = 1 WHERE account = 'credit' AND company_id = :company"
    ),
    "invoices are of the company of their subscriptions": (
        f"UPDATE invoices SET company_id = :other WHERE {ONE}"
    ),
    **{
        f"{table} are of the company of their subscriptions": (
            f"UPDATE {table} SET company_id = :other WHERE {ONE}"
        )
        for table in ("subscription_items", "subscription_periods", "subscription_changes")
    },
}


def test_every_invariant_is_broken_once_here():
    assert BREAKS.keys() == SUBSCRIPTIONS.keys()


@pytest.fixture
def book(database):
    """A subscription in its first period, with a change in it, of a company that has credit."""
    company = Subscriber()
    module = add_module(company.tenant_id, "Team")
    plan = add_plan(company.tenant_id, [price(module, "30.00", "per_seat")])
    subscription_id = company.start(plan)
    company.work()
    company.act("change", subscription_id, Change(seats=2))
    with Session(engine(), info={"company_id": company.company_id}) as session:
        post(
            session,
            f"customer-credit:{new_id()}",
            company_id=company.company_id,
            debit=Account.REVENUE,
            credit=Account.CREDIT,
            money=Money(10, "EUR"),
        )
        session.flush()
        yield session, company, subscription_id, set(check(session, limit=100_000))
        session.rollback()


@pytest.mark.parametrize("sentence", BREAKS)
def test_what_breaks_an_invariant_is_told(book, sentence):
    session, company, subscription_id, before = book
    assert not [each for each in before if str(subscription_id) in each.detail]
    values = {
        "subscription": subscription_id.bytes,
        "company": company.company_id.bytes,
        "other": make_company().company_id.bytes,
        "new": new_id().bytes,
    }
    named = {name: value for name, value in values.items() if f":{name}" in BREAKS[sentence]}
    query = across_companies(text(BREAKS[sentence]), because="a test breaks it")
    assert session.execute(query, named).rowcount
    for within in (None, timedelta(hours=1)):
        found = set(check(session, limit=100_000, within=within)) - before
        assert sentence in {each.invariant for each in found}
