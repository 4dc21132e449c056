"""Two callers for one attempt: the first outlived its lease, the second went on with the key."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select

from models.clock import now
from models.ids import new_id
from models.money import Money
from models.outbox import RETRIES, Owed, OwedStatus, enqueue
from models.timeline import history
from models.transactions import AttemptStatus, PaymentAttempt, Status, Transaction, start_attempt
from tasks import lookups
from tasks.claims import Claim, Earlier, request_of
from tasks.payments import record
from tests.bell import ring
from tests.factories import make_invoice, make_payment
from worker.app import Debt
from worker.database import in_transaction, transaction
from worker.gateways.base import (
    Advice,
    Declined,
    Intent,
    IntentStatus,
    OutcomeUnknown,
    Rejected,
    Unavailable,
)
from worker.settings import settings

HUNDRED = Money(Decimal(100), "INR")


class Provider:
    """Finds `has`; sent the key, it raises or returns what stands next in `answers`."""

    def __init__(self) -> None:
        self.has: list[Intent] = []
        self.answers: list[Intent | Exception] = []
        self.key_life_s = 23 * 3600
        self.finds_at_once = True
        self.reaches_to: datetime | None = None

    def find(self, *, until=None, **_asked):
        if self.reaches_to is not None and (until is None or until > self.reaches_to):
            raise Unavailable(message="The list is behind.", code="look_up_lags")
        return self.has

    def charge(self, _request):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def provider(monkeypatch):
    made = Provider()
    monkeypatch.setattr(lookups, "gateway_for", lambda _: made)
    return made


class Shop:
    """A payment whose one attempt was claimed, called, and taken over while the call was open."""

    def __init__(self, customer) -> None:
        self.company_id = customer.company_id
        self.payment_id = make_payment(
            customer, make_invoice(customer.company_id), status=Status.PROCESSING
        )
        with transaction(company_id=self.company_id) as session:
            payment = session.get_one(Transaction, self.payment_id)
            asked = {"amount": "100", "currency": "INR", "customer": "cus", "method": "pm"}
            attempt = start_attempt(payment, {**asked, "off_session": False})
            attempt.lease(now(), for_s=-1)
            session.flush()
            self.first = Claim(
                attempt.id,
                payment.id,
                "stripe",
                request_of(attempt),
                leased_until=attempt.leased_until,
            )
            attempt.lease(now(), for_s=30)
            self.second = replace(self.first, leased_until=attempt.leased_until)

    def succeeded(self) -> Intent:
        return Intent(
            provider_id=f"pi_{self.payment_id.hex}",
            status=IntentStatus.SUCCEEDED,
            money=HUNDRED,
            captured=HUNDRED,
            metadata={"attempt_id": str(self.first.attempt_id)},
        )

    def owe(self, task: str = "payments.charge") -> Owed:
        with transaction(company_id=self.company_id) as session:
            return enqueue(session, task, transaction_id=self.payment_id)

    def hear(self, claim: Claim, outcome) -> None:
        debt = Debt(self.owe().id, self.company_id, None, {})
        in_transaction(record, self.company_id, debt, claim, outcome)

    def owed(self) -> list[Owed]:
        """What is owed to the provider: no events and no notices."""
        with transaction() as session:
            rows = session.scalars(select(Owed).where(Owed.company_id == self.company_id))
            return [row for row in rows if row.queue in ("lookups", "payments")]

    def ring(self) -> None:
        [row] = self.owed()
        ring(row.task, row.id)

    def stands(self):
        with transaction(company_id=self.company_id) as session:
            attempt = session.get_one(PaymentAttempt, self.first.attempt_id)
            return session.get_one(Transaction, self.payment_id).status, attempt.status

    def expire(self) -> None:
        """The lease ends, as when its caller died; a look-up is owed for it."""
        with transaction(company_id=self.company_id) as session:
            attempt = session.get_one(PaymentAttempt, self.first.attempt_id)
            attempt.status, attempt.leased_until = AttemptStatus.UNKNOWN, None
            enqueue(session, "lookups.resolve", transaction_id=self.payment_id)


@pytest.fixture
def shop(customer) -> Shop:
    return Shop(customer)


REFUSED = Rejected(message="Invalid API Key", http_status=401)
DECLINED = Declined(message="Declined.", advice=Advice.RETRY)
IN_HAND = (Status.PROCESSING, AttemptStatus.CALLING)


@pytest.mark.parametrize(
    "outcome",
    [
        REFUSED,
        DECLINED,
        Unavailable(message="Busy."),
        OutcomeUnknown(message="Gone."),
        Earlier(new_id(), "stripe", "pi_earlier", IntentStatus.SUCCEEDED),
    ],
    ids=lambda outcome: type(outcome).__name__,
)
def test_what_the_first_hears_does_not_end_what_the_second_has_in_hand(shop, outcome):
    shop.hear(shop.first, outcome)
    assert shop.stands() == IN_HAND
    with transaction(company_id=shop.company_id) as session:
        lines = history(session, [shop.payment_id])
        assert [line.what for line in lines] == ["late"]
    shop.hear(shop.second, shop.succeeded())
    assert shop.stands() == (Status.SUCCEEDED, AttemptStatus.SUCCEEDED)


def test_a_charge_that_the_first_hears_of_counts_whoever_has_it_in_hand(shop):
    shop.hear(shop.first, shop.succeeded())
    shop.hear(shop.second, REFUSED)
    assert shop.stands() == (Status.SUCCEEDED, AttemptStatus.SUCCEEDED)


@pytest.mark.parametrize("is_there", [True, False])
def test_a_call_that_was_open_when_its_attempt_ended_is_looked_for_once_more(
    shop, provider, is_there
):
    shop.hear(shop.second, REFUSED)
    assert shop.stands() == (Status.FAILED, AttemptStatus.REJECTED)
    shop.hear(shop.first, OutcomeUnknown(message="No answer in time."))
    [owed] = shop.owed()
    assert owed.task == "lookups.recheck"
    assert (owed.due_at - now()).total_seconds() > settings().claim_lease_s / 2
    provider.has = [shop.succeeded()] if is_there else []
    shop.ring()
    became = (Status.SUCCEEDED, AttemptStatus.SUCCEEDED)
    assert shop.stands() == (became if is_there else (Status.FAILED, AttemptStatus.REJECTED))
    assert shop.owed() == []


def test_a_list_that_lags_behind_is_asked_again_and_is_no_failure(shop, provider):
    shop.hear(shop.second, REFUSED)
    shop.hear(shop.first, OutcomeUnknown(message="No answer in time."))
    provider.reaches_to = now()
    for _ in range(RETRIES + 2):
        shop.ring()
    [owed] = shop.owed()
    assert (owed.status, owed.failures) == (OwedStatus.OWED, 0)
    assert owed.due_at > now() + timedelta(minutes=4)
    # It was open no longer than a lease, so what is listed up to there is all.
    provider.reaches_to = now() + timedelta(seconds=settings().claim_lease_s + 1)
    shop.ring()
    assert shop.owed() == []


def test_an_unknown_outcome_beside_one_that_was_not_executed_is_looked_up(shop):
    """The second waits to send the key again; the first may have been heard by the provider."""
    shop.hear(shop.second, Unavailable(message="Busy."))
    shop.hear(shop.first, OutcomeUnknown(message="No answer in time."))
    assert shop.stands() == (Status.PROCESSING, AttemptStatus.UNKNOWN)
    assert {row.task for row in shop.owed()} == {"payments.charge", "lookups.resolve"}


def test_a_resend_is_refused_twice_before_the_payment_has_failed(shop, provider):
    wrong = Rejected(message="No such customer", code="resource_missing", http_status=400)
    provider.answers = [wrong, wrong]
    shop.expire()
    shop.ring()
    assert shop.stands() == (Status.PROCESSING, AttemptStatus.UNKNOWN)
    shop.ring()
    assert shop.stands() == (Status.FAILED, AttemptStatus.REJECTED)


def test_what_is_found_between_two_refusals_is_believed(shop, provider):
    provider.answers = [Rejected(message="No such customer", http_status=400)]
    shop.expire()
    shop.ring()
    provider.has = [shop.succeeded()]
    shop.ring()
    assert shop.stands() == (Status.SUCCEEDED, AttemptStatus.SUCCEEDED)


def test_a_refusal_of_our_access_says_nothing_of_the_charge(shop, provider):
    provider.answers = [REFUSED] * 3
    shop.expire()
    for _ in range(3):
        shop.ring()
        assert shop.stands() == (Status.PROCESSING, AttemptStatus.UNKNOWN)
