"""Credit notes: one for each refund, and by hand for what is due; all of them never too much."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import select

from models import refunds
from models.credit_notes import CreditNote, credit_due
from models.invoices import InvoiceStatus, credit, void
from models.ledger import Account, post
from models.locks import lock_existing
from models.money import InvalidAmount, Money
from models.outbox import Owed
from models.refunds import Refund, RefundReason, RefundStatus
from models.transactions import Provider, Status, Transaction
from tests.factories import make_payment
from tests.models.test_issuing import BECAUSE, GST, booked, broken, held, issued, line, read
from worker.database import transaction


def paid(customer, invoice_id, amount) -> UUID:
    """A payment that came for an invoice by bank transfer."""
    payment_id = make_payment(
        customer,
        invoice_id,
        amount,
        status=Status.SUCCEEDED,
        payment_method=Provider.BANK_TRANSFER,
        amount_captured=Decimal(amount),
    )
    with held(customer, invoice_id) as (session, invoice):
        money = Money(Decimal(amount), "INR")
        post(
            session,
            f"payment:{payment_id}",
            company_id=customer.company_id,
            debit=Account.BANK,
            credit=Account.RECEIVABLE,
            money=money,
            invoice_id=invoice_id,
            transaction_id=payment_id,
        )
        credit(session, invoice, money, because=BECAUSE)
    return payment_id


def give_back(customer, payment_id, amount) -> UUID:
    with transaction(company_id=customer.company_id) as session:
        payment = lock_existing(session, Transaction, payment_id)
        refund = Refund(
            company_id=customer.company_id,
            transaction_id=payment_id,
            amount=Decimal(amount),
            reason=RefundReason.REFUND,
        )
        session.add(refund)
        session.flush()
        refund.move_to(RefundStatus.SUCCEEDED, because=BECAUSE)
        refunds.give(session, payment, refund, because=BECAUSE)
        return refund.id


def notes(customer) -> list[CreditNote]:
    with transaction(company_id=customer.company_id) as session:
        return list(session.scalars(select(CreditNote).order_by(CreditNote.id)))


def lower(customer, invoice_id, amount) -> None:
    with held(customer, invoice_id) as (session, invoice):
        money = Money(Decimal(amount), "INR")
        credit_due(session, invoice, money, reason="a mistake", because=BECAUSE)


def test_refunds_in_parts_credit_the_whole_invoice_and_its_taxes(customer):
    invoice_id = issued(customer, line("99.99", taxes=GST))
    payment_id = paid(customer, invoice_id, "117.99")
    for amount in ("39.33", "39.33", "39.33"):
        give_back(customer, payment_id, amount)
        assert broken(invoice_id, payment_id) == []
    made = notes(customer)
    assert [note.number for note in made] == ["CN-000001", "CN-000002", "CN-000003"]
    assert sum(note.amount for note in made) == Decimal("117.99")
    for position in (0, 1):
        shares = [Decimal(note.lines[0]["taxes"][position]["amount"]) for note in made]
        assert sum(shares) == Decimal("9.00")
    assert sum(note.tax_amount for note in made) == 18
    assert booked(customer, invoice_id) == {}
    [line_shown] = made[0].lines
    assert (line_shown["description"], line_shown["total"]) == ("refund of 39.33 INR", "39.33")
    assert made[0].billed_to == read(customer, invoice_id).billed_to


def test_the_companys_people_are_told_of_a_credit_note(customer):
    payment_id = paid(customer, issued(customer), "100.00")
    give_back(customer, payment_id, "40.00")
    [made] = notes(customer)
    with transaction(company_id=customer.company_id) as session:
        told = (Owed.company_id == customer.company_id, Owed.task == "notifications.notify")
        [owed] = session.scalars(select(Owed).where(*told))
    assert owed.arguments["template"] == "credit_note_issued"
    assert owed.arguments["subject_id"] == str(made.id)
    assert owed.arguments["told"] == {
        "credit_note_number": "CN-000001",
        "invoice_number": "INV-000001",
        "amount": "40.00",
        "currency": "INR",
    }


def test_what_came_too_much_goes_back_without_a_credit_note(customer):
    invoice_id = issued(customer)
    first, second = (paid(customer, invoice_id, "100.00") for _ in "12")
    give_back(customer, second, "70.00")
    assert notes(customer) == []
    give_back(customer, first, "50.00")
    # 30 of it were too much still.
    [made] = notes(customer)
    assert made.amount == 20
    assert broken(invoice_id, first, second, made.id) == []


def test_what_was_paid_for_a_void_invoice_goes_back_without_a_credit_note(customer):
    invoice_id = issued(customer)
    with held(customer, invoice_id) as (session, invoice):
        void(session, invoice, because=BECAUSE)
    payment_id = paid(customer, invoice_id, "100.00")
    give_back(customer, payment_id, "100.00")
    assert notes(customer) == []
    assert broken(invoice_id, payment_id) == []


def test_a_refund_that_comes_back_takes_its_credit_note_along(customer):
    invoice_id = issued(customer, line(taxes=GST))
    payment_id = paid(customer, invoice_id, "118.00")
    refund_id = give_back(customer, payment_id, "59.00")
    assert booked(customer, invoice_id) == {"bank": 59, "revenue": -59}
    with transaction(company_id=customer.company_id) as session:
        payment = lock_existing(session, Transaction, payment_id)
        refund = lock_existing(session, Refund, refund_id)
        refunds.take_back(session, payment, refund, because=BECAUSE)
        refund.move_to(RefundStatus.FAILED, because=BECAUSE)
    assert booked(customer, invoice_id) == {"bank": 118, "revenue": -118}
    assert broken(invoice_id, payment_id) == []
    # Its number stays taken, and what it had of the invoice may be credited again.
    give_back(customer, payment_id, "118.00")
    reversed_, again = notes(customer)
    assert (reversed_.reversed_at is None, again.reversed_at is None) == (False, True)
    assert (again.number, again.amount, again.tax_amount) == ("CN-000002", 118, 18)
    assert broken(invoice_id, payment_id) == []


def test_a_refund_of_before_there_were_credit_notes_comes_back_without_one(customer):
    invoice_id = issued(customer)
    payment_id = paid(customer, invoice_id, "100.00")
    refund_id = give_back(customer, payment_id, "50.00")
    with transaction(company_id=customer.company_id) as session:
        payment = lock_existing(session, Transaction, payment_id)
        refund = lock_existing(session, Refund, refund_id)
        session.scalars(select(CreditNote)).one().refund_id = None
        session.flush()
        refunds.take_back(session, payment, refund, because=BECAUSE)
        assert session.scalars(select(CreditNote.reversed_at)).one() is None
        session.rollback()


def test_what_is_credited_by_hand_is_due_no_more(customer):
    invoice_id = issued(customer, line(taxes=GST))
    lower(customer, invoice_id, "18.00")
    invoice = read(customer, invoice_id)
    assert (invoice.status, invoice.amount_credited) == (InvoiceStatus.OPEN, 18)
    assert (invoice.due.amount, invoice.amount_paid) == (100, 0)
    assert booked(customer, invoice_id) == {"receivable": 100, "revenue": -100}
    payment_id = paid(customer, invoice_id, "60.00")
    lower(customer, invoice_id, "40.00")
    assert read(customer, invoice_id).status == InvoiceStatus.PAID
    # What was paid may still go back, and everything is credited then.
    give_back(customer, payment_id, "60.00")
    assert [note.amount for note in notes(customer)] == [18, 40, 60]
    assert sum(note.tax_amount for note in notes(customer)) == 18
    assert booked(customer, invoice_id) == {}
    assert broken(invoice_id, payment_id) == []


@pytest.mark.parametrize("amount", ["0", "-1", "100.01"])
def test_no_more_than_is_due_is_credited_by_hand(customer, amount):
    invoice_id = issued(customer)
    with pytest.raises(InvalidAmount, match=r"at most the 100.00 INR"):
        lower(customer, invoice_id, amount)
    assert notes(customer) == []


def test_only_what_is_open_is_credited_by_hand(customer):
    invoice_id = issued(customer)
    lower(customer, invoice_id, "100.00")
    with pytest.raises(InvalidAmount, match="invoice that is paid"):
        lower(customer, invoice_id, "1.00")
    assert broken(invoice_id) == []
