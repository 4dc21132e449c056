"""The story of a payment as one GET tells it, in the order in which it happened."""

from __future__ import annotations

from decimal import Decimal

import pytest
from sqlalchemy import select

from models.outbox import enqueue
from models.refunds import Refund, RefundReason
from models.timeline import Timeline
from models.transactions import Status
from tests.tasks.dunning_shop import opened
from tests.tasks.provider_events import deliver, events_of
from tests.web.visitor import problem_of
from worker.database import PUBLISH

PAYMENTS = "/api/v1/payments"


@pytest.fixture
def shop(use, sandbox, monkeypatch, person):
    with opened(sandbox, monkeypatch, person) as made:
        yield made


def refund(shop, payment_id, amount):
    with shop.session() as session:
        row = Refund(
            company_id=shop.company_id,
            transaction_id=payment_id,
            amount=Decimal(amount),
            reason=RefundReason.REQUESTED,
        )
        session.add(row)
        session.flush()
        enqueue(session, "refunds.send", refund_id=row.id)
    shop.work()


def tell_all(shop):
    """Deliver what the provider has told so far."""
    deliver(shop, events_of(shop, ""))


@pytest.fixture
def eventful(shop):
    """Declined, retried after a day, authenticated, given back in part, disputed."""
    card = shop.card()
    shop.decline_next("insufficient_funds")
    payment_id = shop.pay(card)
    shop.decline_next("authentication_required")
    shop.climb_when_due(payment_id)
    shop.confirm_in_old_tab(payment_id, "pm_card_threeDSecure2Required")
    tell_all(shop)
    assert shop.payment(payment_id).status == Status.REQUIRES_ACTION
    intent_id = shop.payment(payment_id).provider_transaction_id
    shop.sandbox.control.authenticate(intent_id)
    tell_all(shop)
    assert shop.payment(payment_id).status == Status.SUCCEEDED
    refund(shop, payment_id, "30.00")
    tell_all(shop)
    shop.sandbox.control.dispute(payment_intent=intent_id)
    tell_all(shop)
    return payment_id


def told(visitor, person, payment_id, query="") -> list[dict]:
    answer = visitor.sign_in(person.email).get(f"{PAYMENTS}/{payment_id}/timeline{query}")
    assert answer.status_code == 200, answer.text
    return answer.json["data"]


def in_order(wanted: list[tuple[str, str]], lines: list[dict]) -> list[tuple[str, str]]:
    """Return what of `wanted` was not found in its order: each is (subject/what, a part of why)."""
    rest = iter(lines)
    return [
        (name, part)
        for name, part in wanted
        if not any(
            f"{line['subject']}/{line['what']}" == name
            and part in f"{line['was']}>{line['became']} {line['why']}"
            for line in rest
        )
    ]


def test_a_payment_with_everything_is_told_in_order(visitor, person, shop, eventful):
    lines = told(visitor, person, eventful)
    story = [
        ("transaction/move", "pending>processing attempt 1 (first)"),
        ("transaction/push", "payment.started"),
        ("transaction/move", "processing>failed"),
        ("transaction/push", "payment.failed"),
        ("transaction/notice", "retry_scheduled"),
        ("transaction/attempt", "attempt 2 (ladder)"),
        ("transaction/move", "authentication_required"),
        ("transaction/notice", "payment_failed"),
        ("transaction/event", "payment_intent.requires_action"),
        ("transaction/move", "failed>requires_action"),
        ("transaction/event", "payment_intent.succeeded"),
        ("transaction/move", "requires_action>succeeded"),
        ("invoice/move", "open>paid"),
        ("refund/move", "pending>processing"),
        ("refund/move", "processing>succeeded"),
        ("transaction/move", "succeeded>partially_refunded"),
        ("transaction/event", "charge.dispute.created"),
        ("dispute/funds_withdrawn", "70.00 INR"),
        ("dispute/notice", "dispute_opened"),
    ]
    assert in_order(story, lines) == [], "\n".join(
        f"{line['subject']}/{line['what']} {line['was']}>{line['became']} {line['why']}"
        for line in lines
    )
    attempts = {line["attempt_id"] for line in lines if line["why"].startswith("attempt ")}
    assert attempts == {str(each.id) for each in shop.attempts(eventful)}
    check_parts(visitor.sign_in(person.email), f"{PAYMENTS}/{eventful}/timeline", lines)


def check_parts(client, path, whole):
    """A long story is read in parts, and stays in order."""
    read, cursor = [], ""
    while cursor is not None:
        part = client.get(f"{path}?limit=7" + (f"&cursor={cursor}" if cursor else "")).json
        assert len([line for line in part["data"] if line["what"] != "push"]) <= 7
        read += part["data"]
        cursor = part["next_cursor"]
    assert read == whole
    for query in ("limit=0", "limit=501", "cursor=x", "colour=red"):
        problem_of(client.get(f"{path}?{query}"), 422, "invalid")


def test_each_line_names_what_caused_it_and_none_a_secret(visitor, person, shop, eventful):
    client = visitor.sign_in(person.email)
    answer = client.get(f"{PAYMENTS}/{eventful}/timeline")
    lines = answer.json["data"]
    causes = ("request_id", "task_id", "event_id", "user_id")
    alone = [line["why"] for line in lines if not any(line[cause] for cause in causes)]
    assert alone == ["the ladder's next step"]  # beat rings for it
    failed = next(line for line in lines if line["became"] == "failed")
    assert failed["attempt_id"] == str(shop.attempts(eventful)[0].id)
    assert failed["provider_request_id"].startswith("req_")
    assert "_secret_" not in answer.text
    keys = [each.idempotency_key for each in shop.attempts(eventful)]
    assert not any(key in answer.text for key in keys)


def test_what_is_pushed_is_told_by_the_task_that_publishes_it(visitor, person, shop):
    payment_id = shop.pay(shop.card())
    publishing = [str(owed.id) for owed in shop.owed(PUBLISH)]
    pushes = [line for line in told(visitor, person, payment_id) if line["what"] == "push"]
    assert [line["why"] for line in pushes] == [
        "payment.started",
        "payment.succeeded",
        "invoice.paid",
    ]
    assert [line["subject"] for line in pushes] == ["transaction", "transaction", "invoice"]
    assert {line["task_id"] for line in pushes} <= set(publishing)
    with shop.session() as session:
        assert session.scalars(select(Timeline).where(Timeline.what == "push")).all() == []
