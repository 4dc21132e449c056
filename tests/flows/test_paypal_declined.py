"""Orders that were declined: what is told of them, and what may still become of them."""

from __future__ import annotations

from datetime import timedelta
from threading import Thread
from typing import Any

from sqlalchemy import select

from models.alerts import Alert
from models.clock import now
from models.notifications import Notification
from models.outbox import enqueue
from models.timeline import Cause
from models.transactions import (
    AttemptStatus,
    Dunning,
    Status,
    Transaction,
    lock_existing,
    start_attempt,
)
from tasks import settlement
from tests.flows.paypal_till import Till
from tests.waiting import wait_for
from worker.database import transaction
from worker.gateways.base import GatewayError, Rejected
from worker.gateways.paypal.translate import refusal_of

CAPTURE = "/v2/checkout/orders/*/capture"
PAYMENTS = "/api/v1/payments"


def declined(till: Till, payer: str = "instrument_declined") -> Transaction:
    """A payment whose payer approved, came back, and was declined."""
    payment = till.pay()
    till.approve(payment, f"{payer}@example.com")
    till.capture(payment)
    till.work()
    payment = till.payment(payment.id)
    assert payment.status == Status.FAILED
    return payment


def resume(till: Till, payment: Transaction) -> Any:
    answers = []

    def ask() -> None:
        answers.append(till.owner.post(f"{PAYMENTS}/{payment.id}/resume", Prefer="wait=20"))

    caller = Thread(target=ask)
    caller.start()
    while caller.is_alive():
        till.work("lookups.reveal", later=True)
        caller.join(0.02)
    [answer] = answers
    return answer


def in_a_while(till: Till, payment: Transaction) -> Transaction:
    """Where a payment stands after another ten minutes."""
    till.advance("10m")
    till.settle()
    return till.payment(payment.id)


def shown(till: Till, payment: Transaction) -> dict[str, Any]:
    return till.owner.get(f"/api/v1/invoices/{payment.invoice_id}/dunning").json


def alerts_about(payment: Transaction) -> list[str]:
    with transaction() as session:
        return list(session.scalars(select(Alert.kind).where(Alert.subject_id == payment.id)))


def test_who_was_declined_is_asked_and_gets_the_page_again(till: Till) -> None:
    payment = declined(till)
    told = shown(till, payment)
    assert (told["state"], told["stopped_because"]["reason"]) == ("asked", "in_browser")
    assert told["customer_action"]["action"] == "use_another_method"
    made_at = payment.attempts[0].first_called_at
    assert made_at is not None
    ends = {"is_possible": True, "why_not": None, "until": made_at + timedelta(hours=3)}
    ends["until"] = ends["until"].strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert told["customer_action"]["resume"] == ends
    assert till.owner.get(f"{PAYMENTS}/{payment.id}").json["resume"] == ends
    answer = resume(till, payment)
    assert answer.status_code == 200, answer.text
    assert answer.json["approve_url"].endswith(
        f"/sandbox/approve/{payment.provider_transaction_id}"
    )
    till.approve(payment, "another@example.com")
    till.judge()
    told = shown(till, payment)
    assert (told["state"], told["stopped_because"]["sentence"]) == ("cleared", "Paid.")
    assert told["customer_action"]["resume"] is None
    with transaction(company_id=till.company_id) as session:
        notices = session.scalars(select(Notification)).all()
    # They were asked in their browser: nobody is written to of the decline.
    assert [each.template for each in notices] == ["payment_succeeded"]


def test_an_order_whose_capture_was_made_and_declined_is_over(till: Till) -> None:
    payment = declined(till, "denied_5120")
    assert shown(till, payment)["state"] == "asked"
    answer = resume(till, payment)
    assert (answer.status_code, "any more" in answer.json["detail"]) == (409, True)


def test_an_order_that_was_refused_for_good_is_not_handed_out_again(till: Till) -> None:
    payment = declined(till, "transaction_refused")
    told = shown(till, payment)["customer_action"]
    assert told["action"] == "use_another_method"
    assert told["resume"]["is_possible"] is False
    answer = till.owner.post(f"{PAYMENTS}/{payment.id}/resume")
    assert (answer.status_code, answer.json["detail"]) == (409, told["resume"]["why_not"])
    assert "begin a new payment" in answer.json["detail"]


def test_a_code_that_nobody_has_listed_is_for_a_person(till: Till) -> None:
    payment = declined(till, "denied_1234")
    assert payment.dunning == Dunning.IN_REVIEW
    assert alerts_about(payment) == ["decline_in_review"]
    told = shown(till, payment)
    assert (told["state"], told["customer_action"]["action"]) == ("in_review", "none")
    answer = till.owner.post(f"{PAYMENTS}/{payment.id}/resume")
    assert (answer.status_code, "A person" in answer.json["detail"]) == (409, True)


def test_money_that_paypal_does_not_take_is_nobodys_to_review(till: Till) -> None:
    payment = till.pay()
    decline(till, payment, Rejected(message="not in this currency", code="currency_not_supported"))
    assert (till.payment(payment.id).dunning, alerts_about(payment)) == (Dunning.ASKED, [])


def test_an_order_that_is_not_approved_anew_stays_declined(till: Till) -> None:
    payment = till.pay()
    decline(till, payment)
    # The event of the approval that was declined comes late; and the payer comes back.
    with transaction(company_id=till.company_id) as session:
        order_id = payment.provider_transaction_id
        enqueue(session, "payments.capture", transaction_id=payment.id, order_id=order_id)
    till.capture(payment)
    till.settle()
    assert till.payment(payment.id).status == Status.FAILED
    assert [each.status for each in till.attempts(payment)] == [AttemptStatus.DECLINED]
    assert till.told(payment).count("not_captured") == 2
    till.approve(payment)
    till.judge()
    assert till.payment(payment.id).status == Status.SUCCEEDED


def test_an_order_that_paypal_has_forgotten_stays_declined(till: Till) -> None:
    payment = declined(till)
    till.book.reset()
    till.capture(payment)
    till.work("payments.capture")
    assert till.payment(payment.id).status == Status.FAILED
    assert "not_captured" in till.told(payment)
    answer = resume(till, payment)
    assert (answer.status_code, "any more" in answer.json["detail"]) == (409, True)


def test_whether_it_is_approved_anew_is_asked_until_paypal_answers(till: Till) -> None:
    payment = declined(till)
    till.approve(payment, "another@example.com")
    till.deliver()
    till.book.fault("server_error", method="GET", path="/v2/checkout/orders/*", count=None)
    till.work("webhooks.verify", "payments.capture")
    assert till.payment(payment.id).status == Status.FAILED
    till.book.clear_faults()
    wait_for(lambda: in_a_while(till, payment).status == Status.SUCCEEDED)
    till.judge()
    assert till.taken() == {"eur": (10000, 0)}


def capturing_again(till: Till, status: AttemptStatus) -> Transaction:
    """A payment whose order shows a declined capture, and of which a second one is under way."""
    payment = declined(till, "denied_5120")
    till.settle()
    with transaction(company_id=till.company_id) as session:
        held = lock_existing(session, payment.id)
        again = start_attempt(held, held.attempts[0].request)
        again.provider_id = held.provider_transaction_id
        again.lease(now(), for_s=60)
        again.status = status
        held.move_to(Status.PROCESSING, because=Cause(why="approved anew"))
        task = "lookups.resolve" if status is AttemptStatus.UNKNOWN else "lookups.refresh"
        more = {"intent_id": held.provider_transaction_id, "why": "an event"}
        enqueue(session, task, transaction_id=held.id, **more)
    return payment


def test_a_slow_capture_is_not_ended_by_the_decline_before_it(till: Till) -> None:
    payment = capturing_again(till, AttemptStatus.UNKNOWN)
    till.book.fault("key_in_use", path=CAPTURE)
    till.work("lookups.resolve")
    assert till.payment(payment.id).status == Status.PROCESSING
    assert till.attempts(payment)[1].status == AttemptStatus.UNKNOWN
    wait_for(lambda: in_a_while(till, payment).status == Status.FAILED)
    assert till.attempts(payment)[1].status == AttemptStatus.DECLINED


def test_the_late_event_of_a_decline_ends_no_capture_that_is_in_hand(till: Till) -> None:
    payment = capturing_again(till, AttemptStatus.CALLING)
    while till.owed("lookups.refresh"):
        till.work("lookups.refresh", later=True)
    assert till.attempts(payment)[1].status == AttemptStatus.CALLING
    assert "in_hand" in till.told(payment)


def decline(till: Till, payment: Transaction, refusal: GatewayError | None = None) -> None:
    """Have a payment declined here, and leave its order as it is at PayPal: not approved."""
    refusal = refusal or refusal_of("INSTRUMENT_DECLINED")
    with transaction(company_id=till.company_id) as session:
        held = lock_existing(session, payment.id)
        settlement.fail(session, held, held.attempts[0], refusal, cause=Cause(why="a test"))
