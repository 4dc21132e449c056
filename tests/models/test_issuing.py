"""Invoices are drafted, issued under the next number, and end paid, void or given up."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select

from models import invariants, invoices, locks
from models.ids import new_id
from models.invoices import Invoice, InvoiceStatus, Line, Tax, draft, finalise, lines_of
from models.ledger import Account, LedgerEntry
from models.money import InvalidAmount, Money
from models.states import IllegalMove
from models.tenants import Company, Tenant
from models.timeline import Cause, history
from worker.database import in_transaction, transaction

BECAUSE = Cause(why="a test")
GST = (Tax("CGST", Decimal(9)), Tax("SGST", Decimal(9)))


def line(amount="100.00", **changed) -> Line:
    return Line(
        **{"description": "Seats", "quantity": Decimal(1), "unit_amount": Decimal(amount)} | changed
    )


def drafted(customer, *lines, **more):
    with transaction(company_id=customer.company_id) as session:
        wanted = {"currency": "INR", "lines": lines or [line()]} | more
        return draft(session, customer.company_id, **wanted).id


def issued(customer, *lines, **more):
    invoice_id = drafted(customer, *lines, **more)
    with held(customer, invoice_id) as (session, invoice):
        finalise(session, invoice, because=BECAUSE)
    return invoice_id


@contextmanager
def held(customer, invoice_id):
    with transaction(company_id=customer.company_id) as session:
        yield session, locks.lock_existing(session, Invoice, invoice_id)


def read(customer, invoice_id) -> Invoice:
    with transaction(company_id=customer.company_id) as session:
        return session.get_one(Invoice, invoice_id)


def booked(customer, invoice_id) -> dict[str, Decimal]:
    with transaction(company_id=customer.company_id) as session:
        sums: dict[str, Decimal] = {}
        for entry in session.scalars(
            select(LedgerEntry).where(LedgerEntry.invoice_id == invoice_id)
        ):
            sums[str(entry.account)] = sums.get(str(entry.account), Decimal(0)) + entry.amount
        return {account: amount for account, amount in sums.items() if amount}


def broken(*ids) -> list[str]:
    """What does not hold of these rows. Money that only a test has told of is no payment's."""
    with transaction() as session:
        found = invariants.check(session, limit=10_000, within=timedelta(hours=1))
    return [
        one.invariant
        for one in found
        if any(str(identity) in one.detail for identity in ids)
        and "what its payments captured" not in one.invariant
    ]


def test_a_draft_has_its_totals_and_neither_number_nor_ledger(customer):
    start, end = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
    module, subscription, identity = new_id(), new_id(), new_id()
    seats = line(
        quantity=Decimal("2.5"),
        discount_percent=Decimal(10),
        taxes=GST,
        kind="seat",
        module_id=module,
        period=(start, end),
    )
    usage = line("0.002500", quantity=Decimal(1000), kind="usage")
    assert identity == drafted(
        customer,
        seats,
        usage,
        subscription_id=subscription,
        period=(start, end),
        invoice_id=identity,
    )
    invoice = read(customer, identity)
    assert (invoice.number, invoice.status, invoice.issued_at) == (None, "draft", None)
    assert (invoice.subtotal, invoice.discount_amount) == (Decimal("252.50"), 25)
    assert (invoice.tax_amount, invoice.amount) == (Decimal("40.50"), 268)
    assert (invoice.subscription_id, invoice.period_start) == (subscription, start)
    with transaction(company_id=customer.company_id) as session:
        first, second = lines_of(session, [identity])[identity]
    assert (first.kind, first.module_id, first.period_end) == ("seat", module, end)
    assert first.taxes == [
        {"name": "CGST", "percent": "9", "amount": "20.25"},
        {"name": "SGST", "percent": "9", "amount": "20.25"},
    ]
    assert (first.total, second.unit_amount) == (Decimal("265.50"), Decimal("0.0025"))
    assert booked(customer, identity) == {}
    assert broken(identity) == []


def test_a_draft_may_be_written_anew_and_deleted(customer):
    invoice_id = drafted(customer, line(), line("1.00"))
    with held(customer, invoice_id) as (session, invoice):
        invoices.rewrite(session, invoice, [line("7.00", taxes=GST)])
    assert read(customer, invoice_id).amount == Decimal("8.26")
    with held(customer, invoice_id) as (session, invoice):
        with pytest.raises(InvalidAmount):
            invoices.rewrite(session, invoice, [line("-1", kind="proration")])
        assert [each.total for each in lines_of(session, [invoice_id])[invoice_id]] == [
            Decimal("8.26")
        ]
        invoices.discard(session, invoice)
    with transaction(company_id=customer.company_id) as session:
        assert session.get(Invoice, invoice_id) is None
        assert lines_of(session, [invoice_id]) == {invoice_id: []}


def test_what_is_issued_shows_the_company_as_it_was(customer):
    with transaction() as session:
        company = session.get_one(Company, customer.company_id)
        company.name, company.tax_id, company.time_zone = "Acme", "29ABC", "Asia/Kolkata"
        company.address, company.language = {"city": "Pune", "country": "IN"}, "hi"
        session.get_one(Tenant, customer.tenant_id).name = "The tenant"
    invoice_id = issued(customer)
    with transaction() as session:
        session.get_one(Company, customer.company_id).name = "Acme Two"
    invoice = read(customer, invoice_id)
    assert invoice.billed_to == {
        "name": "Acme",
        "address": {"city": "Pune", "country": "IN"},
        "tax_id": "29ABC",
        "language": "hi",
        "time_zone": "Asia/Kolkata",
        "issuer": "The tenant",
    }
    assert (invoice.number, invoice.status) == ("INV-000001", InvoiceStatus.OPEN)
    assert booked(customer, invoice_id) == {"receivable": 100, "revenue": -100}
    with transaction(company_id=customer.company_id) as session:
        [moved] = history(session, [invoice_id])
    assert (moved.was, moved.became, moved.why) == ("draft", "open", "issued as INV-000001")
    assert broken(invoice_id) == []


def test_an_invoice_is_issued_once(customer):
    invoice_id = issued(customer)
    with held(customer, invoice_id) as (session, invoice), pytest.raises(IllegalMove):
        finalise(session, invoice, because=BECAUSE)
    assert read(customer, invoice_id).number == "INV-000001"


def test_where_nothing_is_to_be_paid_an_invoice_is_paid_at_once(customer):
    invoice_id = issued(customer, line(discount_percent=Decimal(100), taxes=GST))
    invoice = read(customer, invoice_id)
    assert (invoice.status, invoice.amount, invoice.paid_at is None) == ("paid", 0, False)
    assert (invoice.subtotal, invoice.number) == (100, "INV-000001")
    assert booked(customer, invoice_id) == {}
    assert broken(invoice_id) == []


class GivenUp(Exception):
    pass


def test_numbers_have_no_gap_and_no_twin_whoever_gives_up(customer):
    made = [drafted(customer) for _ in range(16)]

    def finish(session, position):
        invoice = locks.lock_existing(session, Invoice, made[position])
        finalise(session, invoice, because=BECAUSE)
        if position % 3 == 0:
            raise GivenUp

    def attempt(position):
        with suppress(GivenUp):
            in_transaction(finish, customer.company_id, position)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(attempt, range(16)))
    numbers = sorted(filter(None, (read(customer, each).number for each in made)))
    assert numbers == [f"INV-{number:06d}" for number in range(1, 11)]
    assert broken(customer.company_id, *made) == []


@pytest.mark.parametrize("is_given_up", [False, True])
def test_a_void_invoice_is_owed_no_more(customer, is_given_up):
    invoice_id = issued(customer)
    with held(customer, invoice_id) as (session, invoice):
        if is_given_up:
            invoices.write_off(session, invoice, because=BECAUSE)
    with held(customer, invoice_id) as (session, invoice):
        invoices.void(session, invoice, because=BECAUSE)
    assert read(customer, invoice_id).status == InvoiceStatus.VOID
    assert booked(customer, invoice_id) == {}
    assert broken(invoice_id) == []


def test_what_was_paid_in_part_is_not_made_void(customer):
    invoice_id = issued(customer)
    with held(customer, invoice_id) as (session, invoice):
        invoices.credit(session, invoice, Money(Decimal(40), "INR"), because=BECAUSE)
        with pytest.raises(IllegalMove):
            invoices.void(session, invoice, because=BECAUSE)
    assert read(customer, invoice_id).status == InvoiceStatus.OPEN


def pay(customer, invoice_id, amount):
    """As a payment does: its entry, and its credit."""
    with held(customer, invoice_id) as (session, invoice):
        money = Money(Decimal(amount), "INR")
        invoices.ledger.post(
            session,
            f"payment:{new_id()}",
            company_id=customer.company_id,
            debit=Account.BANK,
            credit=Account.RECEIVABLE,
            money=money,
            invoice_id=invoice_id,
        )
        return invoices.credit(session, invoice, money, because=BECAUSE)


def test_what_was_given_up_is_a_bad_debt_until_it_is_paid_after_all(customer):
    invoice_id = issued(customer)
    assert not pay(customer, invoice_id, "40.00")
    with held(customer, invoice_id) as (session, invoice):
        invoices.write_off(session, invoice, because=BECAUSE)
    assert booked(customer, invoice_id) == {"bank": 40, "revenue": -100, "bad_debt": 60}
    assert broken(invoice_id) == []
    assert not pay(customer, invoice_id, "20.00")
    assert broken(invoice_id) == []
    assert pay(customer, invoice_id, "40.00")
    assert read(customer, invoice_id).status == InvoiceStatus.PAID
    assert booked(customer, invoice_id) == {"bank": 100, "revenue": -100}
    assert broken(invoice_id) == []


def test_an_invoice_may_be_given_up_paid_reopened_and_given_up_again(customer):
    invoice_id = issued(customer)
    for _ in "12":
        with held(customer, invoice_id) as (session, invoice):
            invoices.write_off(session, invoice, because=BECAUSE)
        assert pay(customer, invoice_id, "100.00")
        with held(customer, invoice_id) as (session, invoice):
            money = Money(Decimal(100), "INR")
            invoices.ledger.post(
                session,
                f"back:{new_id()}",
                company_id=customer.company_id,
                debit=Account.RECEIVABLE,
                credit=Account.BANK,
                money=money,
                invoice_id=invoice_id,
            )
            invoices.reopen(session, invoice, money, because=BECAUSE)
        assert booked(customer, invoice_id) == {"receivable": 100, "revenue": -100}
        assert broken(invoice_id) == []
