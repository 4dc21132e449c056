"""Payments that the customer makes in the browser, and those that end another's dunning."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from threading import Thread
from typing import Any
from uuid import UUID

import pytest

from models import bank_transfers, dunning, invoices
from models.clock import now
from models.money import Money
from models.timeline import Cause
from models.transactions import Dunning, Status
from tests.tasks.dunning_shop import Shop, opened
from tests.web.visitor import problem_of

PAYMENTS = "/api/v1/payments"
SOFT = "pm_sandbox_decline_insufficient_funds"
ASYNC = {"Prefer": "respond-async"}


@pytest.fixture
def shop(use, person, sandbox, monkeypatch) -> Iterator[Shop]:
    with opened(sandbox, monkeypatch, person) as made:
        yield made


def dunning_of(owner, invoice_id: UUID) -> dict[str, Any]:
    answer = owner.get(f"/api/v1/invoices/{invoice_id}/dunning")
    assert answer.status_code == 200, answer.text
    return answer.json


def declined(shop: Shop, card: str = SOFT) -> UUID:
    """A payment that was declined in the browser."""
    payment_id = shop.pay(None)
    shop.confirm_in_old_tab(payment_id, card)
    shop.refresh(payment_id)
    assert shop.payment(payment_id).status == Status.FAILED
    return payment_id


def transfer(shop: Shop, invoice_id: UUID, amount: str = "100.00") -> None:
    """Record a bank transfer as the API does."""
    because = Cause(why="paid by bank transfer")
    with shop.session() as session:
        dunning.clear_schedules(session, invoice_id, because=because)
        invoice = invoices.lock(session, invoice_id)
        assert invoice is not None
        money = Money(Decimal(amount), invoice.currency)
        bank_transfers.record(
            session,
            invoice,
            money,
            reference=str(invoice_id),
            received_on=now().date(),
            because=because,
        )


def test_what_waits_for_the_customer_says_so_and_until_when(owner, shop):
    payment_id = shop.pay(None)
    payment = shop.payment(payment_id)
    told = dunning_of(owner, payment.invoice_id)
    assert (told["state"], told["customer_action"]["action"]) == ("none", "pay_in_browser")
    resume = owner.get(f"{PAYMENTS}/{payment_id}").json["resume"]
    assert told["customer_action"]["resume"] == resume
    assert resume["is_possible"] is True
    assert datetime.fromisoformat(resume["until"]) == payment.updated_at + timedelta(days=1)


def test_who_was_declined_in_the_browser_is_asked_and_gets_the_same_intent_again(owner, shop):
    payment_id = declined(shop)
    payment = shop.payment(payment_id)
    told = dunning_of(owner, payment.invoice_id)
    assert (told["state"], told["coming"]) == ("asked", [])
    assert told["stopped_because"]["reason"] == "in_browser"
    assert "we try again" not in str(told)
    asked = told["customer_action"]
    assert (asked["action"], asked["resume"]["is_possible"]) == ("add_funds", True)
    answers = []

    def ask():
        answers.append(owner.post(f"{PAYMENTS}/{payment_id}/resume", Prefer="wait=20"))

    caller = Thread(target=ask)
    caller.start()
    while caller.is_alive() and not shop.owed("lookups.reveal"):
        caller.join(0.02)
    shop.work()
    caller.join(30)
    [answer] = answers
    assert answer.status_code == 200, answer.text
    secret = answer.json["client_secret"]
    assert secret.startswith(f"{payment.provider_transaction_id}_secret_")
    assert "secret" not in owner.get(f"{PAYMENTS}/{payment_id}").text
    shop.sandbox.control.confirm_in_browser(secret, payment_method="pm_card_visa")
    shop.refresh(payment_id)
    assert dunning_of(owner, payment.invoice_id)["state"] == "cleared"
    resume = owner.get(f"{PAYMENTS}/{payment_id}").json["resume"]
    assert (resume["is_possible"], resume["until"]) == (False, None)


def test_an_unlisted_code_in_the_browser_is_in_review_and_not_resumed(owner, shop):
    payment_id = declined(shop, "pm_sandbox_decline_code_nobody_knows")
    told = dunning_of(owner, shop.payment(payment_id).invoice_id)
    assert (told["state"], told["customer_action"]["sentence"]) == ("in_review", "Nothing.")
    refused = problem_of(owner.post(f"{PAYMENTS}/{payment_id}/resume"), 409, "conflict")
    assert "A person" in refused["detail"]


def test_another_payment_by_hand_ends_what_was_asked_in_the_browser(owner, shop):
    payment_id = declined(shop)
    invoice_id = shop.payment(payment_id).invoice_id
    body = {"invoice_id": str(invoice_id), "amount": "100.00"}
    assert owner.post(f"{PAYMENTS}/create-intent", body, **ASYNC).status_code == 202
    assert shop.payment(payment_id).dunning == Dunning.CLEARED
    resume = owner.get(f"{PAYMENTS}/{payment_id}").json["resume"]
    assert "another payment under way" in resume["why_not"]


def test_after_a_bank_transfer_the_dunning_is_cleared_and_says_why(owner, shop):
    invoice_id = shop.payment(shop.pay(shop.card(SOFT))).invoice_id
    transfer(shop, invoice_id)
    told = dunning_of(owner, invoice_id)
    assert (told["state"], told["coming"]) == ("cleared", [])
    because = {"reason": "cleared", "sentence": "Paid by bank transfer."}
    assert told["stopped_because"] == because
    assert told["customer_action"] == {"action": "none", "sentence": "Nothing.", "resume": None}


def test_after_a_payment_by_hand_the_dunning_is_cleared_and_says_why(owner, shop):
    invoice_id = shop.payment(shop.pay(shop.card(SOFT))).invoice_id
    card = str(shop.card("pm_card_mastercard"))
    body = {"invoice_id": str(invoice_id), "amount": "100.00", "payment_method_id": card}
    assert owner.post(f"{PAYMENTS}/create-intent", body, **ASYNC).status_code == 202
    for _ in ("under way", "paid"):
        told = dunning_of(owner, invoice_id)
        assert told["state"] == "cleared"
        assert told["stopped_because"]["sentence"] == "The invoice is paid by hand."
        shop.work()


@pytest.mark.parametrize("card", ["stolen_card", "expired_card"])
def test_what_was_given_up_is_cleared_once_nothing_is_due(owner, shop, card):
    invoice_id = shop.payment(shop.pay(shop.card(f"pm_sandbox_decline_{card}"))).invoice_id
    transfer(shop, invoice_id, "40.00")
    assert dunning_of(owner, invoice_id)["state"] in ("asked", "stopped")
    with shop.session() as session:
        invoice = invoices.lock(session, invoice_id)
        assert invoice is not None
        invoices.credit(session, invoice, invoice.due, because=Cause(why="a test"))
    told = dunning_of(owner, invoice_id)
    assert told["state"] == "cleared"
    assert told["stopped_because"] == {"reason": "cleared", "sentence": "The invoice is paid."}
