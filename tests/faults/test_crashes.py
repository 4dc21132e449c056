"""kill -9 of the worker at each step: everything converges, and the book has one charge."""

from __future__ import annotations

import pytest

from models.methods import MethodStatus
from tests.invariants import judge
from worker.crash import POINTS

OTHERS = ("refund", "ladder", "method")
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
