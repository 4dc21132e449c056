"""Payments through PayPal from the request to the refund, judged by PayPal's own book."""

from __future__ import annotations

from decimal import Decimal
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from sqlalchemy.orm import Session

from models import bank_transfers
from models.clock import now
from models.invoices import InvoiceStatus
from models.invoices import lock as lock_invoice
from models.methods import MethodStatus
from models.money import Money
from models.timeline import Cause
from models.transactions import AttemptStatus, Status, Transaction, lock_existing, start_attempt
from models.webhooks import WebhookStatus
from tests.flows.paypal_till import INTENTS, Till
from worker.database import transaction
from worker.gateways.base import Advice


def test_a_payment_is_approved_captured_and_given_back(till: Till) -> None:
    payment = till.pay()
    assert payment.status == Status.REQUIRES_ACTION
    back = parse_qs(urlsplit(till.approve(payment)).query)
    assert back["transaction_id"] == [str(payment.id)]
    assert till.deliver() == ["CHECKOUT.ORDER.APPROVED"]
    till.settle()
    payment = till.payment(payment.id)
    assert (payment.status, payment.amount_captured) == (Status.SUCCEEDED, Decimal(100))
    assert till.invoice(payment).status is InvoiceStatus.PAID
    assert till.taken() == {"eur": (10000, 0)}
    till.refund(payment, "30.00")
    till.settle()
    assert till.payment(payment.id).status == Status.PARTIALLY_REFUNDED
    till.refund(payment, "70.00")
    till.settle()
    payment = till.payment(payment.id)
    assert (payment.status, payment.amount_refunded) == (Status.REFUNDED, Decimal(100))
    assert till.taken() == {"eur": (10000, 10000)}
    assert {event.status for event in till.events()} == {WebhookStatus.COMPLETED}
    till.judge()


def test_the_customers_return_and_the_event_capture_once(till: Till) -> None:
    payment = till.pay()
    till.approve(payment)
    assert till.capture(payment).status_code == 202
    assert till.capture(payment).status_code == 202
    till.work()
    assert till.payment(payment.id).status == Status.SUCCEEDED
    assert till.capture(payment).json["status"] == "succeeded"
    till.judge()
    assert till.taken() == {"eur": (10000, 0)}
    assert [attempt.status for attempt in till.attempts(payment)] == [AttemptStatus.SUCCEEDED]


def test_who_comes_back_without_approving_may_still_approve(till: Till) -> None:
    payment = till.pay()
    till.capture(payment)
    till.work()
    assert till.payment(payment.id).status == Status.REQUIRES_ACTION
    till.approve(payment)
    till.judge()
    assert till.payment(payment.id).status == Status.SUCCEEDED


def test_who_is_declined_approves_the_same_order_with_another_payer(till: Till) -> None:
    payment = till.pay()
    till.approve(payment, "instrument_declined@example.com")
    till.settle()
    declined = till.payment(payment.id)
    assert (declined.status, declined.error_code) == (Status.FAILED, "INSTRUMENT_DECLINED")
    till.approve(payment, "another@example.com")
    till.judge()
    assert till.payment(payment.id).status == Status.SUCCEEDED
    statuses = [attempt.status for attempt in till.attempts(payment)]
    assert statuses == [AttemptStatus.DECLINED, AttemptStatus.SUCCEEDED]
    assert till.taken() == {"eur": (10000, 0)}


def test_an_order_that_is_approved_after_the_invoice_was_paid_takes_no_money(till: Till) -> None:
    payment = till.pay()
    till.approve(payment, "instrument_declined@example.com")
    till.settle()
    paid = till.ask(payment.invoice_id, payment_method_id=str(till.keep()))
    till.work()
    assert till.payment(paid["transaction_id"]).status == Status.SUCCEEDED
    till.approve(payment, "another@example.com")
    till.judge()
    assert till.payment(payment.id).status == Status.FAILED
    assert "not_captured" in till.told(payment)
    assert till.taken() == {"eur": (10000, 0)}


def test_an_order_that_is_approved_while_another_attempt_is_open_takes_no_money(till: Till) -> None:
    payment = till.pay()
    till.approve(payment, "instrument_declined@example.com")
    till.settle()
    with transaction(company_id=till.company_id) as session:
        declined = lock_existing(session, payment.id)
        retried = start_attempt(declined, {**declined.attempts[0].request, "method": "TOKEN"})
        retried.lease(now(), for_s=60)
        declined.move_to(Status.PROCESSING, because=Cause(why="tried again by hand"))
    till.approve(payment, "another@example.com")
    till.deliver()
    till.work("webhooks.verify", "payments.capture")
    assert "not_captured" in till.told(payment)
    assert till.taken() == {}
    assert till.owed("payments.capture") == []


def test_a_decline_answers_whoever_asked_for_the_capture_before_it(till: Till) -> None:
    payment = till.pay()
    till.approve(payment, "instrument_declined@example.com")
    till.capture(payment)
    till.deliver()
    till.work("webhooks.verify")
    assert len(till.owed("payments.capture")) == 2
    till.settle()
    assert till.payment(payment.id).status == Status.FAILED
    assert [attempt.status for attempt in till.attempts(payment)] == [AttemptStatus.DECLINED]


def test_an_order_that_was_refused_for_good_is_not_captured_again(till: Till) -> None:
    payment = till.pay()
    till.approve(payment, "transaction_refused@example.com")
    till.capture(payment)
    till.work()
    till.settle()  # the event of the approval comes after the refusal
    till.capture(payment)
    till.settle()
    assert till.payment(payment.id).status == Status.FAILED
    assert [attempt.status for attempt in till.attempts(payment)] == [AttemptStatus.DECLINED]


def declined_twice(till: Till, *, comes_by_bank: str = "0.00") -> Transaction:
    """A payment whose order was declined, and then the order of a retry with a kept method."""
    payment = till.pay()
    till.approve(payment, "instrument_declined@example.com")
    till.settle()
    if Decimal(comes_by_bank):
        with transaction(company_id=till.company_id) as session:
            transfer(session, payment.invoice_id, comes_by_bank)
    body = {"payment_method_id": str(till.keep("denied_5120"))}
    path = f"/api/v1/payments/{payment.id}/retry"
    assert till.owner.post(path, body, Prefer="respond-async").status_code == 202
    till.settle()
    retried = till.payment(payment.id)
    assert retried.status == Status.FAILED
    assert retried.provider_transaction_id != payment.provider_transaction_id
    return payment


def transfer(session: Session, invoice_id: UUID, amount: str) -> None:
    invoice = lock_invoice(session, invoice_id)
    assert invoice is not None
    bank_transfers.record(
        session,
        invoice,
        Money(Decimal(amount), invoice.currency),
        reference=str(invoice_id),
        received_on=now().date(),
        because=Cause(why="a transfer"),
    )


def test_the_order_that_is_approved_is_the_one_that_is_captured(till: Till) -> None:
    payment = declined_twice(till)
    till.approve(payment)
    till.judge()
    paid = till.payment(payment.id)
    assert paid.status == Status.SUCCEEDED
    assert paid.provider_transaction_id == payment.provider_transaction_id
    assert till.taken() == {"eur": (10000, 0)}


def test_an_order_of_more_than_is_due_by_now_takes_no_money(till: Till) -> None:
    payment = declined_twice(till, comes_by_bank="60.00")
    assert till.payment(payment.id).amount == 40
    till.approve(payment)
    till.settle()
    assert till.payment(payment.id).status == Status.FAILED
    assert "not_captured" in till.told(payment)
    assert till.taken() == {"eur": (0, 0)}


@pytest.mark.parametrize(("currency", "amount"), [("JPY", "1099"), ("HUF", "1099"), ("TWD", "70")])
def test_money_without_decimals_goes_there_and_back(till: Till, currency: str, amount: str) -> None:
    payment = till.pay(amount, currency, payment_method_id=str(till.keep()))
    assert (payment.status, payment.amount_captured) == (Status.SUCCEEDED, Decimal(amount))
    assert till.refund(payment, "20").status_code == 202
    till.judge()
    assert till.payment(payment.id).amount_refunded == Decimal(20)
    [captured] = till.book.book()["captures"]
    assert captured["amount"] == {"currency_code": currency, "value": amount}


def test_money_that_paypal_does_not_take_but_was_owed_fails_and_says_so(till: Till) -> None:
    """The door refuses it; what came in all the same the worker refuses."""
    payment_id = till.ask(till.bill("10.00"), "10.00", provider="paypal")["transaction_id"]
    with transaction(company_id=till.company_id) as session:
        lock_existing(session, UUID(payment_id)).currency = "INR"
    till.work()
    payment = till.payment(payment_id)
    assert (payment.status, payment.error_code) == (Status.FAILED, "currency_not_supported")
    assert till.taken() == {}


def test_a_method_that_is_saved_is_kept_once_and_charged_off_session(till: Till) -> None:
    payment = till.pay(save_method=True)
    till.approve(payment)
    till.settle()
    [kept] = till.methods()
    assert (kept.type, kept.provider, kept.is_default) == ("paypal", "paypal", True)
    again = till.pay("40.00", payment_method_id=str(kept.id), off_session=True)
    assert again.status == Status.SUCCEEDED
    assert till.taken() == {"eur": (14000, 0)}
    till.judge()


def test_a_method_that_the_payer_withdraws_is_removed(till: Till) -> None:
    payment = till.pay(save_method=True)
    till.approve(payment)
    till.settle()
    [kept] = till.methods()
    till.gateway.detach_method(key="", method=str(kept.provider_id))
    till.settle()
    [kept] = till.methods()
    assert (kept.status, kept.is_active) == (MethodStatus.REMOVED, False)


def test_a_capture_that_waits_at_paypal_ends_when_it_says_so(till: Till) -> None:
    for outcome, status in (("succeeded", Status.SUCCEEDED), ("failed", Status.FAILED)):
        payment = till.pay()
        till.approve(payment, "pending@example.com")
        till.settle()
        waiting = till.payment(payment.id)
        assert waiting.status == Status.PROCESSING
        till.book.settle(waiting.payment_processor_id, outcome=outcome)
        till.judge()
        assert till.payment(payment.id).status == status


def test_whoever_asks_is_told_that_paypal_is_at_work(till: Till) -> None:
    method = str(till.keep("pending"))
    body = {"invoice_id": str(till.bill()), "amount": "100.00", "payment_method_id": method}
    asked = {"Idempotency_Key": "pending", "Prefer": "respond-async"}
    assert till.owner.post(INTENTS, body, **asked).status_code == 202
    till.work("payments.charge")
    told = till.owner.post(INTENTS, body, **asked)
    assert (told.status_code, told.json["status"]) == (200, "processing")


def test_a_refund_that_was_made_at_paypal_is_ours_too(till: Till) -> None:
    payment = till.pay(payment_method_id=str(till.keep()))
    till.book.refund(capture=payment.payment_processor_id, amount="25.00")
    till.judge()
    payment = till.payment(payment.id)
    assert (payment.status, payment.amount_refunded) == (Status.PARTIALLY_REFUNDED, Decimal(25))


@pytest.mark.parametrize(
    ("payer", "code", "advice"),
    [
        ("denied_5120", "INSUFFICIENT_FUNDS", Advice.RETRY),
        ("instrument_declined", "INSTRUMENT_DECLINED", Advice.ASK),
        ("transaction_refused", "TRANSACTION_REFUSED", Advice.STOP),
        ("denied_1234", "PROCESSOR_1234", Advice.STOP_AND_REVIEW),
    ],
)
def test_a_decline_of_a_kept_method_says_what_it_asks(
    till: Till, payer: str, code: str, advice: Advice
) -> None:
    payment = till.pay(payment_method_id=str(till.keep(payer)), off_session=True)
    assert payment.status == Status.FAILED
    [attempt] = till.attempts(payment)
    assert (attempt.decline_code, attempt.advice) == (code, advice)
    assert till.taken().get("eur", (0, 0)) == (0, 0)
    till.judge()
