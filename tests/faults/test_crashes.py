"""kill -9 of the worker at each step: everything converges, and the book has one charge."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from models.base import across_companies
from models.clock import now
from models.methods import MethodStatus
from models.transactions import Dunning, Transaction, Trigger
from tests.invariants import judge
from worker.crash import POINTS

pytestmark = pytest.mark.xdist_group("tests/faults")
# Of what is no payment: in modules of their own, or in tests/mail.
OTHERS = (
    *("refund", "ladder", "method", "endpoint", "mail"),
    *("subscriptions", "invoicing", "imports", "exports", "analytics", "reconciliations"),
)
OF_PAYMENTS = [point for point in POINTS if not point.startswith(OTHERS)]
OF_METHODS = [point for point in POINTS if point.startswith("method")]
OF_REFUNDS = [point for point in POINTS if point.startswith("refund")]


def crash(system, marks, point):
    """Wait until the worker has died at the point, then start another one."""
    system.worker.wait_dead()
    assert not (marks / point).exists()
    system.worker.start()


@pytest.mark.parametrize("point", OF_PAYMENTS)
def test_a_payment_outlives_its_worker(system, till, marks, point):
    (marks / point).touch()
    payment_id = till.pay()
    crash(system, marks, point)
    assert till.wait_for(payment_id, "succeeded").amount_captured == 100
    judge(system)
    assert len(till.attempts(payment_id)) == 1
    assert len(system.stripe.charges(payment_id)) == 1


@pytest.mark.parametrize("point", OF_REFUNDS)
def test_a_refund_outlives_its_worker(system, till, marks, point):
    payment_id = till.pay()
    till.wait_for(payment_id, "succeeded")
    (marks / point).touch()
    till.refund(payment_id, "40.00")
    crash(system, marks, point)
    assert till.wait_for(payment_id, "partially_refunded").amount_refunded == 40
    judge(system)
    [charge] = system.stripe.charges(payment_id)
    assert charge["amount_refunded"] == 4000


@pytest.mark.parametrize("point", OF_METHODS)
def test_a_replaced_card_outlives_its_worker(system, till, marks, point):
    old = till.method(till.method_id)
    (marks / point).touch()
    new_id = till.replace(old.id, "pm_card_mastercard")
    crash(system, marks, point)
    system.wait_until(lambda: till.method(new_id).status == MethodStatus.ACTIVE)
    judge(system)
    assert (till.method(old.id).status, till.method(new_id).is_default) == ("removed", True)
    customers = {
        method["id"]: method["customer"] for method in system.stripe.book()["payment_methods"]
    }
    assert customers[old.provider_id] is None
    # Kept once, whoever asked for it.
    theirs = customers[till.method(new_id).provider_id]
    assert [customer for customer in customers.values() if customer == theirs] == [theirs]


def let_it_be_due(system, payment_id) -> None:
    with system.session() as session:
        session.execute(
            across_companies(
                update(Transaction).where(Transaction.id == payment_id).values(next_retry_at=now()),
                because="a day has passed",
            )
        )


@pytest.mark.parametrize("point", ["ladder.begun", "charge.called"])
def test_a_retry_outlives_its_worker(system, till, marks, point):
    system.stripe.fault("decline", decline_code="insufficient_funds", count=1)
    payment_id = till.pay()
    assert till.wait_for(payment_id, "failed").dunning == Dunning.SCHEDULED
    (marks / point).touch()
    let_it_be_due(system, payment_id)
    crash(system, marks, point)
    payment = till.wait_for(payment_id, "succeeded")
    assert (payment.dunning, payment.retry_count) == (Dunning.CLEARED, 1)
    judge(system)
    first, second = till.attempts(payment_id)
    assert (first.trigger, second.trigger) == (Trigger.FIRST, Trigger.LADDER)
    assert len(system.stripe.charges(payment_id)) == 1


def test_two_beats_make_one_retry(system, till):
    second = system.more("beat", "second")
    second.start()
    try:
        system.stripe.fault("decline", decline_code="insufficient_funds", count=2)
        payments = [till.pay(), till.pay()]
        for payment_id in payments:
            till.wait_for(payment_id, "failed")
            let_it_be_due(system, payment_id)
        for payment_id in payments:
            till.wait_for(payment_id, "succeeded")
    finally:
        second.kill()
    judge(system)
    assert [len(till.attempts(payment_id)) for payment_id in payments] == [2, 2]
