"""A card's own limit, and what a new card does for invoices that were given up."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select

from models import cards
from models.dunning import owe_restart
from models.methods import MethodStatus, PaymentMethod
from models.policies import store
from models.transactions import AttemptStatus, Dunning, Status, Transaction, Trigger
from schedules.ladder import RetryPolicy
from tasks import ladder
from tests.bell import ring
from tests.tasks.dunning_shop import Shop, decline_often

SOFT = "pm_sandbox_decline_insufficient_funds"
HARD = "pm_sandbox_decline_stolen_card"


def test_the_eleventh_attempt_on_a_card_never_reaches_the_provider(shop):
    card = shop.card()
    decline_often(shop, card, 10)
    payment_id = shop.pay(card)
    payment = shop.payment(payment_id)
    assert (payment.status, payment.error_code) == (Status.FAILED, "card_attempts_exhausted")
    assert payment.dunning == Dunning.EXHAUSTED
    assert shop.attempts(payment_id) == []
    assert shop.sandbox.control.book()["payment_intents"] == []
    assert shop.notices(payment_id) == [("retries_exhausted", 0)]
    # Another card of the same company is not that card.
    assert shop.payment(shop.pay(shop.card("pm_card_mastercard"))).status == Status.SUCCEEDED


def test_the_tenth_attempt_is_still_made(shop):
    card = shop.card()
    decline_often(shop, card, 9)
    assert shop.payment(shop.pay(card)).status == Status.SUCCEEDED


def test_a_card_may_be_charged_again_when_its_window_frees(shop):
    card = shop.card()
    decline_often(shop, card, 10)
    assert shop.payment(shop.pay(card)).status == Status.FAILED
    shop.advance(days=30)
    assert shop.payment(shop.pay(card)).status == Status.SUCCEEDED


def test_the_ladder_stops_at_the_cards_limit(shop):
    card = shop.card(SOFT)
    payment_id = shop.pay(card)
    decline_often(shop, card, 9)
    shop.climb_when_due(payment_id)
    assert shop.decided(payment_id)[-1] == ("exhausted", "card_spent")
    assert len(shop.attempts(payment_id)) == 1


def test_a_card_that_two_companies_use_is_counted_once(shop):
    card = shop.card()
    neighbour = Shop(shop.sandbox)
    theirs = neighbour.card()
    with shop.session() as session:
        fingerprint = session.get_one(PaymentMethod, card).fingerprint
    with neighbour.session() as session:
        session.get_one(PaymentMethod, theirs).fingerprint = fingerprint
    decline_often(shop, card, 10)
    assert neighbour.payment(neighbour.pay(theirs)).error_code == "card_attempts_exhausted"


def test_attempts_that_may_be_the_last_wait_for_each_other(shop):
    card = shop.card(SOFT)
    decline_often(shop, card, 8)
    payments = [shop.owe(card) for _ in range(4)]
    owed = shop.owed("payments.charge")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda row: ring("payments.charge", row.id), owed))
    shop.work()
    made = sum(len(shop.attempts(payment_id)) for payment_id in payments)
    assert made == 2
    codes = sorted(str(shop.payment(payment_id).error_code) for payment_id in payments)
    assert codes == [*["card_attempts_exhausted"] * 2, *["insufficient_funds"] * 2]


def test_an_attempt_declined_between_the_two_looks_is_counted(shop, monkeypatch):
    card = shop.card()
    history = decline_often(shop, card, 10)
    set_last(shop, history, AttemptStatus.CALLING)
    looked = []

    def then_declined(look):
        def looking(*args, **more):
            seen = look(*args, **more)
            if not looked:
                set_last(shop, history, AttemptStatus.DECLINED)
            looked.append(look.__name__)
            return seen

        return looking

    for look in (cards.under_way_on, cards.declines_of):
        monkeypatch.setattr(cards, look.__name__, then_declined(look))
    payment_id = shop.owe(card)
    [owed] = shop.owed("payments.charge")
    ring(owed.task, owed.id)
    assert len(looked) >= 2
    assert shop.attempts(payment_id) == []


def set_last(shop: Shop, payment_id, status: AttemptStatus) -> None:
    """Have the last attempt of a card's history be under way, or declined."""
    with shop.session() as session:
        last = session.get_one(Transaction, payment_id).attempts[-1]
        last.status = status
        last.advice = "retry" if status == AttemptStatus.DECLINED else None


def test_a_card_without_declines_is_charged_for_many_invoices_at_once(shop):
    card = shop.card()
    payments = [shop.owe(card) for _ in range(12)]
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda row: ring(row.task, row.id), shop.owed("payments.charge")))
    assert {shop.payment(payment_id).status for payment_id in payments} == {Status.SUCCEEDED}


def restart(shop: Shop, method_id) -> None:
    with shop.session() as session:
        for method in session.scalars(select(PaymentMethod).where(PaymentMethod.is_default)):
            method.is_default = False
        session.flush()
        method = session.get_one(PaymentMethod, method_id)
        method.is_default = True
        owe_restart(session, method)
    shop.work()
    ladder.sweep()
    shop.work()


@pytest.mark.parametrize("token", [HARD, "pm_sandbox_decline_expired_card"])
def test_a_new_card_pays_what_was_given_up(shop, token):
    old = shop.card(token)
    first, second = shop.pay(old), shop.pay(old)
    restart(shop, shop.card("pm_card_mastercard"))
    for payment_id in (first, second):
        payment = shop.payment(payment_id)
        assert (payment.status, payment.dunning) == (Status.SUCCEEDED, Dunning.CLEARED)
        assert shop.attempts(payment_id)[-1].trigger == Trigger.FIRST
        assert shop.decided(payment_id)[1] == ("scheduled", "new_card")
        assert shop.notices(payment_id)[-1] == ("payment_recovered", 2)


def test_a_new_card_has_a_budget_of_its_own(shop):
    with_old = shop.card(SOFT)
    payment_id = shop.pay(with_old)
    for _ in range(3):
        shop.climb_when_due(payment_id)
    assert shop.payment(payment_id).dunning == Dunning.EXHAUSTED
    restart(shop, shop.card("pm_sandbox_decline_processing_error"))
    for _ in range(3):
        shop.climb_when_due(payment_id)
    assert shop.payment(payment_id).dunning == Dunning.EXHAUSTED
    triggers = [attempt.trigger for attempt in shop.attempts(payment_id)]
    assert triggers == [Trigger.FIRST, *[Trigger.LADDER] * 3] * 2


def test_a_card_that_was_tried_is_no_new_card(shop):
    card = shop.card(HARD)
    payment_id = shop.pay(card)
    restart(shop, card)
    assert shop.payment(payment_id).dunning == Dunning.STOPPED
    assert len(shop.attempts(payment_id)) == 1


def test_a_card_whose_details_were_mended_is_tried_again(shop):
    card = shop.card("pm_sandbox_decline_incorrect_cvc")
    payment_id = shop.pay(card)
    restart(shop, card)
    assert [attempt.trigger for attempt in shop.attempts(payment_id)] == ["first", "ladder"]


def test_who_must_authenticate_is_not_charged_behind_their_back_with_the_same_card(shop):
    card = shop.card("pm_card_authenticationRequired")
    payment_id = shop.pay(card, off_session=True)
    restart(shop, card)
    assert len(shop.attempts(payment_id)) == 1


def test_what_a_person_must_look_at_is_not_restarted(shop):
    payment_id = shop.pay(shop.card("pm_sandbox_decline_code_nobody_knows"))
    restart(shop, shop.card("pm_card_mastercard"))
    assert shop.payment(payment_id).dunning == Dunning.IN_REVIEW


def test_a_card_that_was_removed_gives_way_to_the_default(shop):
    old = shop.card(SOFT)
    payment_id = shop.pay(old)
    remove(shop, old)
    new = shop.card("pm_card_mastercard", is_default=True)
    shop.climb_when_due(payment_id)
    payment = shop.payment(payment_id)
    assert (payment.status, payment.payment_method_id) == (Status.SUCCEEDED, new)


def test_a_card_that_has_ended_gives_way_to_the_default(shop):
    old = shop.card(SOFT, exp_year=2020, exp_month=1)
    payment_id = shop.pay(old)
    shop.make_default(old, is_default=False)
    new = shop.card("pm_card_mastercard", is_default=True)
    shop.climb_when_due(payment_id)
    assert shop.payment(payment_id).payment_method_id == new


def test_a_card_that_was_replaced_gives_way_to_its_successor(shop):
    old = shop.card(SOFT)
    payment_id = shop.pay(old)
    new = shop.card("pm_card_mastercard")
    remove(shop, old, replaced_by_id=new)
    shop.climb_when_due(payment_id)
    assert shop.payment(payment_id).payment_method_id == new


def test_without_any_card_the_customer_is_asked(shop):
    card = shop.card(SOFT)
    payment_id = shop.pay(card)
    remove(shop, card)
    shop.climb_when_due(payment_id)
    assert shop.decided(payment_id)[-1] == ("asked", "card_gone")
    assert shop.notices(payment_id)[-1] == ("card_needs_update", 1)


def test_a_card_that_is_refused_for_good_elsewhere_climbs_no_more(shop):
    shop.decline_next("insufficient_funds", count=1)
    card = shop.card()
    payment_id = shop.pay(card)
    shop.decline_next("stolen_card", count=1)
    shop.pay(card)
    shop.climb_when_due(payment_id)
    assert shop.decided(payment_id)[-1] == ("stopped", "hard_decline")


def remove(shop: Shop, method_id, **columns) -> None:
    with shop.session() as session:
        method = session.get_one(PaymentMethod, method_id)
        method.status, method.is_active = MethodStatus.REMOVED, False
        method.is_default = False
        for name, value in columns.items():
            setattr(method, name, value)


def test_what_the_network_asks_of_a_card_holds_for_all_its_invoices(shop):
    shop.decline_next("insufficient_funds", count=1)
    card = shop.card()
    payment_id = shop.pay(card)
    shop.decline_next("do_not_honor", network_advice_code="30", count=1)
    other = shop.attempts(shop.pay(card))[0]
    shop.climb_when_due(payment_id)
    payment = shop.payment(payment_id)
    assert len(shop.attempts(payment_id)) == 1
    assert payment.next_retry_at == other.finished_at + timedelta(days=10)
    assert shop.decided(payment_id)[-1] == ("scheduled", "network_wait")
    shop.climb_when_due(payment_id)
    assert shop.payment(payment_id).status == Status.SUCCEEDED


def test_a_new_card_restarts_nothing_where_retries_are_off(shop):
    payment_id = shop.pay(shop.card(HARD))
    with shop.session() as session:
        store(session, shop.company_id, RetryPolicy(is_enabled=False))
    restart(shop, shop.card("pm_card_mastercard"))
    assert shop.payment(payment_id).dunning == Dunning.STOPPED
