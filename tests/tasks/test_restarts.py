"""A new card, or a renewed one, restarts what was given up; and no other card is charged for it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from models import dunning, wallet
from models.methods import MethodStatus, MethodType, PaymentMethod
from models.outbox import enqueue
from models.timeline import Cause
from models.transactions import Dunning, Status
from models.webhooks import PaymentWebhook
from tasks import ladder
from tests.bell import ring
from tests.factories import add_invoice
from tests.waiting import PATIENCE_S
from worker.database import in_transaction, transaction


@pytest.fixture
def stopped(shop) -> tuple[UUID, UUID]:
    """A card that its bank has stopped for good, and a payment that was stopped with it."""
    card = shop.card("pm_sandbox_decline_lost_card")
    payment_id = shop.pay(card)
    assert shop.payment(payment_id).dunning == Dunning.STOPPED
    return card, payment_id


def begin(shop, token: str, *, replaces: UUID | None = None, **then: object) -> UUID:
    """Owe a method as a view does, and do the work."""
    with shop.session() as session:
        method = PaymentMethod(
            company_id=shop.company_id,
            user_id=shop.customer.user_id,
            type=MethodType.CARD,
            provider="stripe",
            token=token,
            replaces_id=replaces,
        )
        session.add(method)
        session.flush()
        enqueue(session, "methods.attach", method_id=method.id, **then)
    shop.work()
    return method.id


def ends_paid_with(shop, payment_id: UUID, method_id: UUID) -> None:
    assert shop.payment(payment_id).dunning == Dunning.SCHEDULED
    shop.climb_when_due(payment_id)
    payment = shop.payment(payment_id)
    assert (payment.status, payment.payment_method_id) == (Status.SUCCEEDED, method_id)
    assert shop.charges(payment_id) == 1


def test_a_card_that_replaces_a_stopped_one_pays_what_it_left(shop, stopped):
    card, payment_id = stopped
    new = begin(shop, "pm_card_visa", replaces=card)
    ends_paid_with(shop, payment_id, new)


def test_a_new_default_pays_what_was_stopped(shop, stopped):
    _, payment_id = stopped
    new = begin(shop, "pm_card_visa", make_default=True)
    ends_paid_with(shop, payment_id, new)


def test_a_card_that_is_only_added_is_not_charged_for_what_was_stopped(shop, stopped):
    _, payment_id = stopped
    begin(shop, "pm_card_visa")
    assert shop.payment(payment_id).dunning == Dunning.STOPPED


def test_a_replacement_of_another_card_is_not_charged_for_it(shop, stopped):
    _, payment_id = stopped
    other = begin(shop, "pm_card_visa")
    begin(shop, "pm_card_mastercard", replaces=other)
    assert shop.payment(payment_id).dunning == Dunning.STOPPED


def test_what_waits_for_its_retry_is_made_with_the_replacement(shop):
    card = shop.card("pm_sandbox_decline_insufficient_funds")
    shop.card("pm_card_mastercard")
    payment_id = shop.pay(card)
    assert shop.payment(payment_id).dunning == Dunning.SCHEDULED
    new = begin(shop, "pm_card_visa", replaces=card)
    ends_paid_with(shop, payment_id, new)


def test_a_card_that_the_network_renewed_pays_what_it_could_not(shop):
    card = shop.card("pm_sandbox_decline_expired_card")
    payment_id = shop.pay(card)
    assert shop.payment(payment_id).dunning == Dunning.ASKED
    with shop.session() as session:
        provider_id = session.get_one(PaymentMethod, card).provider_id
    shop.sandbox.control.renew(provider_id, exp_year=2044, behaves_as="pm_card_visa")
    event = shop.sandbox.control.book()["events"][-1]
    assert event["type"] == "payment_method.automatically_updated"
    with transaction() as session:
        row = PaymentWebhook(
            event_type=event["type"],
            provider="stripe",
            provider_event_id=event["id"],
            payload=event,
        )
        session.add(row)
        session.flush()
        owed = enqueue(session, "webhooks.handle", event_id=row.id)
    ring("webhooks.handle", owed.id)
    shop.work()
    ends_paid_with(shop, payment_id, card)


def test_a_retry_that_begins_while_its_card_is_removed_is_not_made_with_it(shop):
    card = shop.card("pm_sandbox_decline_insufficient_funds")
    payment_id = shop.pay(card)
    shop.advance(hours=25)
    with ThreadPoolExecutor(1) as pool:
        with shop.session() as session:
            wallet.hold(session, shop.company_id)
            assert not wallet.is_paying(session, card)
            method = session.get_one(PaymentMethod, card)
            wallet.remove(session, method, because=Cause(why="a test"))
            climbing = pool.submit(in_transaction, ladder.climb, shop.company_id, payment_id)
            with pytest.raises(TimeoutError):
                climbing.result(0.5)
        with pytest.raises(dunning.MethodGone):
            climbing.result(PATIENCE_S)
    shop.work()
    assert len(shop.attempts(payment_id)) == 1
    assert shop.climb(payment_id)
    assert shop.decided(payment_id)[-1] == ("asked", "card_gone")


def test_a_debit_that_comes_back_for_want_of_money_is_presented_twice_more(shop):
    account = shop.card("pm_usBankAccount_insufficientFunds")
    with shop.session() as session:
        invoice_id = add_invoice(session, shop.company_id, "100.00", "USD")
    payment_id = shop.pay(account, invoice_id, currency="USD")
    for presented in range(3):
        payment = shop.payment(payment_id)
        assert payment.status == Status.PROCESSING
        settle(shop, payment.provider_transaction_id)
        payment = shop.payment(payment_id)
        assert (payment.status, payment.error_code) == (Status.FAILED, "insufficient_funds")
        if presented < 2:
            shop.climb_when_due(payment_id)
    assert payment.dunning == Dunning.EXHAUSTED
    with shop.session() as session:
        assert session.get_one(PaymentMethod, account).status == MethodStatus.ACTIVE


def settle(shop, intent_id: str) -> None:
    """Have the bank answer, and hear of it."""
    shop.sandbox.control.settle(intent_id, outcome=None)
    with shop.session() as session:
        enqueue(
            session,
            "lookups.refresh",
            transaction_id=next(
                UUID(intent["metadata"]["transaction_id"])
                for intent in shop.sandbox.control.book()["payment_intents"]
                if intent["id"] == intent_id
            ),
            intent_id=intent_id,
            why="an event",
        )
    shop.work()
