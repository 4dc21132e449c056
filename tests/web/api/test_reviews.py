"""Reviews over HTTP: an operator sees what nobody can tell, and says what became of it."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import select

from models.clock import now
from models.ids import new_id
from models.locks import lock_existing
from models.operations import Action, acts_on
from models.outbox import Owed
from models.refunds import Refund, RefundReason, RefundStatus
from models.timeline import Cause
from models.transactions import Status, Transaction
from tasks.handover import hand_over, hand_over_refund
from tests.factories import make_company, make_invoice, make_payment
from tests.tasks.dunning_shop import opened
from tests.web.api.bureau import worker_for
from tests.web.visitor import problem_of
from worker.database import in_transaction, transaction

REVIEWS = "/api/v1/operations/reviews"
ALERTS = "/api/v1/operations/alerts"
PAYMENTS = "/api/v1/operations/payments"
REFUNDS = "/api/v1/operations/refunds"
SAID = {"outcome": "failed", "note": "Seen in the dashboard."}


@pytest.fixture
def shop(use, sandbox, ours, monkeypatch):
    """The operator's company, whose provider is the stand-in."""
    with opened(sandbox, monkeypatch, ours) as made:
        yield made


def in_review(customer, **columns) -> UUID:
    payment_id = make_payment(customer, make_invoice(customer.company_id), **columns)

    def leave(session):
        payment = lock_existing(session, Transaction, payment_id)
        assert hand_over(session, payment, because=Cause(why="its key has expired"))

    in_transaction(leave, customer.company_id)
    return payment_id


def refund_in_review(customer, payment_id: UUID) -> UUID:
    def leave(session):
        refund = Refund(
            company_id=customer.company_id,
            transaction_id=payment_id,
            amount=Decimal(40),
            reason=RefundReason.REQUESTED,
        )
        session.add(refund)
        session.flush()
        hand_over_refund(session, refund, because=Cause(why="its key has expired"))
        return refund.id

    return in_transaction(leave, customer.company_id)


def named(customer) -> dict[str, str]:
    return {"X_Company_Id": str(customer.company_id), "Prefer": "wait=20"}


def test_an_operator_sees_the_reviews_of_the_tenant_and_of_nobody_else(operator, ours):
    theirs = make_company()
    in_review(theirs)
    payment_id = in_review(ours)
    paid = make_payment(
        ours,
        make_invoice(ours.company_id),
        status=Status.SUCCEEDED,
        amount_captured=Decimal(100),
    )
    refund_id = refund_in_review(ours, paid)
    for headers in ({}, named(ours)):
        shown = operator.get(REVIEWS, **headers).json["data"]
        assert [(each["kind"], each["id"]) for each in shown] == [
            ("payment", str(payment_id)),
            ("refund", str(refund_id)),
        ]
        assert all("its key has expired" in each["why"] for each in shown)
        assert {each["transaction_id"] for each in shown} == {str(payment_id), str(paid)}
        assert [each["how"].split(",")[0] for each in shown] == [
            f"POST {PAYMENTS}/{payment_id}/settle",
            f"POST {REFUNDS}/{refund_id}/settle",
        ]
    problem_of(operator.get(REVIEWS, **named(theirs)), 404, "not-found")


def test_a_decline_that_a_person_must_look_at_is_listed_until_that_is_over(operator, shop):
    ours = named(shop.customer)
    payment_id = shop.pay(shop.card("pm_sandbox_decline_code_nobody_knows"))
    [shown] = operator.get(REVIEWS, **ours).json["data"]
    assert (shown["kind"], shown["id"], shown["needs_review"]) == ("decline", str(payment_id), True)
    assert f"POST /api/v1/payments/{payment_id}/retry" in shown["how"]
    assert "not tried again unseen" in shown["why"]
    [alert] = operator.get(f"{ALERTS}?is_resolved=false", **ours).json["data"]
    body = {"payment_method_id": str(shop.card("pm_sandbox_decline_insufficient_funds"))}
    path = f"/api/v1/payments/{payment_id}/retry"
    assert operator.post(path, body, **{**ours, "Prefer": "respond-async"}).status_code == 202
    shop.work()
    assert operator.get(REVIEWS, **ours).json["data"] == []
    [ended] = operator.get(f"{ALERTS}?is_resolved=true", **ours).json["data"]
    assert (ended["id"], ended["kind"]) == (alert["id"], "decline_in_review")


def unheard(shop) -> tuple[UUID, str]:
    """A payment in review that the provider has charged; with the provider's id."""
    payment_id = shop.pay(shop.card("pm_sandbox_processing"))
    intent_id = shop.payment(payment_id).provider_transaction_id
    shop.sandbox.control.settle(intent_id)

    def leave(session):
        payment = lock_existing(session, Transaction, payment_id)
        assert hand_over(session, payment, because=Cause(why="its key has expired"))

    in_transaction(leave, shop.company_id)
    return payment_id, intent_id


def test_what_the_operator_says_is_held_against_the_provider_and_written_down(operator, shop):
    payment_id, intent_id = unheard(shop)
    path, ours = f"{PAYMENTS}/{payment_id}/settle", named(shop.customer)
    with worker_for("reviews.settle"):
        said = operator.post(path, SAID, Idempotency_Key="no", **ours)
        problem = problem_of(said, 409, "conflict")
        assert problem["detail"] == f"The provider says that {intent_id} is succeeded."
        again = operator.post(path, SAID, Idempotency_Key="no", **ours)
        assert problem_of(again, 409, "conflict")["detail"] == problem["detail"]
        assert shop.payment(payment_id).status == Status.NEEDS_REVIEW

        right = {**SAID, "outcome": "succeeded", "provider_transaction_id": intent_id}
        settled = operator.post(path, right, Idempotency_Key="yes", **ours)
        assert settled.status_code == 200, settled.text
        assert settled.json["status"] == "succeeded"
        assert (settled.json["needs_review"], settled.json["how"]) == (False, None)
        replayed = operator.post(path, right, Idempotency_Key="yes", **ours)
        assert replayed.json == settled.json
    assert shop.charges(payment_id) == 1
    with transaction() as session:
        tenant_id = shop.customer.tenant_id
        acts = [(act.action, act.note) for act in acts_on(session, payment_id, tenant_id=tenant_id)]
    assert acts == [(Action.SETTLE, SAID["note"])] * 2
    lines = operator.get(f"/api/v1/payments/{payment_id}/timeline", **ours).json["data"]
    told = [(line["what"], line["user_id"]) for line in lines if "review_" in line["what"]]
    assert [what for what, _ in told] == [
        "review_asked",
        "review_refused",
        "review_asked",
        "review_settled",
    ]
    assert len({user_id for _, user_id in told}) == 1
    assert any(SAID["note"] in line["why"] for line in lines)
    assert operator.get(REVIEWS, **ours).json["data"] == []
    problem_of(operator.post(path, right, **ours), 409, "conflict")


def test_a_provider_that_is_not_answered_yet_is_waited_for_elsewhere(operator, shop):
    payment_id, _ = unheard(shop)
    path, ours = f"{PAYMENTS}/{payment_id}/settle", named(shop.customer)
    answer = operator.post(path, SAID, **{**ours, "Prefer": "respond-async"})
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/api/v1/payments/{payment_id}"
    assert answer.json["needs_review"] is True
    shop.sandbox.control.fault("server_error", method="GET", path="/v1/*", count=None)
    with worker_for("reviews.settle"):
        said = operator.post(path, SAID, **ours)
    assert "cannot be asked" in problem_of(said, 503, "unavailable")["detail"]


def test_a_refund_is_settled_by_hand_too(operator, shop):
    payment_id = shop.pay(shop.card())
    refund_id = refund_in_review(shop.customer, payment_id)
    path, ours = f"{REFUNDS}/{refund_id}/settle", named(shop.customer)
    with worker_for("reviews.settle_refund"):
        wrong = {**SAID, "outcome": "succeeded", "provider_refund_id": "re_never_was"}
        problem_of(operator.post(path, wrong, **ours), 409, "conflict")
        settled = operator.post(path, SAID, **ours)
    assert (settled.status_code, settled.json["status"]) == (200, "failed")
    assert settled.json["kind"] == "refund"
    assert settled.headers["Location"].endswith(f"/refunds/{refund_id}")
    problem_of(operator.post(path, SAID, **ours), 409, "conflict")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("outcome", "lost"),
        ("outcome", None),
        ("note", ""),
        ("note", None),
        ("note", "x" * 2001),
        ("provider_transaction_id", "with a space"),
        ("provider_transaction_id", "x" * 101),
        ("colour", "red"),
    ],
)
def test_a_settlement_that_makes_no_sense_changes_nothing(operator, ours, field, value):
    payment_id = in_review(ours)
    path = f"{PAYMENTS}/{payment_id}/settle"
    refused = operator.post(path, {**SAID, field: value}, **named(ours))
    assert field in problem_of(refused, 422, "invalid")["detail"]
    bare = operator.post(path, {**SAID, "outcome": "succeeded"}, **named(ours))
    assert "provider_transaction_id" in problem_of(bare, 422, "invalid")["detail"]
    with transaction() as session:
        tasks = session.scalars(select(Owed.task).where(Owed.company_id == ours.company_id))
        assert "reviews.settle" not in list(tasks)
        assert acts_on(session, payment_id, tenant_id=ours.tenant_id) == []


def test_only_what_needs_a_review_can_be_settled_and_only_by_its_operator(operator, ours):
    sound = make_payment(ours, make_invoice(ours.company_id), status=Status.FAILED)
    refused = operator.post(f"{PAYMENTS}/{sound}/settle", SAID, **named(ours))
    assert "needs no review" in problem_of(refused, 409, "conflict")["detail"]
    payment_id = in_review(ours)
    path = f"{PAYMENTS}/{payment_id}/settle"
    problem_of(operator.post(path, SAID), 400, "bad-request")
    problem_of(
        operator.post(f"{PAYMENTS}/{new_id()}/settle", SAID, **named(ours)), 404, "not-found"
    )
    problem_of(operator.post(f"{REFUNDS}/{new_id()}/settle", SAID, **named(ours)), 404, "not-found")
    theirs = in_review(make_company())
    problem_of(operator.post(f"{PAYMENTS}/{theirs}/settle", SAID, **named(ours)), 404, "not-found")


def test_an_owner_may_neither_see_nor_settle_reviews(visitor, person):
    owner = visitor.sign_in(person.email)
    payment_id = in_review(person)
    problem_of(owner.get(REVIEWS), 403, "forbidden")
    problem_of(owner.post(f"{PAYMENTS}/{payment_id}/settle", SAID), 403, "forbidden")
    problem_of(owner.post(f"{REFUNDS}/{new_id()}/settle", SAID), 403, "forbidden")


def test_a_refunds_owner_reads_a_sentence_and_not_how_a_call_went(operator, ours):
    paid = make_payment(
        ours,
        make_invoice(ours.company_id),
        status=Status.SUCCEEDED,
        amount_captured=Decimal(100),
    )
    refund_id = refund_in_review(ours, paid)
    path, told = f"/api/v1/payments/{paid}/refunds/{refund_id}", []
    for status, since in (("processing", None), ("processing", now()), ("failed", None)):
        with transaction(company_id=ours.company_id) as session:
            refund = session.get_one(Refund, refund_id)
            refund.status, refund.review_since = RefundStatus(status), since
            refund.error_message = "connection_lost: (ProtocolError)"
        told.append(operator.get(path, **named(ours)).json["error_message"])
    assert told == [
        "The provider has not yet told what became of it. It is asked again by itself.",
        "What became of it must be found out by hand.",
        "connection_lost: (ProtocolError)",
    ]


@pytest.mark.parametrize("written", ["\0", "a\x1bb", "\x7f"])
def test_what_nobody_can_read_is_no_note(operator, ours, written):
    payment_id = in_review(ours)
    asked = {
        f"{PAYMENTS}/{payment_id}/settle": {**SAID, "note": written},
        f"/api/v1/payments/{payment_id}/refund": {"amount": "1.00", "notes": written},
    }
    for path, body in asked.items():
        problem = problem_of(operator.post(path, body, **named(ours)), 422, "invalid")
        assert [error["field"] for error in problem["errors"]] == [list(body)[-1]]


def test_a_note_may_have_lines(operator, ours):
    payment_id = in_review(ours)
    asked = {**named(ours), "Prefer": "respond-async"}
    said = {**SAID, "note": "Seen in the dashboard:\r\n\tno charge."}
    assert operator.post(f"{PAYMENTS}/{payment_id}/settle", said, **asked).status_code == 202
