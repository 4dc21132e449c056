"""An invoice that was declined at one provider and is paid at the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import and_, select

from models.alerts import Alert
from models.invoices import InvoiceStatus
from models.outbox import enqueue
from models.transactions import AttemptStatus, Status, Transaction
from sandbox.stripe.control import Control, Refused
from tasks import janitor
from tests.flows.paypal_till import Till, forget_settings
from tests.sandbox_fixture import SandboxProcess
from worker.database import transaction


@pytest.fixture
def stripe(
    till: Till, sandbox: SandboxProcess, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Control]:
    """Stripe's stand-in beside PayPal's."""
    monkeypatch.setenv("STRIPE_API_BASE", sandbox.url)
    monkeypatch.setenv("STRIPE_API_KEY", "sk_test_sandbox")
    forget_settings()
    yield sandbox.control
    monkeypatch.undo()
    forget_settings()


def begin(till: Till, invoice_id: UUID, provider: str) -> Transaction:
    told = till.ask(invoice_id, provider=provider)
    till.work()
    return till.payment(told["transaction_id"])


def intent_of(stripe: Control, payment: Transaction) -> dict[str, Any]:
    intents = stripe.book()["payment_intents"]
    [found] = [each for each in intents if each["id"] == payment.provider_transaction_id]
    return found


def pay_in_browser(till: Till, stripe: Control, payment: Transaction, card: str) -> Transaction:
    """Pay at Stripe, and have it looked up, as after an event."""
    with suppress(Refused):
        stripe.confirm_in_browser(intent_of(stripe, payment)["client_secret"], payment_method=card)
    with transaction(company_id=till.company_id) as session:
        enqueue(
            session,
            "lookups.refresh",
            transaction_id=payment.id,
            intent_id=payment.provider_transaction_id,
            why="an event",
        )
    till.work("lookups.refresh")
    return till.payment(payment.id)


def test_what_was_declined_at_stripe_is_closed_there_before_paypal_is_asked(
    till: Till, stripe: Control
) -> None:
    invoice_id = till.bill()
    at_stripe = begin(till, invoice_id, "stripe")
    at_stripe = pay_in_browser(till, stripe, at_stripe, "pm_card_chargeDeclined")
    assert at_stripe.status == Status.FAILED
    at_paypal = begin(till, invoice_id, "paypal")
    assert at_paypal.status == Status.REQUIRES_ACTION
    assert intent_of(stripe, at_stripe)["status"] == "canceled"


def test_what_was_declined_at_paypal_can_be_paid_at_stripe(till: Till, stripe: Control) -> None:
    at_paypal = till.pay()
    till.approve(at_paypal, "instrument_declined@example.com")
    till.settle()
    assert till.payment(at_paypal.id).status == Status.FAILED
    at_stripe = begin(till, at_paypal.invoice_id, "stripe")
    assert at_stripe.status == Status.REQUIRES_ACTION, at_stripe.error_message
    till.approve(at_paypal, "another@example.com")
    till.settle()
    at_stripe = pay_in_browser(till, stripe, at_stripe, "pm_card_visa")
    assert at_stripe.status == Status.SUCCEEDED
    assert till.invoice(at_stripe).status is InvoiceStatus.PAID
    assert till.taken() == {}


@contextmanager
def no_paypal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """PayPal is not set up, meanwhile."""
    with monkeypatch.context() as patch:
        patch.delenv("PAYPAL_API_BASE")
        forget_settings()
        yield
    forget_settings()


def declined_at_paypal(till: Till) -> Transaction:
    at_paypal = till.pay()
    till.approve(at_paypal, "instrument_declined@example.com")
    till.settle()
    return at_paypal


def switched_off(till: Till, monkeypatch: pytest.MonkeyPatch) -> Transaction:
    """A payment that was declined at PayPal, which is then not set up any more."""
    at_paypal = declined_at_paypal(till)
    monkeypatch.delenv("PAYPAL_API_BASE")
    forget_settings()
    return at_paypal


def unseen_alerts(payment: Transaction) -> list[str]:
    """What is told of a payment and still open."""
    with transaction() as session:
        mine = and_(Alert.subject_id == payment.id, Alert.resolved_at.is_(None))
        return [row.message for row in session.scalars(select(Alert).where(mine))]


def test_an_order_at_a_provider_that_is_switched_off_is_told_of_and_holds_up_nothing(
    till: Till, stripe: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_paypal = switched_off(till, monkeypatch)
    path = f"/api/v1/payments/{at_paypal.id}"
    for deed in ("resume", "capture"):
        answer = till.owner.post(f"{path}/{deed}")
        assert (answer.status_code, "not set up" in answer.json["detail"]) == (409, True)
    for _ in range(2):
        at_stripe = begin(till, at_paypal.invoice_id, "stripe")
        assert at_stripe.status == Status.REQUIRES_ACTION
        at_stripe = pay_in_browser(till, stripe, at_stripe, "pm_card_chargeDeclined")
    janitor.sweep()
    [told] = unseen_alerts(at_paypal)
    assert "takes no money unless it is captured" in told
    at_stripe = begin(till, at_paypal.invoice_id, "stripe")
    at_stripe = pay_in_browser(till, stripe, at_stripe, "pm_card_visa")
    assert till.invoice(at_stripe).status is InvoiceStatus.PAID
    janitor.sweep()
    assert unseen_alerts(at_paypal) == []


def test_what_can_be_looked_at_again_is_told_of_no_more(
    till: Till, stripe: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_paypal = declined_at_paypal(till)
    with no_paypal(monkeypatch):
        begin(till, at_paypal.invoice_id, "stripe")
        janitor.sweep()
        assert len(unseen_alerts(at_paypal)) == 1
    janitor.sweep()
    assert unseen_alerts(at_paypal) == []


def test_what_may_have_been_captured_where_nobody_can_look_is_waited_for(
    till: Till, stripe: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_paypal = switched_off(till, monkeypatch)
    with transaction(company_id=till.company_id) as session:
        attempt = session.get_one(Transaction, at_paypal.id).attempts[0]
        attempt.status = AttemptStatus.REJECTED  # nobody has heard what became of its call
    at_stripe = begin(till, at_paypal.invoice_id, "stripe")
    assert at_stripe.status == Status.PROCESSING
    [attempt] = till.attempts(at_stripe)
    assert (attempt.status, attempt.error_code) == (AttemptStatus.WAITING, "provider_not_set_up")
    assert stripe.book()["payment_intents"] == []
    [told] = unseen_alerts(at_paypal)
    assert "may yet take money" in told


@pytest.mark.parametrize(
    ("hours", "meanwhile", "after"),
    [
        (4, Status.PROCESSING, Status.SUCCEEDED),
        (26, Status.NEEDS_REVIEW, Status.NEEDS_REVIEW),
    ],
)
def test_an_outcome_that_nobody_can_look_up_is_waited_for_and_then_a_persons(
    till: Till, monkeypatch: pytest.MonkeyPatch, hours: int, meanwhile: Status, after: Status
) -> None:
    payment = till.pay()
    till.approve(payment)
    till.book.fault("drop_after", path="/v2/checkout/orders/*/capture")
    till.capture(payment)
    till.work("payments.capture")
    assert till.attempts(payment)[0].status == AttemptStatus.UNKNOWN
    with no_paypal(monkeypatch):
        for _ in range(4):
            till.work("lookups.resolve", later=True)
            assert [owed.failures for owed in till.owed("lookups.resolve")] == [0]
            assert till.payment(payment.id).status == Status.PROCESSING
        till.advance(f"{hours}h")
        till.work("lookups.resolve")
        assert till.payment(payment.id).status == meanwhile
    till.work("lookups.resolve", later=True)
    assert till.payment(payment.id).status == after
