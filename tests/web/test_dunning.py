"""Dunning on the wire: what is shown, the policy, a retry by hand, a payment resumed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from threading import Thread
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from models import invoices
from models.invoices import InvoiceStatus
from models.methods import PaymentMethod
from models.money import Money
from models.policies import stored_policy
from models.timeline import Cause, history
from models.transactions import Dunning, Status, Transaction, Trigger, lock
from tasks.declines import SETTLED_BY_HAND
from tests.factories import make_payment
from tests.tasks.dunning_shop import Shop, decline_often, opened
from tests.waiting import PATIENCE_S
from tests.web.visitor import problem_of

SOFT = "pm_sandbox_decline_insufficient_funds"
PAYMENTS = "/api/v1/payments"
POLICY = "/api/v1/retry-policy"
ASYNC = {"Prefer": "respond-async"}


@pytest.fixture
def shop(use, person, sandbox, monkeypatch) -> Iterator[Shop]:
    with opened(sandbox, monkeypatch, person) as made:
        yield made


def dunning_of(owner, shop, payment_id):
    path = f"/api/v1/invoices/{shop.payment(payment_id).invoice_id}/dunning"
    answer = owner.get(path)
    if answer.status_code == 401:
        # No token outlives the days that the clock has been set forward.
        answer = owner.sign_in(shop.customer.email).get(path)
    assert answer.status_code == 200, answer.text
    return answer.json


def retry(owner, shop, payment_id, **body):
    answer = owner.post(f"{PAYMENTS}/{payment_id}/retry", body, Prefer="respond-async")
    shop.work()
    return answer


def test_an_invoice_without_declines_has_no_dunning(owner, shop):
    payment_id = shop.pay(shop.card())
    told = dunning_of(owner, shop, payment_id)
    assert (told["state"], told["coming"], told["stopped_because"]) == ("none", [], None)
    assert told["customer_action"]["action"] == "none"
    assert [attempt["outcome"] for attempt in told["attempts"]] == ["succeeded"]
    bare = owner.get(f"/api/v1/invoices/{shop.invoice()}/dunning").json
    assert (bare["state"], bare["transaction_id"], bare["attempts"]) == ("none", None, [])


def test_what_happened_and_what_will_is_shown_with_dates_and_reasons(owner, shop):
    card = shop.card(SOFT)
    payment_id = shop.pay(card)
    shop.climb_when_due(payment_id)
    told = dunning_of(owner, shop, payment_id)
    payment = shop.payment(payment_id)
    assert told["state"] == "scheduled"
    assert told["policy"] == {"delays_h": [24, 48, 72], "is_enabled": True}
    assert (told["retries_made"], told["retries_left"]) == (1, 2)
    coming = [datetime.fromisoformat(each["at"]) for each in told["coming"]]
    assert coming == [payment.next_retry_at, payment.next_retry_at + timedelta(hours=72)]
    assert [each["is_scheduled"] for each in told["coming"]] == [True, False]
    assert told["customer_action"]["action"] == "add_funds"
    first, second = told["attempts"]
    assert (first["trigger"], second["trigger"]) == ("first", "ladder")
    assert first["method"] == {
        "payment_method_id": str(card),
        "brand": "visa",
        "last_four": "0341",
    }
    assert (first["outcome"], first["decline_code"]) == ("declined", "insufficient_funds")
    assert (first["advice"], first["action"]) == ("retry", "scheduled")
    assert first["reason"] == "The decline may pass, so the payment is tried again."
    assert datetime.fromisoformat(second["retry_at"]) == payment.next_retry_at


def test_a_card_refused_for_good_is_told_as_declined_and_no_more(owner, shop):
    payment_id = shop.pay(shop.card("pm_sandbox_decline_stolen_card"))
    told = dunning_of(owner, shop, payment_id)
    assert told["state"] == "stopped"
    assert told["stopped_because"]["reason"] == "hard_decline"
    assert told["customer_action"]["action"] == "use_another_method"
    assert told["attempts"][0]["decline_code"] == "card_declined"
    assert "stolen" not in str(told)
    shown = owner.get(f"{PAYMENTS}/{payment_id}").json
    assert (shown["error"]["code"], shown["dunning"]) == ("card_declined", "stopped")


def test_a_paid_invoice_shows_no_steps_to_come(owner, shop):
    shop.decline_next("insufficient_funds", count=1)
    payment_id = shop.pay(shop.card())
    assert len(dunning_of(owner, shop, payment_id)["coming"]) == 3
    shop.climb_when_due(payment_id)
    told = dunning_of(owner, shop, payment_id)
    assert (told["state"], told["coming"], told["retries_left"]) == ("cleared", [], 0)


def test_a_kind_that_is_tried_once_shows_one_step(owner, shop):
    payment_id = shop.pay(shop.card("pm_sandbox_decline_approve_with_id"))
    assert len(dunning_of(owner, shop, payment_id)["coming"]) == 1


def test_the_policy_is_kept_shown_and_audited(owner, shop):
    assert owner.get(POLICY).json == {"delays_h": [24, 48, 72], "is_enabled": True}
    for delays in ([1, 720], [6.0]):
        answer = owner.send("PUT", POLICY, json={"delays_h": delays})
        assert answer.json == {"delays_h": delays, "is_enabled": True}
    assert owner.get(POLICY).json["delays_h"] == [6]
    with shop.session() as session:
        stored = stored_policy(session)
        lines = history(session, [stored.id])
    assert [(line.subject, line.what, line.user_id) for line in lines] == [
        ("retry_policy", "changed", shop.customer.user_id)
    ] * 2
    assert lines[1].detail["from"]["delays_h"] == [1, 720]
    payment_id = shop.pay(shop.card(SOFT))
    told = dunning_of(owner, shop, payment_id)
    assert (len(told["coming"]), told["policy"]["delays_h"]) == (1, [6])


def test_a_retry_that_the_cards_limit_will_not_allow_is_not_promised(owner, shop):
    card = shop.card(SOFT)
    payment_id = shop.pay(card)
    decline_often(shop, card, 9)
    told = dunning_of(owner, shop, payment_id)
    assert (told["state"], told["coming"], told["retries_left"]) == ("scheduled", [], 0)
    assert told["stopped_because"]["reason"] == "card_spent"
    assert "No retry is made unless that changes" in told["stopped_because"]["sentence"]
    shop.climb_when_due(payment_id)
    ended = dunning_of(owner, shop, payment_id)
    assert (ended["state"], ended["stopped_because"]["reason"]) == ("exhausted", "card_spent")
    # By the retry's own date the declines count no more.
    old = shop.pay(shop.card("pm_sandbox_decline_card_velocity_exceeded"))
    with shop.session() as session:
        method_id = session.get_one(Transaction, old).payment_method_id
    decline_often(shop, method_id, 9, ago=timedelta(days=29, hours=12))
    assert len(dunning_of(owner, shop, old)["coming"]) == 3


@pytest.mark.parametrize(
    ("columns", "reason", "sentence"),
    [
        (
            {"status": Status.FAILED, "error_code": SETTLED_BY_HAND, "error_message": "It failed."},
            SETTLED_BY_HAND,
            "It failed.",
        ),
        (
            {"status": Status.CANCELED, "error_code": "abandoned", "error_message": "Too late."},
            "abandoned",
            "Too late.",
        ),
        ({"status": Status.CANCELED}, "canceled", "The payment was canceled."),
    ],
)
def test_a_payment_that_was_given_up_says_so_while_its_invoice_is_due(
    owner, shop, columns, reason, sentence
):
    payment_id = make_payment(shop.customer, shop.invoice(), **columns)
    told = dunning_of(owner, shop, payment_id)
    assert (told["state"], told["coming"]) == ("none", [])
    assert told["stopped_because"] == {"reason": reason, "sentence": sentence}
    assert (told["customer_action"]["action"], told["customer_action"]["resume"]) == (
        "pay_again",
        None,
    )
    shop.pay(shop.card(), invoice_id=shop.payment(payment_id).invoice_id)
    paid = dunning_of(owner, shop, payment_id)
    assert (paid["stopped_because"], paid["customer_action"]["action"]) == (None, "none")


@pytest.mark.parametrize(
    "body",
    [
        {}, {"delays_h": [24, 48, 72, 96]}, {"delays_h": [0]}, {"delays_h": [721]},
        {"delays_h": ["24"]}, {"delays_h": [1.5]}, {"delays_h": [True]}, {"delays_h": 24},
        {"delays_h": [24], "is_enabled": 1}, {"delays_h": [24], "more": 1},
    ],
)  # fmt: skip
def test_a_policy_outside_the_limits_is_refused_and_changes_nothing(owner, shop, body):
    problem_of(owner.send("PUT", POLICY, json=body), 422, "invalid")
    assert owner.get(POLICY).json["delays_h"] == [24, 48, 72]


def test_a_policy_without_steps_is_off(owner, shop):
    assert owner.send("PUT", POLICY, json={"delays_h": []}).status_code == 200
    payment_id = shop.pay(shop.card(SOFT))
    told = dunning_of(owner, shop, payment_id)
    assert (told["state"], told["stopped_because"]["reason"]) == ("exhausted", "policy_off")


def test_a_retry_by_hand_that_succeeds_ends_the_dunning(owner, shop):
    shop.decline_next("insufficient_funds", count=1)
    payment_id = shop.pay(shop.card())
    answer = retry(owner, shop, payment_id)
    assert (answer.status_code, answer.json["status"]) == (202, "processing")
    payment = shop.payment(payment_id)
    assert (payment.status, payment.dunning) == (Status.SUCCEEDED, Dunning.CLEARED)
    assert payment.next_retry_at is None
    assert [each.trigger for each in shop.attempts(payment_id)] == [Trigger.FIRST, Trigger.MANUAL]


def test_a_retry_by_hand_takes_no_step_and_keeps_the_schedule(owner, shop):
    payment_id = shop.pay(shop.card(SOFT))
    before = shop.payment(payment_id)
    retry(owner, shop, payment_id)
    after = shop.payment(payment_id)
    assert after.next_retry_at == before.next_retry_at
    assert after.retry_count == 0
    assert shop.decided(payment_id)[-1] == ("scheduled", "schedule_kept")
    told = dunning_of(owner, shop, payment_id)
    assert (told["retries_made"], told["retries_left"]) == (0, 3)
    for _ in range(3):
        shop.climb_when_due(payment_id)
    assert shop.payment(payment_id).dunning == Dunning.EXHAUSTED


def test_a_retry_by_hand_that_is_refused_for_good_stops_the_ladder(owner, shop):
    payment_id = shop.pay(shop.card(SOFT))
    retry(
        owner, shop, payment_id, payment_method_id=str(shop.card("pm_sandbox_decline_stolen_card"))
    )
    payment = shop.payment(payment_id)
    assert (payment.dunning, payment.next_retry_at) == (Dunning.STOPPED, None)


def test_a_retry_with_another_card_begins_that_cards_ladder(owner, shop):
    payment_id = shop.pay(shop.card("pm_sandbox_decline_stolen_card"))
    retry(owner, shop, payment_id, payment_method_id=str(shop.card(SOFT)))
    payment, last = shop.payment(payment_id), shop.attempts(payment_id)[-1]
    assert payment.next_retry_at - last.finished_at == timedelta(hours=24)


def test_the_caller_of_a_retry_is_told_what_became_of_it(owner, shop):
    shop.decline_next("insufficient_funds", count=1)
    payment_id = shop.pay(shop.card())
    answers = []
    key = str(uuid4())

    def ask():
        path = f"{PAYMENTS}/{payment_id}/retry"
        answers.append(owner.post(path, {}, Prefer="wait=20", Idempotency_Key=key))

    caller = Thread(target=ask)
    caller.start()
    while not shop.owed("payments.charge"):
        caller.join(0.02)
    shop.work()
    caller.join(PATIENCE_S)
    [answer] = answers
    assert (answer.status_code, answer.json["status"]) == (200, "succeeded")
    again = owner.post(f"{PAYMENTS}/{payment_id}/retry", {}, Idempotency_Key=key, **ASYNC)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(shop.attempts(payment_id)) == 2


def conflict(answer, *words: str) -> None:
    detail = problem_of(answer, 409, "conflict")["detail"]
    assert all(word in detail for word in words), detail


def test_what_has_not_failed_is_not_retried(owner, shop):
    card = shop.card()
    conflict(retry(owner, shop, shop.pay(card)), "has been paid")
    waiting = shop.owe(card)
    conflict(owner.post(f"{PAYMENTS}/{waiting}/retry", {}), "under way")
    shop.work()
    conflict(retry(owner, shop, shop.pay(None)), "waits for the customer")
    doubted = shop.pay(shop.card(SOFT))
    shop.settle_as(doubted, Status.NEEDS_REVIEW)
    conflict(retry(owner, shop, doubted), "in doubt")
    problem_of(owner.post(f"{PAYMENTS}/{uuid4()}/retry", {}), 404, "not-found")


def test_what_may_not_be_charged_is_not_retried(owner, shop):
    card = shop.card(SOFT)
    void, disputed, beside = shop.pay(card), shop.pay(card), shop.pay(card)
    with shop.session() as session:
        shop.move(session, shop.payment(void).invoice_id, InvoiceStatus.VOID)
        lock(session, disputed).is_disputed = True
    conflict(retry(owner, shop, void), "void")
    conflict(retry(owner, shop, disputed), "disputed")
    other = shop.pay(None, shop.payment(beside).invoice_id)
    conflict(retry(owner, shop, beside), str(other))
    assert [len(shop.attempts(each)) for each in (void, disputed, beside)] == [1, 1, 1]


def test_a_card_that_was_refused_for_good_is_not_retried(owner, shop):
    payment_id = shop.pay(shop.card("pm_sandbox_decline_stolen_card"))
    conflict(retry(owner, shop, payment_id), "refused for good")
    assert len(shop.attempts(payment_id)) == 1


def test_a_card_that_was_refused_for_good_begins_no_other_payment(owner, shop):
    card = shop.card("pm_sandbox_decline_stolen_card")
    shop.pay(card)
    invoice_id = shop.invoice()
    body = {"invoice_id": str(invoice_id), "amount": "100.00", "payment_method_id": str(card)}
    conflict(owner.post(f"{PAYMENTS}/create-intent", body, **ASYNC), "refused for good")
    with shop.session() as session:
        begun = select(Transaction.id).where(Transaction.invoice_id == invoice_id)
        assert session.scalars(begun).all() == []
    body["payment_method_id"] = str(shop.card())
    assert owner.post(f"{PAYMENTS}/create-intent", body, **ASYNC).status_code == 202


def test_a_retry_names_a_method_that_can_be_charged(owner, shop):
    payment_id = shop.pay(shop.card(SOFT))
    removed = shop.card("pm_card_mastercard", is_active=False)
    elsewhere = shop.card("pm_card_amex", provider="paypal")
    for method_id in (uuid4(), removed, elsewhere):
        answer = retry(owner, shop, payment_id, payment_method_id=str(method_id))
        problem_of(answer, 422, "invalid")
    in_browser = shop.pay(None)
    shop.confirm_in_old_tab(in_browser, SOFT)
    shop.refresh(in_browser)
    problem_of(retry(owner, shop, in_browser), 422, "invalid")
    assert len(shop.attempts(payment_id)) == 1


def test_a_payment_by_hand_clears_the_schedule_of_the_invoice(owner, shop):
    payment_id = shop.pay(shop.card(SOFT))
    invoice_id = shop.payment(payment_id).invoice_id
    body = {"invoice_id": str(invoice_id), "amount": "100.00"}
    good = shop.card("pm_card_mastercard")
    refused = owner.post(f"{PAYMENTS}/create-intent", {**body, "amount": "100.01"}, **ASYNC)
    assert refused.status_code == 422
    assert shop.payment(payment_id).dunning == Dunning.SCHEDULED
    answer = owner.post(
        f"{PAYMENTS}/create-intent", {**body, "payment_method_id": str(good)}, **ASYNC
    )
    assert answer.status_code == 202
    cleared = shop.payment(payment_id)
    assert (cleared.dunning, cleared.next_retry_at) == (Dunning.CLEARED, None)
    shop.work()
    assert shop.payment(UUID(answer.json["transaction_id"])).status == Status.SUCCEEDED
    with shop.session() as session:
        lines = [line for line in history(session, [payment_id]) if line.what == "dunning"]
    assert (lines[-1].why, lines[-1].user_id) == (
        "the invoice is paid by hand",
        shop.customer.user_id,
    )


def test_a_retry_of_one_payment_clears_the_schedule_of_another(owner, shop):
    first = shop.pay(shop.card("pm_sandbox_decline_expired_card"))
    second = shop.pay(shop.card(SOFT), shop.payment(first).invoice_id)
    retry(owner, shop, first, payment_method_id=str(shop.card()))
    assert (shop.payment(first).status, shop.payment(second).dunning) == ("succeeded", "cleared")


def test_who_must_confirm_gets_the_secret_of_the_same_intent(owner, shop):
    payment_id = shop.pay(shop.card("pm_card_authenticationRequired"), off_session=True)
    told = dunning_of(owner, shop, payment_id)
    assert (told["state"], told["customer_action"]["action"]) == ("asked", "authenticate")
    conflict(retry(owner, shop, payment_id), "resume")
    answers = []

    def ask():
        answers.append(owner.post(f"{PAYMENTS}/{payment_id}/resume", Prefer="wait=20"))

    caller = Thread(target=ask)
    caller.start()
    while not shop.owed("lookups.reveal"):
        caller.join(0.02)
    shop.work()
    caller.join(PATIENCE_S)
    [answer] = answers
    assert answer.status_code == 200, answer.text
    secret, intent_id = (
        answer.json["client_secret"],
        shop.payment(payment_id).provider_transaction_id,
    )
    assert secret.startswith(f"{intent_id}_secret_")
    shop.sandbox.control.confirm_in_browser(secret, payment_method="pm_card_visa")
    shop.refresh(payment_id)
    payment = shop.payment(payment_id)
    assert (payment.status, payment.dunning) == (Status.SUCCEEDED, Dunning.CLEARED)
    assert len(shop.attempts(payment_id)) == 1
    with shop.session() as session:
        assert secret not in str([line.detail for line in history(session, [payment_id])])


def test_an_intent_of_more_than_is_due_by_now_is_not_resumed(owner, shop):
    payment_id = shop.pay(shop.card("pm_card_authenticationRequired"), off_session=True)
    with shop.session() as session:
        invoice = invoices.lock(session, shop.payment(payment_id).invoice_id)
        invoices.credit(session, invoice, Money(Decimal(60), "INR"), because=Cause(why="a test"))
    conflict(owner.post(f"{PAYMENTS}/{payment_id}/resume"), "Only 40.00 INR")


def test_only_what_waits_for_the_customer_is_resumed(owner, shop):
    declined, paid = shop.pay(shop.card(SOFT)), shop.pay(shop.card())
    for payment_id in (declined, paid):
        conflict(owner.post(f"{PAYMENTS}/{payment_id}/resume"), "does not wait")
    problem_of(owner.post(f"{PAYMENTS}/{uuid4()}/resume"), 404, "not-found")


def test_the_method_that_is_shown_is_the_one_that_was_charged(owner, shop):
    old = shop.card(SOFT)
    payment_id = shop.pay(old)
    with shop.session() as session:
        session.get_one(PaymentMethod, old).is_active = False
    assert dunning_of(owner, shop, payment_id)["attempts"][0]["method"]["last_four"] == "0341"
