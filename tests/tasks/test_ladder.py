"""The ladder over real rows and a stand-in that declines: what is charged again, and when."""

from __future__ import annotations

from datetime import timedelta

from models.transactions import Dunning, Status, Trigger


def test_a_soft_decline_climbs_three_steps_and_is_then_spent(shop):
    payment_id = shop.pay(shop.card("pm_sandbox_decline_insufficient_funds"))
    waits = []
    for _ in range(3):
        payment = shop.payment(payment_id)
        assert (payment.status, payment.dunning) == (Status.FAILED, Dunning.SCHEDULED)
        last = shop.attempts(payment_id)[-1]
        waits.append(payment.next_retry_at - last.finished_at)
        shop.climb_when_due(payment_id)
    assert waits == [timedelta(hours=24), timedelta(hours=48), timedelta(hours=72)]
    payment = shop.payment(payment_id)
    assert (payment.dunning, payment.next_retry_at) == (Dunning.EXHAUSTED, None)
    assert payment.retry_count == 3
    attempts = shop.attempts(payment_id)
    assert [attempt.trigger for attempt in attempts] == [Trigger.FIRST, *[Trigger.LADDER] * 3]
    assert len({attempt.idempotency_key for attempt in attempts}) == 4
    assert shop.decided(payment_id) == [
        *[("scheduled", "soft_decline")] * 3,
        ("exhausted", "retries_spent"),
    ]
    assert shop.notices(payment_id) == [
        ("retry_scheduled", 1),
        ("retry_scheduled", 2),
        ("retry_scheduled", 3),
        ("retries_exhausted", 4),
    ]
