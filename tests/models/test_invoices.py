"""Invoices: what a line costs, what is due, and what the ledger knows of it."""

from __future__ import annotations

from decimal import Decimal

import pytest
from sqlalchemy import select

from models import locks
from models.invoices import (
    Invoice,
    InvoiceLine,
    credit,
    lines_of,
    lock,
    reopen,
)
from models.ledger import Account, LedgerEntry
from models.money import Money
from models.timeline import Cause, history
from models.totals import line_amount
from tests.factories import make_company, make_invoice
from worker.database import transaction


@pytest.mark.parametrize(
    ("quantity", "unit_amount", "currency", "amount"),
    [
        ("3", "33.33", "INR", "99.99"),
        ("0.5", "0.01", "USD", "0.00"),  # half to even: down
        ("1.5", "0.01", "USD", "0.02"),  # and up
        ("0.3333", "100", "JPY", "33.00"),
        ("2.5", "1", "ISK", "2.00"),
        # With the 28 digits that decimals usually have, it would be .22.
        ("34787220527.4686", "5523555924875.32", "INR", "192149158054443540126090.21"),
    ],
)
def test_a_line_is_rounded_half_to_even_and_never_by_a_float(
    quantity, unit_amount, currency, amount
):
    assert str(line_amount(Decimal(quantity), Decimal(unit_amount), currency)) == amount


def test_what_is_due_is_what_was_not_paid(customer):
    invoice_id = make_invoice(customer.company_id, "100.00")
    with transaction(company_id=customer.company_id) as session:
        invoice = lock(session, invoice_id)
        invoice.amount_paid = Decimal("99.99")
        assert invoice.due == Money(Decimal("0.01"), "INR")


def test_another_companys_invoice_cannot_be_locked(customer):
    invoice_id = make_invoice(make_company().company_id)
    with transaction(company_id=customer.company_id) as session:
        assert lock(session, invoice_id) is None


def test_lines_come_by_invoice_and_in_their_order(customer):
    one, two, empty = (make_invoice(customer.company_id) for _ in range(3))
    with transaction(company_id=customer.company_id) as session:
        for invoice_id, position in ((one, 2), (two, 1), (one, 1), (one, 3)):
            session.add(
                InvoiceLine(
                    company_id=customer.company_id,
                    invoice_id=invoice_id,
                    position=position,
                    description=f"line {position}",
                    quantity=Decimal(1),
                    unit_amount=Decimal(1),
                    amount=Decimal(1),
                    total=Decimal(1),
                )
            )
        session.flush()
        found = lines_of(session, [one, two, empty])
        assert {each: [line.position for line in found[each]] for each in found} == {
            one: [1, 2, 3],
            two: [1],
            empty: [],
        }


def test_an_issued_invoice_is_owed_in_the_ledger(customer):
    invoice_id = make_invoice(customer.company_id, "12.50", "EUR")
    with transaction(company_id=customer.company_id) as session:
        entries = session.scalars(
            select(LedgerEntry).where(LedgerEntry.invoice_id == invoice_id)
        ).all()
        assert session.get_one(Invoice, invoice_id).due == Money(Decimal("12.50"), "EUR")
    assert {(entry.account, entry.amount, entry.currency) for entry in entries} == {
        (Account.RECEIVABLE, Decimal("12.50"), "EUR"),
        (Account.REVENUE, Decimal("-12.50"), "EUR"),
    }


@pytest.mark.parametrize(
    ("paid", "status", "what"), [("40.00", "open", "reversal"), ("100.00", "open", "move")]
)
def test_what_was_never_paid_is_due_again(customer, paid, status, what):
    because = Cause(why="of another customer")
    invoice_id = make_invoice(customer.company_id)
    with transaction(company_id=customer.company_id) as session:
        invoice = locks.lock_existing(session, Invoice, invoice_id)
        credit(session, invoice, Money(Decimal(paid), "INR"), because=because)
        reopen(session, invoice, Money(Decimal(paid), "INR"), because=because)
    with transaction(company_id=customer.company_id) as session:
        invoice = session.get_one(Invoice, invoice_id)
        assert (invoice.status, invoice.amount_paid, invoice.paid_at) == (status, 0, None)
        last = history(session, [invoice_id])[-1]
        assert (last.what, last.why) == (what, f"{paid} INR was never paid")
