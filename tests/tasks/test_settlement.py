"""What an intent's state does to a payment that has gone on without it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from sqlalchemy import select

from models.alerts import Alert
from models.clock import now
from models.ids import new_id
from models.invoices import InvoiceStatus
from models.invoices import lock as lock_invoice
from models.money import Money
from models.refunds import refunds_of
from models.timeline import Cause, history
from models.transactions import (
    AttemptStatus,
    Dunning,
    Status,
    Transaction,
    lock_existing,
    start_attempt,
)
from tasks import refunds, settlement
from tests.factories import Customer, make_invoice, make_payment
from worker.database import in_transaction, transaction
from worker.gateways.base import (
    Advice,
    Declined,
    Intent,
    IntentStatus,
    RefundAnswer,
    RefundState,
)

HUNDRED = Money(Decimal(100), "INR")
BY_EVENT = Cause(why="an event", event_id="evt_1")


def intent(status: IntentStatus) -> Intent:
    number = new_id().hex
    return Intent(
        provider_id=f"pi_{number}",
        status=status,
        money=HUNDRED,
        captured=HUNDRED if status is IntentStatus.SUCCEEDED else None,
        charge_id=f"ch_{number}",
    )


def apply(customer: Customer, payment_id, answer: Intent) -> Transaction:
    def act(session) -> Transaction:
        payment = lock_existing(session, payment_id)
        attempt = settlement.attempt_behind(payment, answer)
        settlement.apply(session, payment, attempt, answer, cause=BY_EVENT)
        return payment

    return in_transaction(act, customer.company_id)


def told(customer: Customer, payment_id) -> list[str]:
    with transaction(company_id=customer.company_id) as session:
        return [line.what for line in history(session, [payment_id])]


def test_a_second_intent_that_succeeds_is_told_and_changes_no_money(customer, caplog):
    payment_id = make_payment(customer, make_invoice(customer.company_id))
    first, second = intent(IntentStatus.SUCCEEDED), intent(IntentStatus.SUCCEEDED)
    apply(customer, payment_id, first)
    payment = apply(customer, payment_id, second)
    assert payment.status == Status.SUCCEEDED
    assert payment.amount_captured == 100
    assert payment.provider_transaction_id == first.provider_id
    assert payment.payment_processor_id == first.charge_id
    assert told(customer, payment_id).count("second_charge") == 1
    assert f"charged twice: also by {second.provider_id}" in caplog.text


def alerts_about(row_id) -> list[str]:
    with transaction() as session:
        return list(session.scalars(select(Alert.kind).where(Alert.subject_id == row_id)))


def test_a_second_charge_is_for_a_person(customer):
    payment_id = make_payment(customer, make_invoice(customer.company_id))
    for _ in range(3):
        apply(customer, payment_id, intent(IntentStatus.SUCCEEDED))
    assert alerts_about(payment_id) == ["second_charge"]


def test_what_was_given_up_and_is_paid_all_the_same_is_for_a_person(customer):
    payment_id = make_payment(customer, make_invoice(customer.company_id), status=Status.CANCELED)
    payment = apply(customer, payment_id, intent(IntentStatus.SUCCEEDED))
    assert (payment.status, payment.amount_captured) == (Status.CANCELED, 0)
    assert alerts_about(payment_id) == ["paid_though_canceled"]


def given_back(customer: Customer, payment_id, of: Intent, *parts, **said) -> None:
    """Hear of refunds at the provider, of so much each."""
    with transaction(company_id=customer.company_id) as session:
        payment = lock_existing(session, payment_id)
        for number, part in enumerate(parts):
            answer = RefundAnswer(
                provider_id=said.get("refund") or f"re_{number}_{of.provider_id}",
                state=said.get("state", RefundState.SUCCEEDED),
                money=Money(Decimal(part), "INR"),
                intent_id=of.provider_id,
            )
            refunds.hear(session, payment, answer, cause=BY_EVENT)
        assert refunds_of(session, payment_id) == []
        assert payment.amount_refunded == 0


def is_alert_open(payment_id) -> bool:
    with transaction() as session:
        [key] = session.scalars(select(Alert.open_key).where(Alert.subject_id == payment_id))
    return key is not None


@pytest.fixture
def canceled(customer):
    return make_payment(customer, make_invoice(customer.company_id), status=Status.CANCELED)


def test_what_was_paid_for_a_canceled_payment_goes_back_without_a_refund_of_ours(
    customer, canceled
):
    paid = intent(IntentStatus.SUCCEEDED)
    apply(customer, canceled, paid)
    given_back(customer, canceled, paid, 60)
    given_back(customer, canceled, paid, 60, refund=f"re_0_{paid.provider_id}")
    assert is_alert_open(canceled)  # told twice of one refund
    given_back(customer, canceled, paid, 40, refund="re_last", state=RefundState.PENDING)
    assert is_alert_open(canceled)
    given_back(customer, canceled, paid, 40, refund="re_last")
    assert not is_alert_open(canceled)
    assert "other_refund" in told(customer, canceled)


def test_all_that_was_taken_must_go_back_and_not_what_the_payment_asks(customer, canceled):
    with transaction(company_id=customer.company_id) as session:
        lock_existing(session, canceled).amount = Decimal(70)
    paid = intent(IntentStatus.SUCCEEDED)
    apply(customer, canceled, paid)
    given_back(customer, canceled, paid, 70)
    assert is_alert_open(canceled)


def test_a_refund_that_has_failed_gives_nothing_back(customer, canceled):
    paid = intent(IntentStatus.SUCCEEDED)
    apply(customer, canceled, paid)
    given_back(customer, canceled, paid, 60)
    given_back(customer, canceled, paid, 60, state=RefundState.FAILED)
    given_back(customer, canceled, paid, 40, refund="re_other")
    assert is_alert_open(canceled)


def test_each_of_two_charges_too_many_must_go_back(customer):
    payment_id = make_payment(customer, make_invoice(customer.company_id))
    first, second, third = [intent(IntentStatus.SUCCEEDED) for _ in range(3)]
    for each in (first, second, third):
        apply(customer, payment_id, each)
    given_back(customer, payment_id, second, 100)
    assert is_alert_open(payment_id)
    given_back(customer, payment_id, third, 100)
    assert not is_alert_open(payment_id)


def test_what_has_gone_back_before_it_was_heard_of_is_no_matter_for_a_person(customer, canceled):
    paid = intent(IntentStatus.SUCCEEDED)
    given_back(customer, canceled, paid, 100)
    apply(customer, canceled, paid)
    assert alerts_about(canceled) == []


def declined(provider_id: str) -> Intent:
    error = Declined(
        message="no", decline_code="do_not_honor", advice=Advice.STOP, provider_id=provider_id
    )
    return replace(intent(IntentStatus.DECLINED), provider_id=provider_id, decline=error)


def begin_attempt(customer: Customer, payment_id) -> dict[str, str]:
    """Begin one; return what its intents name it by."""
    with transaction(company_id=customer.company_id) as session:
        return {"attempt_id": str(start_attempt(lock_existing(session, payment_id), {}).id)}


@pytest.mark.parametrize("is_of_another_attempt", [False, True])
def test_a_late_decline_of_another_intent_leaves_what_has_settled_it(
    customer, is_of_another_attempt
):
    payment_id = make_payment(customer, make_invoice(customer.company_id))
    ours = begin_attempt(customer, payment_id)
    paid = replace(intent(IntentStatus.SUCCEEDED), metadata=ours)
    apply(customer, payment_id, paid)
    if is_of_another_attempt:
        ours = begin_attempt(customer, payment_id)
    late = replace(declined(f"pi_{new_id().hex}"), metadata=ours)
    payment = apply(customer, payment_id, late)
    attempt = payment.attempts[0]
    assert payment.status == Status.SUCCEEDED
    assert payment.provider_transaction_id == paid.provider_id
    assert (attempt.status, attempt.decline_code) == (AttemptStatus.SUCCEEDED, None)
    assert attempt.provider_id == paid.provider_id


@pytest.mark.parametrize("status", [InvoiceStatus.PAID, InvoiceStatus.VOID])
def test_money_that_no_invoice_lacks_is_for_a_person(customer, status):
    invoice_id = make_invoice(customer.company_id)
    declined = make_payment(customer, invoice_id, status=Status.FAILED)
    if status is InvoiceStatus.PAID:
        paid = make_payment(customer, invoice_id)
        apply(customer, paid, intent(IntentStatus.SUCCEEDED))
    else:
        with transaction(company_id=customer.company_id) as session:
            invoice = lock_invoice(session, invoice_id)
            assert invoice is not None
            invoice.move_to(status, because=BY_EVENT)
    assert alerts_about(invoice_id) == []
    assert apply(customer, declined, intent(IntentStatus.SUCCEEDED)).status == Status.SUCCEEDED
    assert alerts_about(invoice_id) == ["overpaid"]


def test_the_same_intent_heard_twice_is_no_second_charge(customer):
    payment_id = make_payment(customer, make_invoice(customer.company_id))
    only = intent(IntentStatus.SUCCEEDED)
    apply(customer, payment_id, only)
    apply(customer, payment_id, replace(only))
    assert "second_charge" not in told(customer, payment_id)


def test_what_was_closed_for_a_retry_that_was_not_sent_leaves_the_ladder_standing(customer):
    payment_id = make_payment(
        customer,
        make_invoice(customer.company_id),
        status=Status.FAILED,
        dunning=Dunning.SCHEDULED,
        next_retry_at=now(),
    )
    closed = intent(IntentStatus.CANCELED)
    with transaction(company_id=customer.company_id) as session:
        payment = lock_existing(session, payment_id)
        for status in (AttemptStatus.DECLINED, AttemptStatus.REJECTED):
            attempt = start_attempt(payment, {})
            attempt.status, attempt.finished_at = status, now()
            session.flush()
        payment.attempts[0].provider_id = closed.provider_id
    payment = apply(customer, payment_id, closed)
    assert (payment.status, payment.dunning) == (Status.FAILED, Dunning.SCHEDULED)
    assert payment.next_retry_at is not None
    # One that the customer took up again, and left, has come to its end.
    apply(customer, payment_id, replace(closed, status=IntentStatus.REQUIRES_ACTION))
    assert apply(customer, payment_id, closed).status == Status.CANCELED


@pytest.mark.parametrize("status", [IntentStatus.REQUIRES_ACTION, IntentStatus.PROCESSING])
def test_a_declined_payment_is_not_reopened_beside_another(customer, status):
    invoice_id = make_invoice(customer.company_id)
    declined = make_payment(customer, invoice_id, status=Status.FAILED)
    make_payment(customer, invoice_id, status=Status.PROCESSING)
    assert apply(customer, declined, intent(status)).status == Status.FAILED
    assert told(customer, declined) == ["not_reopened"]


def test_a_declined_payment_is_reopened_where_nothing_else_is_under_way(customer):
    declined = make_payment(
        customer, make_invoice(customer.company_id), status=Status.FAILED, next_retry_at=now()
    )
    payment = apply(customer, declined, intent(IntentStatus.REQUIRES_ACTION))
    assert payment.status == Status.REQUIRES_ACTION
