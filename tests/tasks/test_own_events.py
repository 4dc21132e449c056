"""What our own events tell of rows that move: each name once, by the functions that move them."""

from __future__ import annotations

from contextlib import contextmanager
from decimal import Decimal

import pytest

from models import outbox, refunds
from models.clock import now
from models.invoices import Invoice, void, write_off
from models.locks import lock_existing
from models.money import Money
from models.outbox import RETRIES, Owed, enqueue
from models.refunds import Refund, RefundReason, RefundStatus
from models.timeline import Cause
from models.tracking import TRACKED
from models.transactions import Provider, Status, Transaction
from models.usage import Reading
from tasks import dispute_states, mail_events
from tests.factories import make_invoice, make_mail, make_module, make_payment
from worker import app, usage
from worker.database import in_transaction, transaction
from worker.gateways.base import DisputeAnswer

D = Decimal
CAUSE = Cause(why="a test")


@contextmanager
def tracking(customer):
    """Yield a session, and a list that has what it tracked once it is over."""
    told: list[tuple[str, str, str | None]] = []
    with transaction(company_id=customer.company_id) as session:
        yield session, told
        tracked = session.info.get(TRACKED, {}).get(customer.company_id, [])
        told += [
            (each["name"], each.get("dimension", ""), each.get("amount") or each.get("quantity"))
            for each in tracked
        ]


@pytest.mark.parametrize(
    ("act", "name"), [(void, "invoice.voided"), (write_off, "invoice.uncollectible")]
)
def test_what_ends_an_invoice(customer, act, name):
    invoice_id = make_invoice(customer.company_id)
    with tracking(customer) as (session, told):
        act(session, lock_existing(session, Invoice, invoice_id), because=CAUSE)
    assert told == [(name, "", "100.00")]


def test_a_refund_its_credit_note_and_the_bank_that_sends_it_back(customer):
    payment_id = make_payment(
        customer,
        make_invoice(customer.company_id),
        "100.00",
        status=Status.SUCCEEDED,
        payment_method=Provider.BANK_TRANSFER,
        amount_captured=D(100),
    )
    with tracking(customer) as (session, told):
        payment = lock_existing(session, Transaction, payment_id)
        invoice = lock_existing(session, Invoice, payment.invoice_id)
        invoice.amount_paid = D(100)
        refund = Refund(
            company_id=customer.company_id,
            transaction_id=payment_id,
            amount=D(40),
            reason=RefundReason.REFUND,
        )
        session.add(refund)
        session.flush()
        refund.move_to(RefundStatus.SUCCEEDED, because=CAUSE)
        refunds.give(session, payment, refund, because=CAUSE)
    assert told == [("refund.succeeded", "", "40.00"), ("credit_note.issued", "", "40.00")]
    with tracking(customer) as (session, told):
        payment = lock_existing(session, Transaction, payment_id)
        held = lock_existing(session, Refund, refund.id)
        refunds.take_back(session, payment, held, because=CAUSE)
    assert told == [("refund.reversed", "", "40.00")]


def test_a_dispute_is_opened_and_ends(customer):
    payment_id = make_payment(
        customer, make_invoice(customer.company_id), "100.00", status=Status.SUCCEEDED
    )
    told_of = {
        "provider_id": f"du_{payment_id.hex}",
        "intent_id": "",
        "charge_id": "",
        "reason": "fraudulent",
        "evidence_due_at": None,
        "is_refundable": False,
    }
    money = Money(D(100), "INR")
    for state, name in (("needs_response", "dispute.opened"), ("lost", "dispute.lost")):
        with tracking(customer) as (session, told):
            payment = lock_existing(session, Transaction, payment_id)
            answer = DisputeAnswer(
                state=dispute_states.DisputeStatus(state), money=money, **told_of
            )
            held = dispute_states.locked(session, payment, answer.provider_id)
            if held is None:
                dispute_states.adopt(session, payment, answer, cause=CAUSE)
            else:
                dispute_states.apply(session, payment, held, answer, cause=CAUSE)
        assert told == [(name, "", "100.00")]


def test_many_readings_of_a_module_and_a_day_are_one_event(customer):
    module_id = make_module(customer, code="sms")
    readings = [Reading(module_id=module_id, key=f"{module_id}{n}", quantity=n) for n in (1, 2, 3)]
    with tracking(customer) as (session, told):
        usage._record(session, customer.company_id, readings, CAUSE)
    assert told == [("usage.recorded", "sms", "6.0000")]
    with tracking(customer) as (session, told):
        usage._record(session, customer.company_id, readings, CAUSE)
    assert told == []


def test_a_letter_that_comes_back(customer):
    mail_id = make_mail(customer)
    with tracking(customer) as (session, told):
        for _ in range(2):
            mail_events.hear("bounce", session, {"mail_id": str(mail_id)}, CAUSE)
    assert told == [("mail.bounced", "payment_failed", None)]


def test_work_that_is_given_up(customer):
    with transaction(company_id=customer.company_id) as session:
        owed_id = enqueue(session, "payments.charge", due_at=now()).id
    for _ in range(RETRIES):
        in_transaction(outbox.fail, None, owed_id, moment=now(), error="no", backoff_s=1)
    with tracking(customer) as (session, told):
        app._count_failure(session, owed_id, "no", None)
    assert told == [("error.dead_letter", "payments.charge", None)]
    with transaction() as session:
        session.delete(session.get_one(Owed, owed_id))
