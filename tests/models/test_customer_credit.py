"""A company's credit: used by the next invoices, and back when nothing is left of one of them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from models import customer_credit, invoices, locks
from models.credit_notes import CreditNote, credit_due
from models.customer_credit import CreditIsUsed, balance
from models.invoices import Invoice, InvoiceStatus
from models.money import Money
from models.states import IllegalMove
from models.tenants import Company
from models.totals import Line, LineKind, Tax, credited_taxes
from tests.factories import make_company
from tests.models.test_issuing import BECAUSE, GST, booked, broken, held, line, read
from worker.database import transaction


@pytest.fixture
def customer(database):
    return make_company()


def billed(customer, *lines):
    """An invoice that uses up the company's credit, or adds to it, as subscriptions' do."""
    with transaction(company_id=customer.company_id) as session:
        locks.lock_existing(session, Company, customer.company_id)
        available = balance(session, customer.company_id, "INR")
        wanted, added = customer_credit.settled(lines, "INR", available)
        made = invoices.draft(session, customer.company_id, currency="INR", lines=wanted)
        invoices.finalise(session, made, because=BECAUSE)
        customer_credit.book(session, made, added)
        return made.id


def given_credit(customer, amount):
    back = Line(
        description="Unused time",
        quantity=Decimal(1),
        unit_amount=-Decimal(amount),
        kind=LineKind.PRORATION,
    )
    return billed(customer, back)


def left(customer):
    with transaction(company_id=customer.company_id) as session:
        return balance(session, customer.company_id, "INR")


def take_back(customer, invoice_id):
    with held(customer, invoice_id) as (session, invoice):
        invoices.void(session, invoice, because=BECAUSE)


def credited(customer, invoice_id, amount):
    with held(customer, invoice_id) as (session, invoice):
        money = Money(Decimal(amount), "INR")
        credit_due(session, invoice, money, reason="a mistake", because=BECAUSE)


def test_an_invoice_that_credit_has_paid_whole_can_be_void(customer):
    given_credit(customer, "500.00")
    invoice_id = billed(customer, line(taxes=GST))
    assert read(customer, invoice_id).status == InvoiceStatus.PAID
    assert left(customer) == 382
    take_back(customer, invoice_id)
    made = read(customer, invoice_id)
    assert (made.status, made.paid_at) == (InvoiceStatus.VOID, None)
    assert left(customer) == 500
    assert booked(customer, invoice_id) == {}
    assert broken(invoice_id, customer.company_id) == []


def test_a_credit_is_not_taken_back_once_it_is_used(customer):
    first = given_credit(customer, "118.00")
    second = billed(customer, line("18.00"))
    with pytest.raises(CreditIsUsed, match=r"118\.00 INR, of which 100\.00 INR is left"):
        take_back(customer, first)
    assert read(customer, first).status == InvoiceStatus.PAID
    take_back(customer, second)
    take_back(customer, first)
    assert left(customer) == 0
    assert broken(first, second, customer.company_id) == []


def test_what_was_credited_whole_is_not_void_as_well(customer):
    invoice_id = billed(customer, line())
    credited(customer, invoice_id, "100.00")
    with held(customer, invoice_id) as (session, invoice), pytest.raises(IllegalMove):
        invoices.void(session, invoice, because=BECAUSE)


def test_notes_for_all_that_is_due_give_all_taxes_back_and_the_credit(customer):
    given_credit(customer, "100.00")
    invoice_id = billed(customer, line("99.99", taxes=GST))  # 117.99, of which 17.99 is due
    for amount in ("7.00", "10.99"):
        credited(customer, invoice_id, amount)
    with transaction(company_id=customer.company_id) as session:
        notes = list(session.scalars(select(CreditNote).order_by(CreditNote.number)))
        invoice = session.get_one(Invoice, invoice_id)
        assert sum(note.tax_amount for note in notes) == invoice.tax_amount == 18
    for note in notes:
        totals = [Decimal(each["total"]) for each in note.lines]
        taxes = [Decimal(tax["amount"]) for each in note.lines for tax in each["taxes"]]
        assert (sum(totals), sum(taxes)) == (note.amount, note.tax_amount)
        assert Decimal(note.lines[0]["amount"]) > 0
    assert [len(note.lines) for note in notes] == [1, 2]
    assert left(customer) == 100
    assert broken(invoice_id, customer.company_id) == []


AMOUNT = st.decimals("0.01", "99999.99", places=2)


@given(
    nets=st.lists(st.tuples(AMOUNT, st.sampled_from(["0", "2.5", "7.7", "9", "19"])), min_size=1),
    cuts=st.lists(st.decimals("0", "1", places=6), max_size=8),
    currency=st.sampled_from(["INR", "JPY"]),
)
def test_any_notes_that_sum_to_an_invoice_have_exactly_its_taxes(nets, cuts, currency):
    lines = [line(net, taxes=(Tax("VAT", Decimal(rate)),)) for net, rate in nets]
    taxes, whole = {}, Decimal(0)
    for each in lines:
        priced = invoices.price(each, currency)
        rate = ("VAT", str(each.taxes[0].percent))
        taxes[rate] = taxes.get(rate, 0) + priced.tax_amount
        whole += priced.total
    if not whole:
        return
    before = dict.fromkeys(taxes, Decimal(0))
    until = [*sorted((whole * cut).quantize(Decimal("0.01")) for cut in cuts), whole]
    for reached in until:
        shares = credited_taxes(taxes, before, reached, whole, currency)
        assert all(share >= 0 for share in shares.values())
        before = {rate: before[rate] + share for rate, share in shares.items()}
    assert before == taxes
