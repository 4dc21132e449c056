"""Ninety days of a few companies over real rows and a stand-in, judged by the policy table.

A thousand customers live through the same days without rows in `tests/schedules`.
"""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from sqlalchemy import select

from models import clock, invariants
from models.dunning import owe_restart
from models.methods import PaymentMethod
from models.transactions import AttemptStatus, PaymentAttempt, Status, Transaction, Trigger
from tasks import ladder
from tests.schedules.policy_table import BY_CODE, BY_NETWORK, Made, judge
from tests.tasks.dunning_shop import Shop
from worker.database import transaction

DAYS = 90
GOOD = 0.35
A_NEW_CARD = 0.04
CARDS = ("pm_card_visa", "pm_card_mastercard", "pm_card_amex", "pm_card_discover", "pm_card_jcb")
HARD = ("stolen_card", "expired_card", "a_code_nobody_knows")


def decide_fate(shop: Shop, chance: random.Random) -> None:
    """Let whatever is charged next succeed or be declined in one of the table's ways."""
    shop.sandbox.control.clear_faults()
    if chance.random() < GOOD:
        return
    soft = [code for code in BY_CODE if code not in (*HARD, "authentication_required")]
    code = chance.choice(soft if chance.random() < 0.9 else HARD)
    network = chance.choice(sorted(BY_NETWORK)) if chance.random() < 0.2 else None
    shop.decline_next(code, network_advice_code=network, count=None)


def use_another_card(shop: Shop, number: int):
    card = shop.card(CARDS[number % len(CARDS)])
    with shop.session() as session:
        for method in session.scalars(select(PaymentMethod).where(PaymentMethod.is_default)):
            method.is_default = False
        session.flush()
        method = session.get_one(PaymentMethod, card)
        method.is_default = True
        owe_restart(session, method)
    shop.work()
    return card


def made_by(shop: Shop) -> list[Made]:
    with shop.session() as session:
        rows = session.execute(
            select(PaymentAttempt, Transaction.invoice_id)
            .join(Transaction, Transaction.id == PaymentAttempt.transaction_id)
            .order_by(PaymentAttempt.id)
        ).all()
    return [
        Made(
            attempt.created_at,
            str(invoice_id),
            str(attempt.fingerprint),
            attempt.trigger is Trigger.LADDER,
            attempt.decline_code or "",
            attempt.network_advice_code or "",
        )
        for attempt, invoice_id in rows
        if attempt.status in (AttemptStatus.DECLINED, AttemptStatus.SUCCEEDED)
    ]


@pytest.mark.parametrize("seed", [2, 3])
def test_no_attempt_is_made_outside_the_policy_table(shop, seed):
    chance = random.Random(seed)
    card, cards, payments = use_another_card(shop, 0), 1, []
    for day in range(DAYS):
        if day % 15 == 0:
            decide_fate(shop, chance)
            payments.append(shop.pay(card))
        if chance.random() < A_NEW_CARD:
            card, cards = use_another_card(shop, cards), cards + 1
        decide_fate(shop, chance)
        ladder.sweep()
        shop.work()
        shop.advance(hours=chance.uniform(20, 28))
    made = made_by(shop)
    assert not judge(made)
    assert sum(attempt.is_ladder for attempt in made)
    for payment_id in payments:
        is_paid = shop.payment(payment_id).status == Status.SUCCEEDED
        assert shop.charges(payment_id) == is_paid
    with transaction() as session:
        found = invariants.check(session, limit=1000)
    assert not [each for each in found if any(str(one) in each.detail for one in payments)]
    assert clock.now() > shop.payment(payments[0]).created_at + timedelta(days=80)
