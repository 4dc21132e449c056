"""Orders that their payer left, and events of PayPal's that never came."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import delete, select

from models.cursors import ProviderCursor
from models.invoices import InvoiceStatus
from models.invoices import lock as lock_invoice
from models.outbox import enqueue
from models.timeline import Cause
from models.transactions import AttemptStatus, Status, Transaction
from models.webhooks import FETCHED, PaymentWebhook
from tasks import janitor, missed
from tests.flows.paypal_till import Till
from worker.database import transaction
from worker.gateways.base import Intent
from worker.intake import intake


def sweep_and_work(till: Till) -> Transaction:
    for _ in range(5):
        janitor.sweep()
    till.work("payments.cancel")
    [payment] = payments(till)
    return payment


def payments(till: Till) -> list[Transaction]:
    with transaction(company_id=till.company_id) as session:
        return list(session.scalars(select(Transaction)))


def test_an_order_that_its_payer_left_is_given_up_and_never_captured(till: Till) -> None:
    payment = till.pay()
    assert payment.status == Status.REQUIRES_ACTION
    till.advance("25h")
    assert sweep_and_work(till).status == Status.CANCELED
    till.judge()
    assert till.taken() == {}


def test_an_order_that_was_approved_unheard_is_captured_and_not_given_up(till: Till) -> None:
    payment = till.pay()
    till.approve(payment)
    till.sent()  # and nobody hands it over
    till.advance("25h")
    sweep_and_work(till)
    till.work(later=True)
    assert till.payment(payment.id).status == Status.SUCCEEDED
    till.judge()
    assert till.taken() == {"eur": (10000, 0)}


def test_an_order_that_was_approved_of_an_invoice_that_is_void_is_given_up(till: Till) -> None:
    payment = till.pay()
    with transaction(company_id=till.company_id) as session:
        invoice = lock_invoice(session, payment.invoice_id)
        assert invoice is not None
        invoice.move_to(InvoiceStatus.VOID, because=Cause(why="a mistake"))
    till.approve(payment)
    till.settle()
    assert till.told(payment).count("not_captured") == 1
    till.advance("25h")
    assert sweep_and_work(till).status == Status.CANCELED
    till.work(later=True)
    assert till.told(payment).count("not_captured") == 1
    assert till.taken() == {}


def test_who_leaves_paypals_page_comes_back_knowing_it_and_gives_up(till: Till) -> None:
    payment = till.pay()
    left = till.book.cancel(payment.provider_transaction_id or "")
    back = parse_qs(urlsplit(left["next"]).query)
    assert (back["transaction_id"], back["canceled"]) == ([str(payment.id)], ["true"])
    assert till.give_up(payment).status_code == 202
    till.work()
    canceled = till.payment(payment.id)
    assert (canceled.status, canceled.error_code) == (Status.CANCELED, "canceled_by_customer")
    again = till.ask(payment.invoice_id, payment_method_id=str(till.keep()))
    till.work()
    # The page is still open in another tab.
    till.approve(payment)
    till.judge()
    assert till.payment(payment.id).status == Status.CANCELED
    assert till.payment(again["transaction_id"]).status == Status.SUCCEEDED
    assert till.taken() == {"eur": (10000, 0)}


@pytest.mark.parametrize("is_heard", [False, True])
def test_what_was_approved_is_given_up_as_long_as_no_capture_has_begun(
    till: Till,
    is_heard: bool,  # noqa: FBT001  a parameter of the test
) -> None:
    payment = till.pay()
    till.approve(payment)
    if is_heard:
        till.deliver()
        till.work("webhooks.verify", "webhooks.handle")
        assert till.owed("payments.capture")
    till.give_up(payment)
    till.work("payments.cancel")
    till.judge()
    assert till.payment(payment.id).status == Status.CANCELED
    assert till.taken() == {}


def test_what_is_being_captured_is_not_given_up_whatever_became_of_it(till: Till) -> None:
    payment = till.pay()
    till.approve(payment)
    till.book.fault("drop_after", path="/v2/checkout/orders/*/capture")
    till.capture(payment)
    till.work("payments.capture")
    assert till.attempts(payment)[0].status == AttemptStatus.UNKNOWN
    answer = till.give_up(payment)
    assert (answer.status_code, "not known yet" in answer.json["detail"]) == (409, True)
    till.work(later=True)
    till.judge()
    assert till.payment(payment.id).status == Status.SUCCEEDED
    assert till.give_up(payment).status_code == 409
    assert till.taken() == {"eur": (10000, 0)}


def test_what_is_being_captured_is_not_given_up_though_a_look_saw_it_wait(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = till.pay()
    till.approve(payment)
    gateway = till.gateway
    capture = gateway.capture
    answers = []

    def looked_at_before(**asked: Any) -> Intent:
        with transaction(company_id=till.company_id) as session:
            enqueue(
                session,
                "lookups.refresh",
                transaction_id=payment.id,
                intent_id=payment.provider_transaction_id,
                why="an event",
            )
        till.work("lookups.refresh")
        answers.append(till.give_up(payment).status_code)
        return capture(**asked)

    monkeypatch.setattr(gateway, "capture", looked_at_before)
    till.capture(payment)
    till.work("payments.capture")
    till.judge()
    assert answers == [409]
    assert till.payment(payment.id).status == Status.SUCCEEDED


def test_a_capture_that_begins_while_it_is_given_up_takes_the_money(
    till: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = till.pay()
    till.approve(payment)
    gateway = till.gateway
    cancel = gateway.cancel

    def too_late(**asked: Any) -> Intent:
        canceled = cancel(**asked)
        till.capture(payment)
        till.work("payments.capture")
        return canceled

    # It takes the money, and nobody hears of it for a while.
    till.book.fault("drop_after", path="/v2/checkout/orders/*/capture")
    monkeypatch.setattr(gateway, "cancel", too_late)
    till.give_up(payment)
    till.work("payments.cancel")
    till.work(later=True)
    till.judge()
    assert till.payment(payment.id).status == Status.SUCCEEDED
    assert till.taken() == {"eur": (10000, 0)}


@pytest.fixture
def unasked():
    """Nobody has looked for missed events yet."""
    with transaction() as session:
        session.execute(delete(ProviderCursor))
    yield
    intake().close()
    intake.cache_clear()


def test_events_that_never_came_are_fetched_and_acted_on_once(till: Till, unasked: None) -> None:
    payment = till.pay()
    till.approve(payment)
    missed.fetch("paypal")
    till.work(later=True)
    assert till.payment(payment.id).status == Status.SUCCEEDED
    with transaction() as session:
        rows = list(session.scalars(select(PaymentWebhook)))
    ours = [row for row in rows if row.transaction_id == payment.id]
    assert ours
    assert all(FETCHED in (row.headers or {}) for row in ours)
    assert till.told(payment).count("event") == len(ours)
    till.judge()  # hands over what the stand-in has sent: of those that were fetched, nothing new
    assert till.taken() == {"eur": (10000, 0)}
    with transaction() as session:
        rows = list(session.scalars(select(PaymentWebhook)))
    ours = [row for row in rows if row.transaction_id == payment.id]
    assert till.told(payment).count("event") == len(ours)
