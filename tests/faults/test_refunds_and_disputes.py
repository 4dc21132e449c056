"""Money that goes back: two refunds at once, one that comes back, one that a dispute meets."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from models.disputes import Dispute, DisputeAction, DisputeActionKind
from models.refunds import Refund
from tests.invariants import judge

pytestmark = pytest.mark.xdist_group("tests/faults")


@pytest.fixture
def paid(system, till):
    payment_id = till.pay()
    till.wait_for(payment_id, "succeeded")
    return payment_id


@pytest.fixture
def owner(system, till):
    return system.member(company_id=till.company_id)


def refund_of(till, refund_id) -> Refund:
    with till.system.session(till.company_id) as session:
        return session.get_one(Refund, refund_id)


def wait_for_refund(till, refund_id, *statuses):
    till.system.wait_until(lambda: refund_of(till, refund_id).status in statuses)
    return refund_of(till, refund_id)


def dispute_of(till) -> Dispute | None:
    with till.system.session(till.company_id) as session:
        return session.scalars(select(Dispute)).one_or_none()


def open_dispute(till, payment_id) -> Dispute:
    intent = till.payment(payment_id).provider_transaction_id
    till.system.stripe.dispute(payment_intent=intent)
    till.system.wait_until(lambda: (found := dispute_of(till)) and found.amount_withdrawn)
    return dispute_of(till)


def ask(owner, payment_id, amount):
    path = f"/api/v1/payments/{payment_id}/refund"
    return owner.post(path, {"amount": amount}, prefer="wait=20")


def refunded_at(system, payment_id):
    [charge] = system.stripe.charges(payment_id)
    return charge["amount_refunded"]


def test_of_two_refunds_of_60_on_100_at_once_one_goes(system, till, paid, owner):
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: ask(owner, paid, 60), range(2)))
    assert sorted(answer.status for answer in answers) == [201, 422], answers
    assert refunded_at(system, paid) == 6000
    judge(system)


def test_a_refund_that_succeeds_and_then_fails_brings_the_money_back(system, till, owner):
    payment_id = till.pay(method_id=till.attach("pm_card_refundFail"))
    till.wait_for(payment_id, "succeeded")
    refund_id = till.refund(payment_id, "40.00")
    refund = wait_for_refund(till, refund_id, "failed")
    assert refund.error_message == "expired_or_canceled_card"
    payment = till.wait_for(payment_id, "succeeded")
    assert payment.amount_refunded == 0
    assert refunded_at(system, payment_id) == 0
    judge(system)
    # A failure may be heard before the success: only one that was heard in order is undone.
    moves = [line for line in till.told(payment_id) if line.startswith("move partially_refunded")]
    given = [line for line in till.told(payment_id) if "succeeded>partially_refunded" in line]
    assert len(moves) == len(given)


@pytest.mark.parametrize("ending", ["succeeded", "failed"])
def test_a_dispute_while_a_refund_is_pending(system, till, paid, owner, ending):
    system.stripe.fault("refund_pending")
    refund_id = till.refund(paid, "40.00")
    system.wait_until(lambda: refund_of(till, refund_id).provider_refund_id)
    dispute = open_dispute(till, paid)
    assert till.payment(paid).is_disputed
    assert ask(owner, paid, 10).status == 409
    system.stripe.move_refund(refund_of(till, refund_id).provider_refund_id, ending)
    wait_for_refund(till, refund_id, ending)
    system.stripe.end_dispute(dispute.provider_dispute_id, "won")
    system.wait_until(lambda: not till.payment(paid).is_disputed)
    judge(system)
    assert till.payment(paid).amount_refunded == (40 if ending == "succeeded" else 0)
    # What the bank gave back can be refunded.
    assert ask(owner, paid, 10).status == 201
    judge(system)


def test_a_refund_whose_worker_died_before_the_call_meets_a_dispute(system, till, paid, marks):
    (marks / "refund.claimed").touch()
    refund_id = till.refund(paid, "40.00")
    system.worker.wait_dead()
    intent = till.payment(paid).provider_transaction_id
    system.stripe.dispute(payment_intent=intent)
    system.worker.start()
    refund = wait_for_refund(till, refund_id, "failed")
    assert "charged back" in refund.error_message
    assert refunded_at(system, paid) == 0
    judge(system)


def test_evidence_whose_worker_died_after_the_call_is_told_once(system, till, paid, marks):
    dispute = open_dispute(till, paid)
    (marks / "dispute.called").touch()
    with system.session(till.company_id) as session:
        action = DisputeAction(
            company_id=till.company_id,
            dispute_id=dispute.id,
            kind=DisputeActionKind.EVIDENCE,
            request={"evidence": {"customer_name": "A"}, "submit": True},
        )
        session.add(action)
        session.flush()
        till.enqueue(session, "disputes.send", action_id=action.id)
    till.ring(session.info["owed"])
    system.worker.wait_dead()
    system.worker.start()
    system.wait_until(lambda: dispute_of(till).status == "under_review")
    judge(system)
    [theirs] = [
        each
        for each in system.stripe.book()["disputes"]
        if each["id"] == dispute.provider_dispute_id
    ]
    assert theirs["evidence_details"]["submission_count"] == 1
    with system.session(till.company_id) as session:
        assert session.get_one(DisputeAction, action.id).status == "sent"
