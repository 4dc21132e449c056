"""kill -9 of the worker at each step: everything converges, and the book has one charge."""

from __future__ import annotations

import pytest

from tests.invariants import judge
from worker.crash import POINTS

OF_PAYMENTS = [point for point in POINTS if not point.startswith("refund")]
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
