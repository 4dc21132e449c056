"""What is told to the provider about a dispute, when its answer is lost, late or no."""

from __future__ import annotations

import pytest

from models.disputes import DisputeAction, DisputeActionKind
from models.outbox import enqueue
from tasks import disputes
from tests.bell import ring
from tests.tasks.provider_events import alerts_of, broken, deliver, disputes_of, events_of
from worker import crash
from worker.gateways import gateway_for
from worker.settings import settings

EVIDENCE, ACCEPT = DisputeActionKind.EVIDENCE, DisputeActionKind.ACCEPT
REQUESTS = {EVIDENCE: {"evidence": {"customer_name": "A"}, "submit": True}, ACCEPT: {}}


@pytest.fixture
def dispute(shop):
    payment_id = shop.pay(shop.card())
    intent = shop.payment(payment_id).provider_transaction_id
    shop.sandbox.control.dispute(payment_intent=intent)
    deliver(shop, events_of(shop, "charge.dispute."))
    [made] = disputes_of(shop)
    return made


def ask(shop, dispute, kind):
    with shop.session() as session:
        action = DisputeAction(
            company_id=shop.company_id, dispute_id=dispute.id, kind=kind, request=REQUESTS[kind]
        )
        session.add(action)
        session.flush()
        enqueue(session, "disputes.send", action_id=action.id)
    return action.id


def action_of(shop, action_id):
    with shop.session() as session:
        return session.get_one(DisputeAction, action_id)


def at_stripe(shop, dispute):
    return shop.sandbox.client().v1.disputes.retrieve(dispute.provider_dispute_id)


def fault(shop, dispute, kind, action, **more):
    path = f"/v1/disputes/{dispute.provider_dispute_id}"
    path += "/close" if action == ACCEPT else ""
    shop.sandbox.control.fault(kind, method="POST", path=path, **more)


@pytest.mark.parametrize(
    ("kind", "lost"),
    [
        (EVIDENCE, "drop_before"),
        (EVIDENCE, "drop_after"),
        (EVIDENCE, "rate_limit"),
        (ACCEPT, "drop_after"),
        (ACCEPT, "server_error"),
    ],
)
def test_a_lost_answer_is_looked_up_and_nothing_is_told_twice(shop, dispute, kind, lost):
    fault(shop, dispute, lost, kind)
    if lost == "rate_limit":  # tried again within the call
        fault(shop, dispute, lost, kind)
        fault(shop, dispute, lost, kind)
    action_id = ask(shop, dispute, kind)
    while shop.owed("disputes.send"):
        shop.work()
        shop.advance(minutes=10)
        assert action_of(shop, action_id).first_called_at is not None
    assert action_of(shop, action_id).status == "sent"
    assert at_stripe(shop, dispute).evidence_details.submission_count == (kind == EVIDENCE)
    assert broken(shop) == []


def test_a_500_for_the_key_is_replayed_until_the_key_has_gone_and_then_told(shop, dispute):
    """A saved 500 is what Stripe answers to the same key; looking up shows that nothing came."""
    fault(shop, dispute, "server_error", EVIDENCE, executed=False)
    action_id = ask(shop, dispute, EVIDENCE)
    for _ in range(3):
        [owed] = shop.owed("disputes.send")
        ring("disputes.send", owed.id)
        assert action_of(shop, action_id).status == "pending"
    shop.advance(hours=24)
    shop.work()
    action = action_of(shop, action_id)
    assert (action.status, action.error_message) == (
        "failed",
        "It did not reach the provider within a day.",
    )
    assert ("dispute_action_failed", True) in alerts_of(shop)
    assert broken(shop) == []


def test_what_the_provider_refuses_has_failed_and_the_dispute_is_fetched(shop, dispute):
    shop.sandbox.control.end_dispute(dispute.provider_dispute_id, "lost")
    action_id = ask(shop, dispute, EVIDENCE)
    shop.work()
    action = action_of(shop, action_id)
    assert action.status == "failed"
    assert "closed" in action.error_message
    assert disputes_of(shop)[0].status == "lost"
    # It is over: nobody needs to see to what was refused.
    assert ("dispute_action_failed", False) in alerts_of(shop)


def test_a_key_of_ours_that_is_wrong_for_a_while_loses_nothing(shop, dispute, monkeypatch):
    monkeypatch.setenv("STRIPE_API_KEY", "wrong")
    forget_gateway()
    action_id = ask(shop, dispute, EVIDENCE)
    [owed] = shop.owed("disputes.send")
    ring("disputes.send", owed.id)
    assert action_of(shop, action_id).status == "pending"
    monkeypatch.setenv("STRIPE_API_KEY", "sk_test_sandbox")
    forget_gateway()
    shop.work()
    assert action_of(shop, action_id).status == "sent"


def forget_gateway():
    for made in (settings, gateway_for):
        made.cache_clear()


def test_what_was_given_up_stands_in_the_way_no_more(shop, dispute, monkeypatch):
    def broken_gateway(_):
        raise TypeError("a mistake of ours")

    monkeypatch.setattr(disputes, "disputes_at", broken_gateway)
    action_id = ask(shop, dispute, EVIDENCE)
    [owed] = shop.owed("disputes.send")
    for _ in range(5):
        assert action_of(shop, action_id).status == "pending"
        ring("disputes.send", owed.id)
    action = action_of(shop, action_id)
    assert action.status == "failed"
    assert "a mistake of ours" in action.error_message
    assert ("dispute_action_failed", True) in alerts_of(shop)
    assert broken(shop) == []


def test_a_worker_that_died_after_the_call_leaves_it_to_a_look_up(shop, dispute, monkeypatch):
    class Killed(BaseException):
        pass

    def die(point):
        if point == "dispute.called":
            raise Killed

    monkeypatch.setattr(crash, "point", die)
    action_id = ask(shop, dispute, ACCEPT)
    with pytest.raises(Killed):
        shop.work()
    monkeypatch.setattr(crash, "point", lambda _: None)
    assert action_of(shop, action_id).status == "pending"
    shop.advance(hours=1)
    shop.work()
    assert action_of(shop, action_id).status == "sent"
    assert disputes_of(shop)[0].status == "lost"
