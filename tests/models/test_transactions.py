"""Payments, their attempts and their refunds, as rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from models.money import Money
from models.refunds import Refund, RefundReason, RefundStatus, follow, refunds_of, taken
from models.timeline import Cause, history
from models.transactions import (
    AttemptStatus,
    Status,
    lock,
    lock_existing,
    open_of_invoice,
    start_attempt,
)
from tests.factories import make_company, make_invoice, make_payment
from worker.database import transaction

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def payment_id(customer):
    return make_payment(customer, make_invoice(customer.company_id), "80.00")


@pytest.fixture
def session(customer):
    with transaction(company_id=customer.company_id) as opened:
        yield opened


def test_an_attempt_is_leased_while_its_call_may_run(session, payment_id):
    attempt = start_attempt(lock(session, payment_id), {})
    assert not attempt.is_leased(NOON)
    attempt.lease(NOON, for_s=30)
    assert attempt.is_leased(NOON + timedelta(seconds=29))
    assert not attempt.is_leased(NOON + timedelta(seconds=30))
    attempt.status = AttemptStatus.UNKNOWN
    assert not attempt.is_leased(NOON)


def test_a_keys_life_begins_with_the_first_call(session, payment_id):
    attempt = start_attempt(lock(session, payment_id), {})
    attempt.lease(NOON, for_s=30)
    attempt.lease(NOON + timedelta(hours=1), for_s=30)
    assert attempt.first_called_at == NOON
    assert attempt.leased_until == NOON + timedelta(hours=1, seconds=30)


def test_the_open_attempt_is_the_one_with_no_final_outcome(session, payment_id):
    payment = lock(session, payment_id)
    assert payment.open_attempt is None
    declined = start_attempt(payment, {})
    declined.status = AttemptStatus.DECLINED
    assert payment.open_attempt is None
    again = start_attempt(payment, {})
    assert payment.open_attempt is again
    assert [declined.number, again.number] == [1, 2]
    assert declined.idempotency_key != again.idempotency_key


def test_a_payment_is_of_its_amount_and_currency(session, payment_id):
    assert lock(session, payment_id).money == Money(Decimal("80.00"), "INR")


def test_another_companys_payment_cannot_be_locked(session):
    stranger = make_company()
    theirs = make_payment(stranger, make_invoice(stranger.company_id))
    assert lock(session, theirs) is None


def test_an_invoice_tells_its_open_payment_until_that_ends(session, payment_id):
    payment = lock(session, payment_id)
    assert open_of_invoice(session, payment.invoice_id) == payment_id
    payment.status = Status.FAILED
    session.flush()
    assert open_of_invoice(session, payment.invoice_id) is None


def test_what_refunds_may_still_take_counts_as_taken(session, customer, payment_id):
    assert taken(session, payment_id) == 0
    amounts = dict(zip(RefundStatus, (1, 10, 100, 1000, 10_000), strict=True))
    for status, amount in amounts.items():
        session.add(
            Refund(
                company_id=customer.company_id,
                transaction_id=payment_id,
                amount=Decimal(amount),
                reason=RefundReason.REQUESTED,
                status=status,
            )
        )
        session.flush()
    assert taken(session, payment_id) == sum(amounts.values()) - amounts[RefundStatus.FAILED]
    assert [refund.status for refund in refunds_of(session, payment_id)] == list(amounts)


def test_a_late_event_moves_nothing_that_has_ended(session, payment_id):
    payment = lock_existing(session, payment_id)
    late = Cause(why="a late event")
    assert payment.move_if_allowed(Status.SUCCEEDED, because=late)
    assert payment.is_settled
    for status in (Status.SUCCEEDED, Status.FAILED, Status.PROCESSING):
        assert not payment.move_if_allowed(status, because=late)
    assert payment.status == Status.SUCCEEDED
    session.flush()
    assert [line.became for line in history(session, [payment_id])] == [Status.SUCCEEDED]


def test_what_is_given_back_is_told_of_a_payment_only_once_it_has_been_paid(session, payment_id):
    because = Cause(why="a test")
    payment = lock_existing(session, payment_id)
    payment.amount_refunded = Decimal(30)  # heard of before the payment's own answer
    follow(payment, because=because)
    assert payment.status == Status.PENDING
    payment.move_to(Status.SUCCEEDED, because=because)
    payment.amount_captured = Decimal(80)
    follow(payment, because=because)
    assert payment.status == Status.PARTIALLY_REFUNDED
    payment.amount_refunded = Decimal(80)
    follow(payment, because=because)
    assert payment.status == Status.REFUNDED
