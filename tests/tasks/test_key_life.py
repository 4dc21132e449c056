"""Answers that were lost: when they are looked up, until when their key is sent, and what then."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import select

from models import clock
from models.alerts import Alert
from models.outbox import Owed, OwedStatus, enqueue
from models.refunds import Refund, RefundReason, RefundStatus
from models.transactions import AttemptStatus, Status
from tests.bell import ring
from worker.database import transaction
from worker.settings import settings

INTENTS = "/v1/payment_intents"
REFUNDS = "/v1/refunds"
IN_TIME, TOO_LATE = {"hours": 23, "minutes": 59}, {"hours": 24}


def run(shop, task: str) -> None:
    [row] = shop.owed(task)
    ring(task, row.id)


def unheard(shop, kind: str = "drop_before") -> UUID:
    """A payment whose answer was lost; its look-up is owed."""
    card = shop.card()
    shop.sandbox.control.fault(kind, path=INTENTS)
    payment_id = shop.owe(card)
    run(shop, "payments.charge")
    assert shop.attempts(payment_id)[0].status == AttemptStatus.UNKNOWN
    return payment_id


def alerts_about(row_id: UUID) -> list[Alert]:
    with transaction() as session:
        return list(session.scalars(select(Alert).where(Alert.subject_id == row_id)))


def test_a_charge_is_sent_again_at_23_59_under_its_key(shop):
    payment_id = unheard(shop)
    shop.advance(**IN_TIME)
    run(shop, "lookups.resolve")
    assert shop.payment(payment_id).status == Status.SUCCEEDED
    [attempt] = shop.attempts(payment_id)
    [charge] = shop.sandbox.control.charges(str(payment_id))
    assert charge["metadata"]["attempt_key"] == attempt.idempotency_key


def test_a_charge_is_not_sent_again_after_24_h_but_left_to_a_person(shop):
    payment_id = unheard(shop)
    shop.advance(**TOO_LATE)
    run(shop, "lookups.resolve")
    assert shop.payment(payment_id).status == Status.NEEDS_REVIEW
    assert shop.owed("lookups.resolve") == []
    assert shop.charges(payment_id) == 0
    [raised] = alerts_about(payment_id)
    assert "its key has expired" in raised.message
    assert (raised.severity, raised.company_id) == ("critical", shop.company_id)


def test_a_charge_that_was_made_is_found_after_24_h_too(shop):
    payment_id = unheard(shop, "drop_after")
    shop.advance(**TOO_LATE)
    run(shop, "lookups.resolve")
    assert shop.payment(payment_id).status == Status.SUCCEEDED


def blind(shop, path: str) -> None:
    shop.sandbox.control.fault("server_error", method="GET", path=path, count=None)


def waits_s(shop, task: str, number: int) -> list[int]:
    """Run a look-up again and again; return how long each puts off the next one."""
    waits = []
    for _ in range(number):
        run(shop, task)
        [row] = shop.owed(task)
        waits.append(round((row.due_at - clock.now()).total_seconds() / 60) * 60)
    return waits


def test_look_ups_come_after_a_minute_five_and_then_slower_up_to_an_hour(shop, monkeypatch):
    monkeypatch.setenv("RESOLVE_AFTER_S", "60")
    settings.cache_clear()
    unheard(shop)
    blind(shop, f"{INTENTS}*")
    [first] = shop.owed("lookups.resolve")
    assert round((first.due_at - clock.now()).total_seconds()) == 60
    assert waits_s(shop, "lookups.resolve", 4) == [300, 1500, 3600, 3600]


def test_a_look_up_goes_on_after_weeks(shop):
    payment_id = unheard(shop)
    blind(shop, f"{INTENTS}*")
    with transaction() as session:
        [row] = shop.owed("lookups.resolve")
        row = session.get_one(Owed, row.id)
        row.arguments = {**row.arguments, "look_ups": 500}
    run(shop, "lookups.resolve")
    [row] = shop.owed("lookups.resolve")
    assert (row.failures, row.arguments["look_ups"]) == (0, 501)
    assert shop.payment(payment_id).status == Status.PROCESSING


def test_a_provider_that_answers_no_look_up_for_a_day_after_the_key_leaves_it_to_a_person(shop):
    payment_id = unheard(shop)
    blind(shop, f"{INTENTS}*")
    shop.advance(hours=25)
    run(shop, "lookups.resolve")
    assert shop.payment(payment_id).status == Status.PROCESSING
    shop.advance(hours=24)
    run(shop, "lookups.resolve")
    assert shop.payment(payment_id).status == Status.NEEDS_REVIEW


@pytest.fixture
def paid(shop) -> UUID:
    return shop.pay(shop.card())


def refund(shop, payment_id: UUID) -> UUID:
    with shop.session() as session:
        row = Refund(
            company_id=shop.company_id,
            transaction_id=payment_id,
            amount=Decimal(40),
            reason=RefundReason.REQUESTED,
        )
        session.add(row)
        session.flush()
        enqueue(session, "refunds.send", refund_id=row.id)
    return row.id


def refund_at(shop, refund_id: UUID) -> Refund:
    with shop.session() as session:
        return session.get_one(Refund, refund_id)


def refunds_there(shop) -> list[int]:
    return [each["amount"] for each in shop.sandbox.control.book()["refunds"]]


def test_a_refund_is_sent_again_at_23_59_under_its_key(shop, paid):
    shop.sandbox.control.fault("drop_before", path=REFUNDS)
    refund_id = refund(shop, paid)
    run(shop, "refunds.send")
    shop.advance(**IN_TIME)
    run(shop, "refunds.send")
    assert refund_at(shop, refund_id).status == RefundStatus.SUCCEEDED
    assert refunds_there(shop) == [40_00]


def test_a_refund_is_only_looked_for_after_24_h(shop, paid):
    shop.sandbox.control.fault("drop_before", path=REFUNDS)
    lost = refund(shop, paid)
    run(shop, "refunds.send")
    shop.advance(**TOO_LATE)
    run(shop, "refunds.send")
    assert refund_at(shop, lost).status == RefundStatus.PROCESSING
    assert refund_at(shop, lost).needs_review
    assert shop.owed("refunds.send") == []
    assert refunds_there(shop) == []
    [raised] = alerts_about(lost)
    assert "its key has expired" in raised.message


def test_a_refund_that_is_first_heard_of_late_has_a_young_key(shop, paid):
    refund_id = refund(shop, paid)
    shop.advance(days=3)
    run(shop, "refunds.send")
    assert refund_at(shop, refund_id).status == RefundStatus.SUCCEEDED


def test_look_ups_of_a_refund_become_rare_too(shop, paid):
    shop.sandbox.control.fault("drop_before", path=REFUNDS)
    refund(shop, paid)
    run(shop, "refunds.send")
    blind(shop, f"{REFUNDS}*")
    assert waits_s(shop, "refunds.send", 4) == [300, 1500, 3600, 3600]


def test_a_refund_is_refused_twice_before_it_has_failed_if_it_was_called_before(shop, paid):
    shop.sandbox.control.fault("drop_before", path=REFUNDS)
    refund_id = refund(shop, paid)
    run(shop, "refunds.send")
    # Somebody gives the whole payment back meanwhile: the provider refuses more.
    intent_id = shop.payment(paid).provider_transaction_id
    shop.sandbox.control.refund(payment_intent=intent_id, amount=100_00)
    run(shop, "refunds.send")
    assert refund_at(shop, refund_id).status == RefundStatus.PROCESSING
    run(shop, "refunds.send")
    assert refund_at(shop, refund_id).status == RefundStatus.FAILED
    assert refunds_there(shop) == [100_00]


def test_a_refund_that_a_fault_of_ours_gives_up_is_left_to_a_person(shop, paid):
    refund_id = refund(shop, paid)
    with shop.session() as session:
        payment = session.merge(shop.payment(paid))
        payment.provider_transaction_id = None  # so that the task raises
    for _ in range(5):
        run(shop, "refunds.send")
    with transaction() as session:
        rows = session.scalars(select(Owed).where(Owed.company_id == shop.company_id))
        [dead] = [row for row in rows if row.status is OwedStatus.DEAD]
    assert dead.task == "refunds.send"
    assert refund_at(shop, refund_id).needs_review
    assert len(alerts_about(refund_id)) == 1
