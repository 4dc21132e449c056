"""Stored events run again through today's handlers: what was ignored, failed, or done already."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, select

from models import invariants
from models.operations import OperatorAct
from models.outbox import Owed
from models.timeline import Timeline
from models.transactions import Status
from models.webhooks import PaymentWebhook, WebhookStatus
from tests.bell import ring
from tests.factories import make_company
from tests.web.api.bureau import (
    EVENTS,
    checksums,
    die,
    event_row,
    make_open_payment,
    owed_row,
    payment_row,
    store_event,
    worker_for,
)
from tests.web.visitor import problem_of
from worker.app import Later, app
from worker.database import transaction

ONE_EFFECT = "an event that was handled had exactly one effect"
OWED = "an event that was received is owed, and one that was handled is not"


@pytest.fixture(autouse=True)
def _tasks(migrated):
    app.loader.import_default_modules()


@pytest.fixture
def paid(ours):
    """An event that was handled, and its payment."""
    payment_id = make_open_payment(ours)
    event_id, owed_id = store_event(ours, payment_id)
    ring("webhooks.handle", owed_id)
    assert event_row(event_id).status is WebhookStatus.COMPLETED
    return event_id, payment_id


def debts_of(event_id) -> list[Owed]:
    with transaction() as session:
        handling = session.scalars(select(Owed).where(Owed.task == "webhooks.handle"))
        return [owed for owed in handling if owed.arguments["event_id"] == str(event_id)]


def handle_again(operator, event_id) -> None:
    answer = operator.post(f"{EVENTS}/replay", {"ids": [str(event_id)], "note": "again"})
    assert answer.status_code == 200, answer.text
    assert answer.json["replayed"] == [str(event_id)]
    [owed] = debts_of(event_id)
    ring("webhooks.handle", owed.id)
    assert owed_row(owed.id) is None


def broken_by(event_id) -> list[str]:
    """The sentences about events that this one breaks."""
    with transaction() as session:
        found = invariants.check(session, limit=1000)
    return [each.invariant for each in found if str(event_id) in each.detail]


def lines_of(ours, payment_id, what) -> list[Timeline]:
    with transaction(company_id=ours.company_id) as session:
        query = select(Timeline).where(Timeline.subject_id == payment_id, Timeline.what == what)
        return list(session.scalars(query))


def test_events_are_listed_and_shown_without_what_they_said(operator, ours, paid):
    event_id, payment_id = paid
    other, _ = store_event(ours, payment_id, kind="charge.updated", status=WebhookStatus.IGNORED)
    of_payment = operator.get(f"{EVENTS}?transaction_id={payment_id}")
    assert [each["id"] for each in of_payment.json["data"]] == [str(event_id)]
    shown = operator.get(f"{EVENTS}/{event_id}")
    assert shown.json["status"] == "completed"
    assert shown.json["type"] == "payment_intent.succeeded"
    assert "secret" not in shown.text
    narrowed = operator.get(f"{EVENTS}?type=charge.updated&status=ignored&provider=stripe&limit=1")
    assert [each["id"] for each in narrowed.json["data"]] == [str(other)]


def test_an_event_that_was_done_is_done_again_and_changes_nothing(operator, ours, paid):
    event_id, payment_id = paid
    payment = payment_row(ours, payment_id)
    for times in (1, 2):
        handle_again(operator, event_id)
        assert event_row(event_id).status is WebhookStatus.COMPLETED
        assert len(lines_of(ours, payment_id, "event")) == 1 + times
        assert len(lines_of(ours, payment_id, "replay")) == times
        assert broken_by(event_id) == []
    after = payment_row(ours, payment_id)
    assert (after.status, after.amount_captured) == (Status.SUCCEEDED, payment.amount_captured)
    assert len(lines_of(ours, payment_id, "move")) == 1
    with transaction() as session:
        acts = session.scalars(select(OperatorAct).where(OperatorAct.subject_id == event_id)).all()
    assert [act.note for act in acts] == ["again", "again"]


def test_an_event_that_was_ignored_is_acted_on_by_todays_handler(operator, ours):
    payment_id = make_open_payment(ours)
    event_id, _ = store_event(ours, payment_id, status=WebhookStatus.IGNORED)
    handle_again(operator, event_id)
    assert event_row(event_id).status is WebhookStatus.COMPLETED
    assert payment_row(ours, payment_id).status == Status.SUCCEEDED
    assert broken_by(event_id) == []


def test_an_event_that_failed_takes_its_dead_letter_along(operator, ours, monkeypatch):
    payment_id = make_open_payment(ours)
    event_id, owed_id = store_event(ours, payment_id)
    with monkeypatch.context() as patch:
        patch.setattr("tasks.webhooks._handler_of", lambda event: 1 / 0)
        die("webhooks.handle", owed_id)
    assert event_row(event_id).status is WebhookStatus.FAILED
    handle_again(operator, event_id)
    assert payment_row(ours, payment_id).status == Status.SUCCEEDED
    assert broken_by(event_id) == []


def test_an_event_that_is_owed_anyway_is_not_owed_twice(operator, ours):
    event_id, owed_id = store_event(ours, make_open_payment(ours))
    answer = operator.post(f"{EVENTS}/replay", {"ids": [str(event_id)]})
    assert answer.json["replayed"] == []
    assert [owed.id for owed in debts_of(event_id)] == [owed_id]


def put_off(event) -> None:
    raise Later("its dispute may be on its way", after_s=60)


def test_an_event_in_hand_is_foreseen_as_it_is_replayed_and_says_why_it_waits(
    operator, ours, paid, monkeypatch
):
    event_id, owed_id = store_event(ours, make_open_payment(ours))
    with monkeypatch.context() as patch:
        patch.setattr("tasks.webhooks._handler_of", put_off)
        ring("webhooks.handle", owed_id)
    both = {"ids": [str(event_id), str(paid[0])]}
    with worker_for("operations.preview"):
        foreseen = operator.post(f"{EVENTS}/replay", {**both, "dry_run": True}, Prefer="wait=20")
    why = "its dispute may be on its way"
    waits = {each["id"]: each["waits"] for each in foreseen.json["foreseen"]}
    assert waits == {str(event_id): why, str(paid[0]): None}
    assert operator.get(f"{EVENTS}/{event_id}").json["waits"] == why
    assert operator.get(f"{EVENTS}/{paid[0]}").json["waits"] is None
    done = operator.post(f"{EVENTS}/replay", both)
    assert foreseen.json["replayed"] == done.json["replayed"] == [str(paid[0])]


def test_a_dry_run_shows_what_a_filter_would_replay(operator, ours, paid):
    event_id, payment_id = paid
    before = checksums()
    body = {"filter": {"transaction_id": str(payment_id)}, "dry_run": True}
    with worker_for("operations.preview"):
        answer = operator.post(f"{EVENTS}/replay", body, Prefer="wait=20")
    [seen] = answer.json["foreseen"]
    assert answer.json["replayed"] == [str(event_id)]
    changed = {each["table"] for each in seen["changes"]}
    # It was done: all that is new is that it is told again.
    assert changed == {"payment_webhooks", "timeline"}
    assert (seen["announces"], seen["owes"], seen["error"]) == ([], [], None)
    assert checksums() == before
    assert event_row(event_id).status is WebhookStatus.COMPLETED


@pytest.mark.parametrize("body", [{}, {"filter": {}}, {"filter": {"type": None}}, {"all": False}])
def test_nobody_replays_all_events_without_saying_so(operator, ours, paid, body):
    problem_of(operator.post(f"{EVENTS}/replay", body), 422, "invalid")
    assert event_row(paid[0]).status is WebhookStatus.COMPLETED


def test_another_tenants_events_are_not_there(operator):
    stranger = make_company()
    payment_id = make_open_payment(stranger)
    event_id, owed_id = store_event(stranger, payment_id)
    ring("webhooks.handle", owed_id)
    problem_of(operator.get(f"{EVENTS}/{event_id}"), 404, "not-found")
    problem_of(operator.post(f"{EVENTS}/replay", {"ids": [str(event_id)]}), 404, "not-found")
    body = {"filter": {"transaction_id": str(payment_id)}}
    assert operator.post(f"{EVENTS}/replay", body).json["replayed"] == []
    assert event_row(event_id).status is WebhookStatus.COMPLETED


@pytest.fixture(autouse=True)
def _put_away(database):
    yield
    with transaction() as session:
        session.execute(delete(Owed))
        session.execute(delete(PaymentWebhook))
