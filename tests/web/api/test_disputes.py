"""Disputes over the API; their tasks run in this process, at the stand-in for Stripe."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from models import clock
from models.disputes import Dispute, DisputeAction
from models.ids import new_id
from models.timeline import history
from tests.tasks.dunning_shop import opened
from tests.tasks.provider_events import deliver, disputes_of, events_of
from tests.web.visitor import problem_of

DISPUTES = "/api/v1/disputes"


@pytest.fixture
def shop(use, sandbox, monkeypatch, person):
    with opened(sandbox, monkeypatch, person) as made:
        yield made


@pytest.fixture
def owner(visitor, person):
    return visitor.sign_in(person.email)


@pytest.fixture
def dispute(shop):
    return disputed(shop)


def disputed(shop, **more) -> Dispute:
    payment_id = shop.pay(shop.card())
    intent = shop.payment(payment_id).provider_transaction_id
    told = shop.sandbox.control.dispute(payment_intent=intent, **more)
    deliver(shop, events_of(shop, "charge.dispute."))
    return next(each for each in disputes_of(shop) if each.provider_dispute_id == told["id"])


def at_stripe(shop, dispute):
    return shop.sandbox.client().v1.disputes.retrieve(dispute.provider_dispute_id)


def answer(owner, dispute, verb, body=None, key=None):
    headers = {"Prefer": "respond-async", **({"Idempotency_Key": key} if key else {})}
    return owner.post(f"{DISPUTES}/{dispute.id}/{verb}", body, **headers)


def test_a_dispute_is_shown_with_what_the_bank_took(owner, shop, dispute):
    shown = owner.get(f"{DISPUTES}/{dispute.id}").json
    assert (shown["status"], shown["is_open"], shown["reason"]) == (
        "needs_response",
        True,
        "fraudulent",
    )
    assert (shown["amount"], shown["amount_withdrawn"], shown["amount_reinstated"]) == (100, 100, 0)
    assert (shown["currency"], shown["evidence"], shown["actions"]) == ("INR", {}, [])
    problem_of(owner.get(f"{DISPUTES}/{new_id()}"), 404, "not-found")


def test_disputes_are_listed_newest_first_and_narrowed(owner, shop):
    first, second = disputed(shop), disputed(shop, reason="inquiry")
    shop.sandbox.control.end_dispute(first.provider_dispute_id, "lost")
    deliver(shop, events_of(shop, "charge.dispute.closed"))

    def ids(query=""):
        return [one["id"] for one in owner.get(DISPUTES + query).json["data"]]

    assert ids() == [str(second.id), str(first.id)]
    assert ids("?state=open") == [str(second.id)]
    assert ids("?state=closed") == ids("?status=lost") == [str(first.id)]
    assert ids(f"?transaction_id={first.transaction_id}") == [str(first.id)]
    page = owner.get(f"{DISPUTES}?limit=1").json
    assert [one["id"] for one in page["data"]] == [str(second.id)]
    assert ids(f"?limit=1&cursor={page['next_cursor']}") == [str(first.id)]
    problem_of(owner.get(f"{DISPUTES}?state=odd"), 422, "invalid")


def test_evidence_is_gathered_and_then_handed_to_the_bank(owner, shop, dispute):
    told = answer(owner, dispute, "evidence", {"evidence": {"product_description": "Ten seats."}})
    assert (told.status_code, told.json["status"]) == (202, "pending")
    shop.work()
    assert owner.get(told.headers["Location"]).json["actions"][0]["status"] == "sent"
    assert at_stripe(shop, dispute).evidence_details.submission_count == 0
    [row] = disputes_of(shop)
    assert row.status == "needs_response"
    assert row.evidence == {"product_description": "Ten seats."}
    answer(owner, dispute, "evidence", {"submit": True}, key="now")
    shop.work()
    again = answer(owner, dispute, "evidence", {"submit": True}, key="now")
    assert (again.status_code, again.json["status"]) == (201, "sent")
    assert again.json["dispute_status"] == "under_review"
    theirs = at_stripe(shop, dispute)
    assert theirs.evidence_details.submission_count == 1
    assert theirs.evidence.product_description == "Ten seats."
    shown = owner.get(f"{DISPUTES}/{dispute.id}").json
    assert shown["evidence_submitted_at"] is not None
    # Who did it stands in the dispute's history.
    with shop.session() as session:
        lines = [line for line in history(session, [dispute.id]) if line.what == "asked"]
    assert {line.user_id for line in lines} == {shop.customer.user_id}


def test_a_dispute_is_given_up_once(owner, shop, dispute):
    assert answer(owner, dispute, "accept", key="enough").status_code == 202
    problem_of(answer(owner, dispute, "accept"), 409, "conflict")
    shop.work()
    again = answer(owner, dispute, "accept", key="enough")
    assert (again.status_code, again.json["dispute_status"]) == (201, "lost")
    assert at_stripe(shop, dispute).status == "lost"
    assert not shop.payment(dispute.transaction_id).is_disputed
    problem_of(answer(owner, dispute, "accept"), 409, "conflict")
    told = {"evidence": {"customer_name": "A"}}
    problem_of(answer(owner, dispute, "evidence", told), 409, "conflict")
    with shop.session() as session:
        assert len(session.scalars(select(DisputeAction)).all()) == 1


def test_no_evidence_once_the_bank_has_it_or_its_day_is_past(owner, shop):
    told = {"evidence": {"customer_name": "A"}, "submit": True}
    reviewed = disputed(shop)
    answer(owner, reviewed, "evidence", told)
    shop.work()
    problem = problem_of(answer(owner, reviewed, "evidence", told), 409, "conflict")
    assert "with the bank" in problem["detail"]
    late = disputed(shop)
    with shop.session() as session:
        session.get_one(Dispute, late.id).evidence_due_at = clock.now()
    problem = problem_of(answer(owner, late, "evidence", told), 409, "conflict")
    assert "was due" in problem["detail"]
    # It can still be given up: nobody else would end it.
    assert answer(owner, late, "accept").status_code == 202


TOO_MANY = dict.fromkeys(
    (
        "access_activity_log",
        "cancellation_policy_disclosure",
        "cancellation_rebuttal",
        "duplicate_charge_explanation",
        "product_description",
        "refund_policy_disclosure",
        "refund_refusal_explanation",
        "uncategorized_text",
    ),
    "x" * 20_000,
)
SENSELESS = [
    ({}, "evidence"),
    ({"submit": True}, "evidence"),
    ({"submit": 1, "evidence": {"customer_name": "A"}}, "submit"),
    ({"evidence": {"colour": "red"}}, "evidence.colour"),
    ({"evidence": {"customer_name": " "}}, "evidence.customer_name"),
    ({"evidence": {"customer_name": "x" * 501}}, "evidence.customer_name"),
    ({"evidence": {"receipt": "a picture"}}, "evidence.receipt"),
    ({"evidence": TOO_MANY}, "evidence"),
]


def test_evidence_that_makes_no_sense_is_refused_by_name(owner, shop, dispute):
    for body, field in SENSELESS:
        problem = problem_of(answer(owner, dispute, "evidence", body), 422, "invalid")
        assert [error["field"] for error in problem["errors"]] == [field], body
    assert disputes_of(shop)[0].version == dispute.version
    assert shop.owed("disputes.send") == []


def test_no_refund_begins_while_a_payment_is_disputed(owner, shop, dispute):
    refund = f"/api/v1/payments/{dispute.transaction_id}/refund"
    problem = problem_of(owner.post(refund, {"amount": 1}), 409, "conflict")
    assert "disputed" in problem["detail"]
    shop.sandbox.control.end_dispute(dispute.provider_dispute_id, "won")
    deliver(shop, events_of(shop, "charge.dispute."))
    assert owner.post(refund, {"amount": 1}, Prefer="respond-async").status_code == 202


def test_what_the_bank_keeps_is_not_given_back_again(owner, shop):
    dispute = disputed(shop, amount=6000)
    shop.sandbox.control.end_dispute(dispute.provider_dispute_id, "lost")
    deliver(shop, events_of(shop, "charge.dispute."))
    refund = f"/api/v1/payments/{dispute.transaction_id}/refund"
    problem = problem_of(owner.post(refund, {"amount": 41}), 422, "invalid")
    assert "40.00 INR" in problem["detail"]
