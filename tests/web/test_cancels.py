"""A payment that waits for its customer is given up: its invoice is free, and success wins."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from models.clock import now
from models.ids import new_id
from models.timeline import history
from models.transactions import AttemptStatus, Dunning, Provider, Status
from tests.factories import make_company, make_invoice, make_payment
from tests.tasks.dunning_shop import Shop, opened
from tests.tasks.provider_events import broken, deliver, events_of
from tests.web.visitor import problem_of
from worker.database import PUBLISH
from worker.gateways import gateway_for

PAYMENTS = "/api/v1/payments"
CANCEL = "/v1/payment_intents/*/cancel"
INTENT = "/v1/payment_intents/*"
ASYNC = {"Prefer": "respond-async"}


@pytest.fixture
def shop(use, person, sandbox, monkeypatch) -> Iterator[Shop]:
    with opened(sandbox, monkeypatch, person) as made:
        yield made


@pytest.fixture
def waiting(shop):
    """A payment that its customer is to confirm in the browser."""
    payment_id = shop.pay(None)
    assert shop.payment(payment_id).status == Status.REQUIRES_ACTION
    return payment_id


@pytest.fixture
def give_up(owner):
    def post(payment_id, **headers):
        return owner.post(f"{PAYMENTS}/{payment_id}/cancel", **(ASYNC | headers))

    return post


def begin(owner, invoice_id):
    body = {"invoice_id": str(invoice_id), "amount": 100}
    return owner.post(f"{PAYMENTS}/create-intent", body, **ASYNC)


def told_of(shop, kind):
    events = [event for row in shop.owed(PUBLISH) for event in row.arguments["events"]]
    return [event["data"] for event in events if event["type"] == kind]


def intent_of(shop, payment_id):
    intent_id = shop.payment(payment_id).provider_transaction_id
    [found] = [i for i in shop.sandbox.control.book()["payment_intents"] if i["id"] == intent_id]
    return found


def test_what_is_given_up_is_closed_at_the_provider_and_its_invoice_free(
    owner, person, shop, waiting, give_up
):
    answer = give_up(waiting)
    assert (answer.status_code, answer.json["status"]) == (202, "requires_action")
    assert answer.headers["Location"] == f"{PAYMENTS}/{waiting}"
    shop.work()
    shown = owner.get(f"{PAYMENTS}/{waiting}").json
    assert (shown["status"], shown["error"]["code"]) == ("canceled", "canceled_by_customer")
    assert intent_of(shop, waiting)["status"] == "canceled"
    [told] = told_of(shop, "payment.failed")
    assert (told["transaction_id"], told["code"]) == (str(waiting), "canceled_by_customer")
    with shop.session() as session:
        [line] = [each for each in history(session, [waiting]) if each.what == "cancel"]
    assert line.user_id == person.user_id
    again = begin(owner, shown["invoice_id"])
    assert again.status_code == 202, again.text
    assert broken(shop) == []


def test_what_hangs_in_3d_secure_is_given_up_and_the_ladder_with_it(shop, give_up):
    payment_id = shop.pay(shop.card("pm_card_authenticationRequired"))
    assert shop.payment(payment_id).status == Status.REQUIRES_ACTION
    give_up(payment_id)
    shop.work()
    payment = shop.payment(payment_id)
    assert (payment.status, payment.next_retry_at) == (Status.CANCELED, None)
    assert payment.dunning in (Dunning.NONE, Dunning.CLEARED)
    assert [each.status for each in shop.attempts(payment_id)] == [AttemptStatus.CANCELED]


def test_the_same_key_gives_up_once_and_hears_the_end(shop, waiting, give_up):
    first = give_up(waiting, Idempotency_Key="once")
    second = give_up(waiting, Idempotency_Key="once")
    assert [first.status_code, second.status_code] == [202, 202]
    assert len(shop.owed("payments.cancel")) == 1
    shop.work()
    last = give_up(waiting, Idempotency_Key="once")
    assert (last.status_code, last.json["status"]) == (200, "canceled")
    assert last.headers["Idempotent-Replayed"] == "true"
    anew = give_up(waiting)
    assert (anew.status_code, anew.json["status"]) == (200, "canceled")
    assert shop.owed("payments.cancel") == []


@pytest.mark.parametrize(
    ("card", "status", "answered"),
    [
        ("pm_card_visa", Status.SUCCEEDED, 200),
        ("pm_sandbox_processing", Status.PROCESSING, 202),
        ("pm_card_chargeDeclined", Status.CANCELED, 200),
    ],
)
def test_a_customer_who_was_faster_has_paid(shop, waiting, give_up, card, status, answered):
    """Nobody has told us yet; what was declined is given up all the same."""
    shop.confirm_in_old_tab(waiting, card)
    give_up(waiting, Idempotency_Key="late")
    shop.work()
    told = give_up(waiting, Idempotency_Key="late")
    assert (told.status_code, told.json["status"]) == (answered, status)
    assert shop.payment(waiting).status == status
    assert shop.charges(waiting) == (status is Status.SUCCEEDED)
    deliver(shop, events_of(shop, "payment_intent."))
    assert shop.payment(waiting).status == status
    assert broken(shop) == []


def test_a_customer_who_pays_between_the_look_and_the_cancellation_has_paid(
    shop, waiting, give_up, monkeypatch
):
    gateway = gateway_for(Provider.STRIPE)
    cancel = gateway.cancel

    def too_late(**asked):
        shop.confirm_in_old_tab(waiting, "pm_card_visa")
        return cancel(**asked)

    monkeypatch.setattr(gateway, "cancel", too_late)
    give_up(waiting)
    shop.work()
    assert shop.payment(waiting).status == Status.SUCCEEDED
    assert shop.charges(waiting) == 1
    assert broken(shop) == []


def test_the_providers_own_word_of_it_may_be_faster_and_it_is_told_once(
    shop, waiting, give_up, monkeypatch
):
    gateway = gateway_for(Provider.STRIPE)
    cancel = gateway.cancel

    def heard_at_once(**asked):
        canceled = cancel(**asked)
        deliver(shop, events_of(shop, "payment_intent.canceled"), works=False)
        return canceled

    monkeypatch.setattr(gateway, "cancel", heard_at_once)
    give_up(waiting)
    shop.work()
    assert shop.payment(waiting).error_code == "canceled_by_customer"
    assert len(told_of(shop, "payment.failed")) == 1
    deliver(shop, events_of(shop, "payment_intent.canceled"))
    assert len(told_of(shop, "payment.failed")) == 1


@pytest.mark.parametrize(
    ("kind", "path"), [("drop_before", INTENT), ("drop_after", CANCEL), ("rate_limit", CANCEL)]
)
def test_what_is_not_answered_is_tried_again_within_minutes(shop, waiting, give_up, kind, path):
    shop.sandbox.control.fault(kind, path=path, count=3)
    give_up(waiting)
    shop.work_once()
    assert shop.payment(waiting).status == Status.REQUIRES_ACTION
    [again] = shop.owed("payments.cancel")
    assert again.due_at - now() < timedelta(minutes=2)
    shop.sandbox.control.clear_faults()
    shop.work()
    assert shop.payment(waiting).status == Status.CANCELED
    assert shop.payment(waiting).error_code == "canceled_by_customer"


def test_only_what_waits_for_its_customer_is_given_up(person, shop, give_up):
    for status, told in (
        (Status.PENDING, "on its way"),
        (Status.PROCESSING, "not known yet"),
        (Status.NEEDS_REVIEW, "in doubt"),
        (Status.FAILED, "free already"),
        (Status.SUCCEEDED, "refund it"),
        (Status.REFUNDED, "refund it"),
    ):
        payment_id = make_payment(person, make_invoice(person.company_id), status=status)
        problem = problem_of(give_up(payment_id), 409, "conflict")
        assert told in problem["detail"], status
    stranger = make_company()
    theirs = make_payment(
        stranger, make_invoice(stranger.company_id), status=Status.REQUIRES_ACTION
    )
    for payment_id in (theirs, new_id()):
        problem_of(give_up(payment_id), 404, "not-found")
    assert shop.owed("payments.cancel") == []


def test_who_pays_anew_is_told_how_to_give_up_what_waits(owner, shop, waiting):
    problem = problem_of(begin(owner, shop.payment(waiting).invoice_id), 409, "conflict")
    assert problem["transaction_id"] == str(waiting)
    assert f"POST {PAYMENTS}/{waiting}/cancel" in problem["detail"]
