"""Answers of the provider that are older than what has been recorded since."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from sqlalchemy import select

from models.money import Money
from models.outbox import Owed, enqueue
from models.transactions import AttemptStatus, PaymentAttempt, Status, Transaction, start_attempt
from tasks import lookups
from tasks.claims import Claim, request_of
from tasks.payments import record
from tests.bell import ring
from tests.factories import make_invoice, make_payment
from worker.app import Debt
from worker.database import in_transaction, transaction
from worker.gateways.base import Advice, Declined, Intent, IntentStatus, Unavailable

HUNDRED = Money(Decimal(100), "INR")


def declined(intent_id: str) -> Intent:
    no = Declined(message="Declined.", advice=Advice.RETRY, provider_id=intent_id)
    return Intent(provider_id=intent_id, status=IntentStatus.DECLINED, money=HUNDRED, decline=no)


def processing(intent_id: str) -> Intent:
    return Intent(provider_id=intent_id, status=IntentStatus.PROCESSING, money=HUNDRED)


class Provider:
    """Answers `retrieve` with what stands; what happens meanwhile happens before the answer."""

    def __init__(self) -> None:
        self.answers: list[Intent] = []
        self.meanwhile = lambda: None

    def retrieve(self, provider_id: str) -> Intent:
        assert provider_id == self.answers[0].provider_id
        answer = self.answers.pop() if len(self.answers) > 1 else self.answers[0]
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return answer


@pytest.fixture
def provider(monkeypatch):
    made = Provider()
    monkeypatch.setattr(lookups, "gateway_for", lambda _: made)
    return made


class Shop:
    """A payment that the provider works at, and what is owed for it."""

    def __init__(self, customer) -> None:
        self.company_id = customer.company_id
        self.intent_id = f"pi_{customer.company_id.hex}"
        self.payment_id = make_payment(
            customer,
            make_invoice(customer.company_id),
            status=Status.PROCESSING,
            provider_transaction_id=self.intent_id,
        )
        with transaction(company_id=self.company_id) as session:
            payment = session.get_one(Transaction, self.payment_id)
            asked = {"amount": "100", "currency": "INR", "customer": "cus", "method": "pm"}
            attempt = start_attempt(payment, {**asked, "off_session": False})
            attempt.status, attempt.provider_id = AttemptStatus.PROCESSING, self.intent_id
            session.flush()
            self.claim = Claim(attempt.id, payment.id, "stripe", request_of(attempt))

    def owe(self) -> Owed:
        with transaction(company_id=self.company_id) as session:
            return enqueue(
                session,
                "lookups.refresh",
                transaction_id=self.payment_id,
                intent_id=self.intent_id,
                why="a test",
            )

    def refresh(self) -> None:
        ring("lookups.refresh", self.owe().id)

    def refresh_what_is_owed(self) -> None:
        with transaction() as session:
            is_theirs = Owed.company_id == self.company_id
            [owed] = session.scalars(select(Owed).where(is_theirs, Owed.queue == "lookups"))
        ring("lookups.refresh", owed.id)

    def status(self):
        with transaction(company_id=self.company_id) as session:
            return session.get_one(Transaction, self.payment_id).status


def forget_events(shop: Shop) -> None:
    with transaction() as session:
        for row in session.scalars(
            select(Owed).where(Owed.company_id == shop.company_id, Owed.task == "events.publish")
        ):
            session.delete(row)


def test_a_slow_look_up_does_not_undo_what_a_later_one_found(provider, customer):
    shop = Shop(customer)
    provider.answers = [declined(shop.intent_id), processing(shop.intent_id)]
    provider.meanwhile = shop.refresh
    shop.refresh()
    assert shop.status() == Status.FAILED
    forget_events(shop)
    shop.refresh_what_is_owed()
    assert shop.status() == Status.FAILED


def test_a_slow_answer_of_a_charge_does_not_undo_what_an_event_told(provider, customer):
    shop = Shop(customer)
    provider.answers = [declined(shop.intent_id)]
    shop.refresh()
    debt = Debt(shop.owe().id, shop.company_id, None, {})
    in_transaction(record, shop.company_id, debt, shop.claim, processing(shop.intent_id))
    assert shop.status() == Status.FAILED
    forget_events(shop)
    shop.refresh_what_is_owed()
    assert shop.status() == Status.FAILED
    with transaction(company_id=shop.company_id) as session:
        attempt = session.get_one(PaymentAttempt, shop.claim.attempt_id)
        assert attempt.status == AttemptStatus.DECLINED


@pytest.mark.parametrize("status", [AttemptStatus.UNKNOWN, AttemptStatus.SUCCEEDED])
def test_a_late_refusal_does_not_have_an_attempt_sent_again(provider, customer, status):
    """A caller that outlived its lease hears "not executed" after another went on with it."""
    shop = Shop(customer)
    provider.answers = [replace(processing(shop.intent_id), status=IntentStatus.SUCCEEDED)]
    if status is AttemptStatus.SUCCEEDED:
        shop.refresh()
    with transaction(company_id=shop.company_id) as session:
        session.get_one(PaymentAttempt, shop.claim.attempt_id).status = status
    debt = Debt(shop.owe().id, shop.company_id, None, {})
    in_transaction(record, shop.company_id, debt, shop.claim, Unavailable(message="Busy."))
    with transaction(company_id=shop.company_id) as session:
        assert session.get_one(PaymentAttempt, shop.claim.attempt_id).status == status
        charges = select(Owed).where(
            Owed.company_id == shop.company_id, Owed.task == "payments.charge"
        )
        assert session.scalars(charges).all() == []
