"""The ladder over real rows and a stand-in that declines: what is charged again, and when."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select

from models.alerts import Alert
from models.clock import now
from models.invoices import Invoice, InvoiceStatus
from models.methods import PaymentMethod
from models.notifications import Notification
from models.outbox import enqueue
from models.policies import store
from models.timeline import Cause, history
from models.transactions import AttemptStatus, Dunning, Status, Trigger, lock
from schedules.ladder import RetryPolicy
from tasks import ladder, settlement
from tasks.declines import SETTLED_BY_HAND
from worker.database import transaction
from worker.gateways.base import Rejected

SOFT = "pm_sandbox_decline_insufficient_funds"


def test_a_soft_decline_climbs_three_steps_and_is_then_spent(shop):
    payment_id = shop.pay(shop.card(SOFT))
    waits = []
    for _ in range(3):
        payment = shop.payment(payment_id)
        assert (payment.status, payment.dunning) == (Status.FAILED, Dunning.SCHEDULED)
        waits.append(payment.next_retry_at - shop.attempts(payment_id)[-1].finished_at)
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


def test_a_retry_that_succeeds_pays_the_invoice_once_and_tells_it(shop):
    shop.decline_next("insufficient_funds", count=2)
    payment_id = shop.pay(shop.card())
    shop.climb_when_due(payment_id)
    shop.climb_when_due(payment_id)
    payment = shop.payment(payment_id)
    assert (payment.status, payment.dunning) == (Status.SUCCEEDED, Dunning.CLEARED)
    assert (payment.retry_count, payment.next_retry_at) == (2, None)
    assert payment.last_retry_at is not None
    assert shop.charges(payment_id) == 1
    assert shop.notices(payment_id)[-1] == ("payment_recovered", 3)
    assert [attempt.request["off_session"] for attempt in shop.attempts(payment_id)] == [
        False,
        True,
        True,
    ]


def test_nothing_is_tried_before_its_date(shop):
    payment_id = shop.pay(shop.card(SOFT))
    shop.advance(hours=23.9)
    assert not shop.climb(payment_id)
    assert len(shop.attempts(payment_id)) == 1


@pytest.mark.parametrize(
    ("token", "dunning", "reason", "template"),
    [
        ("stolen_card", Dunning.STOPPED, "hard_decline", "payment_failed"),
        ("fraudulent", Dunning.STOPPED, "hard_decline", "payment_failed"),
        ("insufficient_funds__do_not_try_again", Dunning.STOPPED, "hard_decline", "payment_failed"),
        ("do_not_honor____03", Dunning.STOPPED, "hard_decline", "payment_failed"),
        ("expired_card", Dunning.ASKED, "customer_must_act", "card_needs_update"),
        ("card_not_supported", Dunning.ASKED, "customer_must_act", "payment_failed"),
        ("code_nobody_knows", Dunning.IN_REVIEW, "unknown_decline", "payment_failed"),
        ("do_not_honor____40", Dunning.IN_REVIEW, "unknown_decline", "payment_failed"),
        ("duplicate_transaction", Dunning.IN_REVIEW, "possible_duplicate", "payment_failed"),
    ],
)
def test_a_hard_decline_never_climbs(shop, token, dunning, reason, template):
    payment_id = shop.pay(shop.card(f"pm_sandbox_decline_{token}"))
    payment = shop.payment(payment_id)
    assert (payment.dunning, payment.next_retry_at) == (dunning, None)
    assert shop.decided(payment_id) == [(dunning, reason)]
    assert shop.notices(payment_id) == [(template, 1)]
    shop.advance(days=40)
    ladder.sweep()
    shop.work()
    assert len(shop.attempts(payment_id)) == 1
    with transaction() as session:
        alerts = session.scalars(select(Alert).where(Alert.subject_id == payment_id)).all()
    assert len(alerts) == (dunning is Dunning.IN_REVIEW)


def test_who_must_authenticate_is_asked_and_never_charged_off_session_again(shop):
    payment_id = shop.pay(shop.card("pm_card_authenticationRequired"), off_session=True)
    payment = shop.payment(payment_id)
    assert (payment.dunning, payment.error_code) == (Dunning.ASKED, "authentication_required")
    with shop.session() as session:
        [notice] = session.scalars(select(Notification)).all()
    assert (notice.template, notice.arguments["action"]) == ("payment_failed", "authenticate")


def test_why_a_card_is_stolen_goods_is_kept_for_us_alone(shop):
    payment_id = shop.pay(shop.card("pm_sandbox_decline_stolen_card"))
    payment = shop.payment(payment_id)
    [attempt] = shop.attempts(payment_id)
    assert payment.error_code == "card_declined"
    assert attempt.decline_code == "stolen_card"
    assert "stolen" not in str([row.arguments for row in shop.owed("events.publish")])


@pytest.mark.parametrize(("code", "retries"), [("approve_with_id", 1), ("do_not_honor", 2)])
def test_some_declines_are_tried_again_less_often(shop, code, retries):
    payment_id = shop.pay(shop.card(f"pm_sandbox_decline_{code}"))
    with shop.session() as session:
        [notice] = session.scalars(select(Notification)).all()
    assert (notice.template, notice.arguments["action"]) == ("retry_scheduled", "contact_bank")
    for _ in range(retries):
        shop.climb_when_due(payment_id)
    assert shop.decided(payment_id)[-1] == ("exhausted", "advice_spent")
    assert len(shop.attempts(payment_id)) == retries + 1


@pytest.mark.parametrize(("advice", "wait"), [("02", 72), ("24", 24), ("25", 24), ("30", 240)])
def test_the_networks_wait_is_kept(shop, advice, wait):
    payment_id = shop.pay(shop.card(f"pm_sandbox_decline_do_not_honor____{advice}"))
    payment, [attempt] = shop.payment(payment_id), shop.attempts(payment_id)
    assert payment.next_retry_at - attempt.finished_at == timedelta(hours=wait)
    assert attempt.wait_at_least_s > 0


def test_each_step_closes_the_intent_before_it(shop):
    payment_id = shop.pay(shop.card(SOFT))
    shop.climb_when_due(payment_id)
    shop.climb_when_due(payment_id)
    book = {each["id"]: each["status"] for each in shop.sandbox.control.book()["payment_intents"]}
    statuses = [book[attempt.provider_id] for attempt in shop.attempts(payment_id)]
    assert statuses == ["canceled", "canceled", "requires_payment_method"]
    # Their events say nothing of the payment, which is about the last intent.
    for attempt in shop.attempts(payment_id)[:-1]:
        shop.refresh(payment_id, attempt.provider_id)
    payment = shop.payment(payment_id)
    assert (payment.status, payment.dunning) == (Status.FAILED, Dunning.SCHEDULED)
    assert payment.provider_transaction_id == shop.attempts(payment_id)[-1].provider_id
    assert {attempt.status for attempt in shop.attempts(payment_id)} == {AttemptStatus.DECLINED}


def test_what_was_paid_in_an_old_tab_is_not_charged_by_the_ladder(shop):
    payment_id = shop.pay(shop.card(SOFT))
    shop.confirm_in_old_tab(payment_id, "pm_card_visa")
    shop.climb_when_due(payment_id)
    payment = shop.payment(payment_id)
    assert (payment.status, payment.dunning) == (Status.SUCCEEDED, Dunning.CLEARED)
    assert shop.charges(payment_id) == 1


def test_nothing_is_sent_while_the_earlier_intent_may_be_open(shop):
    payment_id = shop.pay(shop.card(SOFT))
    shop.sandbox.control.fault("server_error", path="/v1/payment_intents/*/cancel", count=1)
    shop.advance(hours=25)
    ladder.sweep()
    shop.work_once()
    # The cancellation may have failed, so the charge was held back and is owed again.
    assert shop.payment(payment_id).status == Status.PROCESSING
    assert [attempt.status for attempt in shop.attempts(payment_id)] == ["declined", "waiting"]
    assert shop.charges(payment_id, "failed") == 1
    shop.work()
    assert shop.charges(payment_id, "failed") == 2


def test_two_beats_begin_each_retry_once(shop):
    card = shop.card(SOFT)
    payments = [shop.pay(card) for _ in range(3)]
    shop.advance(hours=25)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: ladder.sweep(), range(4)))
    assert len(shop.owed("payments.charge")) == 3
    shop.work()
    assert [len(shop.attempts(payment_id)) for payment_id in payments] == [2, 2, 2]
    assert [shop.payment(payment_id).retry_count for payment_id in payments] == [1, 1, 1]


def test_one_that_cannot_be_begun_holds_up_no_other(shop, monkeypatch, caplog):
    card = shop.card(SOFT)
    broken, well = shop.pay(card), shop.pay(card)
    shop.advance(hours=25)
    climb = ladder.climb

    def sometimes(session, payment_id):
        if payment_id == broken:
            raise RuntimeError("broken")
        return climb(session, payment_id)

    monkeypatch.setattr(ladder, "climb", sometimes)
    ladder.sweep()
    assert (shop.payment(broken).status, shop.payment(well).status) == ("failed", "processing")
    assert f"payment {broken} could not be begun again" in caplog.text


@pytest.mark.parametrize("status", [InvoiceStatus.VOID, InvoiceStatus.UNCOLLECTIBLE])
def test_an_invoice_that_is_not_open_is_not_charged(shop, status):
    payment_id = shop.pay(shop.card(SOFT))
    with shop.session() as session:
        shop.move(session, shop.payment(payment_id).invoice_id, status)
    shop.climb_when_due(payment_id)
    assert shop.payment(payment_id).dunning == Dunning.CLEARED
    assert len(shop.attempts(payment_id)) == 1


def test_no_more_is_charged_than_is_due(shop):
    shop.decline_next("insufficient_funds", count=1)
    payment_id = shop.pay(shop.card())
    shop.pay(shop.card("pm_card_mastercard"), shop.payment(payment_id).invoice_id, "60.00")
    shop.climb_when_due(payment_id)
    payment = shop.payment(payment_id)
    assert (payment.amount, payment.amount_captured) == (Decimal("40.00"), Decimal("40.00"))
    with shop.session() as session:
        assert session.get_one(Invoice, payment.invoice_id).status == InvoiceStatus.PAID


def test_another_payment_of_the_invoice_is_waited_for(shop):
    payment_id = shop.pay(shop.card(SOFT))
    other = shop.owe(None, shop.payment(payment_id).invoice_id)
    before = shop.payment(payment_id).next_retry_at
    shop.climb_when_due(payment_id)
    payment = shop.payment(payment_id)
    assert (payment.status, payment.dunning) == (Status.FAILED, Dunning.SCHEDULED)
    assert payment.next_retry_at > before
    assert shop.payment(other).status == Status.REQUIRES_ACTION
    assert len(shop.attempts(payment_id)) == 1


def test_a_disputed_invoice_is_not_charged(shop):
    payment_id = shop.pay(shop.card(SOFT))
    with shop.session() as session:
        lock(session, payment_id).is_disputed = True
    for _ in range(3):
        shop.climb_when_due(payment_id)
    assert len(shop.attempts(payment_id)) == 1
    with shop.session() as session:
        told = [line.what for line in history(session, [payment_id])]
    assert told.count("postponed") == 1


def test_of_two_that_are_scheduled_the_later_climbs(shop):
    card = shop.card(SOFT)
    first = shop.pay(card)
    second = shop.pay(card, shop.payment(first).invoice_id)
    shop.climb_when_due(first)
    assert (shop.payment(first).dunning, shop.payment(second).dunning) == ("cleared", "scheduled")
    # The invoice's count is one: with the same card another payment begins no new ladder.
    for _ in range(3):
        shop.climb_when_due(second)
    assert shop.payment(second).dunning == Dunning.EXHAUSTED


def test_a_policy_that_is_switched_off_meanwhile_ends_the_ladder(shop):
    payment_id = shop.pay(shop.card(SOFT))
    with shop.session() as session:
        store(session, shop.company_id, RetryPolicy(is_enabled=False))
    shop.climb_when_due(payment_id)
    assert shop.decided(payment_id)[-1] == ("exhausted", "policy_off")
    assert len(shop.attempts(payment_id)) == 1


def test_a_company_has_a_policy_of_its_own(shop):
    with shop.session() as session:
        store(session, shop.company_id, RetryPolicy((1,)))
    payment_id = shop.pay(shop.card(SOFT))
    payment, [attempt] = shop.payment(payment_id), shop.attempts(payment_id)
    assert payment.next_retry_at - attempt.finished_at == timedelta(hours=1)
    shop.climb_when_due(payment_id)
    assert shop.payment(payment_id).dunning == Dunning.EXHAUSTED


def test_a_provider_that_was_away_is_tried_another_day(shop, unbroken):
    card = shop.card()
    shop.sandbox.control.fault("rate_limit", path="/v1/payment_intents", count=None)
    payment_id = shop.pay(card)
    shop.sandbox.control.clear_faults()
    payment, [attempt] = shop.payment(payment_id), shop.attempts(payment_id)
    assert (payment.status, attempt.status) == (Status.FAILED, AttemptStatus.REJECTED)
    assert payment.dunning == Dunning.SCHEDULED
    shop.climb_when_due(payment_id)
    assert shop.payment(payment_id).status == Status.SUCCEEDED


def test_a_payment_in_the_browser_is_left_to_the_customer(shop):
    payment_id = shop.pay(None)
    shop.confirm_in_old_tab(payment_id, "pm_sandbox_decline_insufficient_funds")
    shop.refresh(payment_id)
    payment = shop.payment(payment_id)
    assert (payment.status, payment.dunning) == (Status.FAILED, Dunning.ASKED)
    assert shop.decided(payment_id) == [("asked", "in_browser")]
    shop.card(is_default=True)  # nobody has agreed to have it charged for this
    with shop.session() as session:
        [method_id] = session.scalars(select(PaymentMethod.id))
        enqueue(session, "ladder.restart", company_id=shop.company_id, method_id=method_id)
    shop.work()
    shop.advance(days=40)
    ladder.sweep()
    shop.work()
    assert len(shop.attempts(payment_id)) == 1
    shop.confirm_in_old_tab(payment_id, "pm_card_visa")
    shop.refresh(payment_id)
    assert shop.payment(payment_id).dunning == Dunning.CLEARED
    assert shop.notices(payment_id) == [("payment_succeeded", 0)]


@pytest.mark.parametrize(
    ("code", "dunning", "alerts"),
    [
        ("stolen_card", "asked", 0),
        ("processing_error", "asked", 0),
        ("nobody_knows", "in_review", 1),
    ],
)
def test_what_a_decline_in_the_browser_leads_to(shop, code, dunning, alerts):
    payment_id = shop.pay(None)
    shop.confirm_in_old_tab(payment_id, "pm_sandbox_decline_insufficient_funds")
    shop.refresh(payment_id)
    # Tried again there, and declined otherwise.
    shop.confirm_in_old_tab(payment_id, f"pm_sandbox_decline_{code}")
    for _ in range(2):
        shop.refresh(payment_id)
    payment = shop.payment(payment_id)
    assert (payment.status, payment.dunning) == (Status.FAILED, dunning)
    assert [state for state, _ in shop.decided(payment_id)] == ["asked", dunning]
    assert shop.notices(payment_id) == [("payment_failed", 1)] * alerts
    with transaction() as session:
        told = session.scalars(select(Alert.kind).where(Alert.subject_id == payment_id)).all()
    assert told == ["decline_in_review"] * alerts


def test_a_step_that_was_begun_is_owed_until_it_is_made(shop):
    """A worker that dies after the sweep's commit, or in the call, leaves a debt behind."""
    payment_id = shop.pay(shop.card(SOFT))
    shop.advance(hours=25)
    ladder.sweep()
    ladder.sweep()
    [owed] = shop.owed("payments.charge")
    assert owed.arguments["trigger"] == "ladder"
    assert (shop.payment(payment_id).status, len(shop.attempts(payment_id))) == ("processing", 1)
    shop.work()
    assert len(shop.attempts(payment_id)) == 2


def test_the_timeline_tells_each_decision_and_its_attempt(shop):
    payment_id = shop.pay(shop.card(SOFT))
    [attempt] = shop.attempts(payment_id)
    with shop.session() as session:
        lines = [line for line in history(session, [payment_id]) if line.what == "dunning"]
    assert [line.attempt_id for line in lines] == [attempt.id]
    assert lines[0].why == "The decline may pass, so the payment is tried again."
    assert lines[0].provider_request_id.startswith("req_")


def test_nothing_is_scheduled_where_now_is_a_day_ahead(shop):
    """A clock that jumps makes what is due come sooner, once, and nothing twice."""
    payment_id = shop.pay(shop.card(SOFT))
    shop.advance(hours=25)
    ladder.sweep()
    shop.work()
    ladder.sweep()
    shop.work()
    assert len(shop.attempts(payment_id)) == 2
    assert shop.payment(payment_id).next_retry_at > now()


@pytest.mark.parametrize("is_scheduled", [True, False])
def test_what_a_person_has_settled_as_failed_is_left_to_them(shop, is_scheduled):
    payment_id = shop.pay(shop.card(SOFT))
    shop.settle_as(payment_id, Status.NEEDS_REVIEW)
    with shop.session() as session:
        payment = lock(session, payment_id)
        if not is_scheduled:
            payment.dunning, payment.next_retry_at = Dunning.NONE, None
        by_hand = Rejected(message="The payment has failed.", code=SETTLED_BY_HAND)
        settlement.fail(session, payment, None, by_hand, cause=Cause(why="a person"))
    payment = shop.payment(payment_id)
    assert (payment.status, payment.next_retry_at) == (Status.FAILED, None)
    assert payment.dunning == (Dunning.CLEARED if is_scheduled else Dunning.NONE)
    with transaction() as session:
        assert not session.scalars(select(Alert).where(Alert.subject_id == payment_id)).all()
