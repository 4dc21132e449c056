"""Answers of PayPal's that are lost: found out by the key while it lives, then only looked up."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from models.ids import new_id
from models.outbox import enqueue
from models.timeline import REVIEW_REFUSED, Cause, history
from models.transactions import AttemptStatus, Status, Transaction, lock_existing
from tasks.handover import hand_over
from tests.flows.paypal_till import Till, follow
from worker.database import in_transaction, transaction

ORDERS = "/v2/checkout/orders"
CAPTURE = "/v2/checkout/orders/*/capture"
REFUND = "/v2/payments/captures/*/refund"
HOURS_BEHIND = {"delay_ms": 3 * 3600 * 1000, "count": None, "path": "/v1/reporting/*"}


def pay_and_lose(till: Till, fault: str, **more: object) -> Transaction:
    """Charge a kept method; the answer is lost."""
    method = till.keep()
    told = till.ask(till.bill(), payment_method_id=str(method), off_session=True)
    till.book.fault(fault, path=ORDERS, **more)
    till.work("payments.charge")
    payment = till.payment(told["transaction_id"])
    assert [attempt.status for attempt in payment.attempts] == [AttemptStatus.UNKNOWN]
    return payment


def look(till: Till, payment: Transaction) -> Transaction:
    """Look once for what became of it."""
    till.work("lookups.resolve", later=True)
    return till.payment(payment.id)


@pytest.mark.parametrize(
    ("fault", "more"),
    [
        ("drop_after", {}),
        ("drop_before", {}),
        ("server_error", {"executed": True}),
        ("server_error", {"executed": False}),
        ("key_in_use", {}),
    ],
)
def test_a_lost_answer_is_asked_for_with_the_same_key_and_charged_once(
    till: Till, fault: str, more: dict[str, object]
) -> None:
    payment = look(till, pay_and_lose(till, fault, **more))
    assert payment.status == Status.SUCCEEDED
    assert till.taken() == {"eur": (10000, 0)}
    till.judge()


def test_what_surely_was_not_executed_is_sent_again_with_the_same_key(till: Till) -> None:
    till.book.fault("rate_limit", path=ORDERS, count=3)
    payment = till.pay(payment_method_id=str(till.keep()))
    assert [attempt.status for attempt in payment.attempts] == [AttemptStatus.WAITING]
    till.work(later=True)
    assert till.payment(payment.id).status == Status.SUCCEEDED
    till.judge()


def test_within_the_keys_life_it_is_sent_again(till: Till) -> None:
    payment = pay_and_lose(till, "drop_before")
    till.advance("4h29m")
    assert look(till, payment).status == Status.SUCCEEDED
    till.judge()


def test_a_clock_that_is_set_back_by_an_hour_sends_no_key_that_paypal_has_forgotten(
    till: Till,
) -> None:
    payment = pay_and_lose(till, "drop_before")
    till.book.fault("reporting_late", **HOURS_BEHIND)
    till.advance("6h1m")
    follow(till.book.clock()["ahead_s"] - 3600)
    look(till, payment)
    assert till.taken() == {}


@pytest.mark.parametrize("age", ["5h59m", "6h1m"])
def test_past_the_keys_life_what_was_charged_is_found_and_not_charged_again(
    till: Till, age: str
) -> None:
    payment = pay_and_lose(till, "drop_after")
    till.book.fault("reporting_late", **HOURS_BEHIND)
    till.advance(age)
    assert look(till, payment).status == Status.SUCCEEDED
    assert till.taken() == {"eur": (10000, 0)}
    till.judge()


@pytest.mark.parametrize("age", ["5h59m", "6h1m"])
def test_past_the_keys_life_none_is_said_once_the_search_covers_it_and_a_person_looks(
    till: Till, age: str
) -> None:
    payment = pay_and_lose(till, "drop_before")
    till.book.fault("reporting_late", **HOURS_BEHIND)
    till.advance(age)
    still = look(till, payment)
    assert still.status == Status.PROCESSING
    assert [attempt.status for attempt in still.attempts] == [AttemptStatus.UNKNOWN]
    till.advance("4h")
    assert look(till, payment).status == Status.NEEDS_REVIEW
    assert till.taken() == {}
    till.judge()


@pytest.mark.parametrize("fault", ["drop_after", "drop_before", "server_error"])
@pytest.mark.parametrize("age", ["1m", "7h"])
def test_a_capture_whose_answer_is_lost_is_looked_up_by_its_order(
    till: Till, fault: str, age: str
) -> None:
    payment = till.pay()
    till.approve(payment)
    till.deliver()
    till.book.fault(fault, path=CAPTURE)
    till.work("webhooks.verify", "payments.capture")
    assert till.attempts(payment)[0].status == AttemptStatus.UNKNOWN
    till.advance(age)
    till.work(later=True)
    # What was not executed is still approved, and its capture is owed again.
    till.work(later=True)
    till.judge()
    assert till.payment(payment.id).status == Status.SUCCEEDED
    assert till.taken() == {"eur": (10000, 0)}
    assert len(till.attempts(payment)) == 1


def capture_and_lose(till: Till, fault: str) -> Transaction:
    """Approve an order, and lose the answer of its capture."""
    payment = till.pay()
    till.approve(payment)
    till.sent()
    till.book.fault(fault, path=CAPTURE)
    till.capture(payment)
    till.work("payments.capture")
    assert till.attempts(payment)[0].status == AttemptStatus.UNKNOWN
    return payment


def is_still_found_out(till: Till, payment: Transaction) -> bool:
    attempt = till.attempts(payment)[0]
    open_still = (till.payment(payment.id).status, attempt.status)
    return open_still == (Status.PROCESSING, AttemptStatus.UNKNOWN)


@pytest.mark.parametrize("fault", ["drop_after", "drop_before"])
@pytest.mark.parametrize("refusal", ["token_expired", "rate_limit"])
def test_a_refusal_says_nothing_of_the_capture_before_it(
    till: Till, fault: str, refusal: str
) -> None:
    payment = capture_and_lose(till, fault)
    till.book.fault(refusal, path=CAPTURE, count=3)
    till.capture(payment)
    till.work("payments.capture")
    till.book.clear_faults()
    assert is_still_found_out(till, payment)
    assert till.give_up(payment).status_code == 409
    till.work(later=True)
    till.judge()
    assert till.payment(payment.id).status == Status.SUCCEEDED
    assert till.taken() == {"eur": (10000, 0)}


def test_a_look_at_an_approved_order_hands_no_capture_back(till: Till) -> None:
    payment = capture_and_lose(till, "drop_before")
    order_id = payment.provider_transaction_id or ""
    with transaction(company_id=till.company_id) as session:
        enqueue(
            session,
            "lookups.refresh",
            transaction_id=payment.id,
            intent_id=order_id,
            why="an event",
        )
    till.work("lookups.refresh")
    assert is_still_found_out(till, payment)
    assert till.give_up(payment).status_code == 409
    # The first call was under way all the time, and arrives now.
    till.gateway.capture(key=f"capture-{till.attempts(payment)[0].id}", provider_id=order_id)
    till.work(later=True)
    till.judge()
    assert till.payment(payment.id).status == Status.SUCCEEDED
    assert till.taken() == {"eur": (10000, 0)}


def test_an_order_whose_making_was_lost_is_captured_when_its_approval_is_told(till: Till) -> None:
    till.book.fault("drop_after", path=ORDERS)
    payment = till.pay()
    [attempt] = payment.attempts
    assert (attempt.status, attempt.provider_id) == (AttemptStatus.UNKNOWN, None)
    [order] = till.book.book()["orders"]
    till.book.approve(order["id"])
    till.deliver()
    till.work("webhooks.verify", "payments.capture")
    till.judge()
    assert till.payment(payment.id).status == Status.SUCCEEDED
    assert till.taken() == {"eur": (10000, 0)}


def test_an_approval_that_is_told_three_times_captures_once(till: Till) -> None:
    till.book.webhooks(duplicates=3)
    payment = till.pay()
    till.approve(payment)
    till.judge()
    assert till.payment(payment.id).status == Status.SUCCEEDED
    assert till.taken() == {"eur": (10000, 0)}


def test_an_approval_that_is_never_told_is_found_when_somebody_looks(till: Till) -> None:
    payment = till.pay()
    till.approve(payment)
    till.capture(payment)
    till.work()
    assert till.payment(payment.id).status == Status.SUCCEEDED


@pytest.mark.parametrize("fault", ["drop_after", "drop_before", "server_error"])
def test_a_refund_whose_answer_is_lost_is_given_once(till: Till, fault: str) -> None:
    payment = till.pay(payment_method_id=str(till.keep()))
    till.book.fault(fault, path=REFUND)
    till.refund(payment, "40.00")
    till.work()
    till.work(later=True)
    till.judge()
    assert till.payment(payment.id).amount_refunded == Decimal(40)
    assert till.taken() == {"eur": (10000, 4000)}


def settle_as_failed(till: Till, payment: Transaction) -> str | None:
    """Owe an operator's word that it has failed, have it done, and return why it was refused."""
    asked = str(new_id())
    with transaction(company_id=till.company_id) as session:
        said = {"outcome": "failed", "provider_transaction_id": None, "note": "Seen at PayPal."}
        said |= {"user_id": str(new_id()), "asked": asked}
        enqueue(session, "reviews.settle", transaction_id=payment.id, **said)
    till.work("reviews.settle")
    with transaction(company_id=till.company_id) as session:
        lines = history(session, [payment.id])
        [line] = [line for line in lines if (line.detail or {}).get("asked") == asked]
        return line.why if line.what == REVIEW_REFUSED else None


def in_review(till: Till, fault: str, age: str = "8h") -> Transaction:
    payment = pay_and_lose(till, fault)
    till.book.fault("reporting_late", **HOURS_BEHIND)
    till.advance(age)

    def leave(session):
        found = lock_existing(session, payment.id)
        assert hand_over(session, found, because=Cause(why="not found"))

    in_transaction(leave, till.company_id)
    return payment


def test_what_never_reached_paypal_is_settled_once_its_search_covers_the_keys_life(
    till: Till,
) -> None:
    payment = in_review(till, "drop_before")
    assert settle_as_failed(till, payment) is None
    assert till.payment(payment.id).status == Status.FAILED
    again = till.ask(till.payment(payment.id).invoice_id, payment_method_id=str(till.keep()))
    till.work()
    assert till.payment(again["transaction_id"]).status == Status.SUCCEEDED
    till.judge()


def test_what_paypal_has_taken_is_found_and_not_settled_as_failed(till: Till) -> None:
    why = settle_as_failed(till, in_review(till, "drop_after"))
    assert why is not None
    assert "is succeeded" in why


def test_while_paypals_search_lags_an_operator_is_told_when_to_ask_again(till: Till) -> None:
    payment = in_review(till, "drop_before", "1h")
    begun = till.attempts(payment)[0].first_called_at
    assert begun is not None
    covered = begun + timedelta(hours=7, minutes=30)
    why = settle_as_failed(till, payment)
    assert why is not None
    assert why.startswith("PayPal's search lags")
    assert why.endswith(f"Ask again after {covered:%Y-%m-%d %H:%M} UTC.")
    assert till.payment(payment.id).status == Status.NEEDS_REVIEW
    till.advance("6h31m")
    assert settle_as_failed(till, payment) is None
