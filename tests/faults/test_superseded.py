"""A declined intent can still be paid in an old tab: a new payment must not charge beside it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from models.invoices import Invoice, InvoiceStatus
from models.transactions import Provider, Transaction
from tests.invariants import judge

pytestmark = pytest.mark.xdist_group("tests/faults")
CANCEL = "/v1/payment_intents/*/cancel"


@pytest.fixture
def declined(system, till):
    """A payment that was declined, and no event on its way."""
    system.stripe.webhooks(is_paused=True)
    payment_id = till.pay(method_id=till.attach("pm_card_chargeCustomerFail"))
    yield till.wait_for(payment_id, "failed")
    system.stripe.webhooks(is_paused=False)


def pay_again(till, payment):
    """Owe another payment of the same invoice, with a card that is good."""
    with till.system.session(till.company_id) as session:
        another = Transaction(
            company_id=till.company_id,
            invoice_id=payment.invoice_id,
            amount=payment.amount,
            payment_method=Provider.STRIPE,
            payment_method_id=till.method_id,
        )
        session.add(another)
        session.flush()
        till.enqueue(session, "payments.charge", transaction_id=another.id)
    till.ring(session.info["owed"])
    return another.id


def intent_of(system, payment):
    [intent] = [
        each
        for each in system.stripe.book()["payment_intents"]
        if each["id"] == payment.provider_transaction_id
    ]
    return intent


def pay_in_the_old_tab(system, payment, card):
    secret = intent_of(system, payment)["client_secret"]
    system.stripe.confirm_in_browser(secret, payment_method=card)


def charges_of(system, *payment_ids):
    return [len(system.stripe.charges(each)) for each in payment_ids]


def test_what_was_paid_in_the_old_tab_is_not_charged_again(system, till, declined):
    pay_in_the_old_tab(system, declined, "pm_card_visa")
    again = pay_again(till, declined)
    assert till.wait_for(again, "failed").error_code == "earlier_payment_succeeded"
    assert till.wait_for(declined.id, "succeeded").amount_captured == 100
    assert charges_of(system, declined.id, again) == [1, 0]
    with system.session(till.company_id) as session:
        invoice = session.get_one(Invoice, declined.invoice_id)
    assert (invoice.status, invoice.amount_paid) == (InvoiceStatus.PAID, Decimal(100))
    system.stripe.webhooks(is_paused=False)
    judge(system)


@pytest.mark.parametrize("kind", ["timeout_before", "timeout_after", "server_error", "rate_limit"])
def test_nothing_is_charged_while_the_old_intent_may_be_open(system, till, declined, kind):
    system.stripe.fault(kind, path=CANCEL, count=3)
    again = pay_again(till, declined)
    till.wait_for(again, "succeeded")
    assert intent_of(system, declined)["status"] == "canceled"
    assert charges_of(system, declined.id, again) == [0, 1]
    system.stripe.webhooks(is_paused=False)
    judge(system)


def test_a_worker_that_died_leaves_the_old_intent_to_the_look_up(system, till, declined, marks):
    (marks / "charge.claimed").touch()
    again = pay_again(till, declined)
    system.worker.wait_dead()
    pay_in_the_old_tab(system, declined, "pm_card_visa")
    system.worker.start()
    till.wait_for(again, "failed")
    till.wait_for(declined.id, "succeeded")
    assert charges_of(system, declined.id, again) == [1, 0]
    system.stripe.webhooks(is_paused=False)
    judge(system)
