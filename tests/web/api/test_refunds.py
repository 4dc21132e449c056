from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from tests.web.api.shop import PAYMENTS, add_card, bill, paid, pay, refuses


def refund(owner, payment_id, amount, *, key=None, **more):
    body = {"amount": amount, **more}
    return owner.post(f"{PAYMENTS}/{payment_id}/refund", body, key=key, prefer="wait=20")


def test_a_refund_goes_out_and_the_payment_says_so(system, owner):
    payment_id = paid(owner)
    answer = refund(owner, payment_id, 40, reason="customer_request", notes="They asked.")
    assert answer.status == 201, answer
    assert answer.body["status"] == "succeeded"
    assert (answer.body["reason"], answer.body["notes"]) == ("requested", "They asked.")
    shown = owner.get(answer.headers["Location"]).body
    assert shown == answer.body
    payment = owner.get(f"{PAYMENTS}/{payment_id}").body
    assert (payment["status"], payment["amount_refunded"]) == ("partially_refunded", 40)
    [charge] = system.stripe.charges(payment_id)
    assert charge["amount_refunded"] == 4000


def test_the_whole_payment_can_be_given_back_and_not_a_cent_more(system, owner):
    payment_id = paid(owner)
    refuses(refund(owner, payment_id, "100.01"), 422, "amount")
    assert refund(owner, payment_id, "99.99").status == 201
    refuses(refund(owner, payment_id, "0.02"), 422, "amount")
    assert refund(owner, payment_id, "0.01").status == 201
    assert owner.get(f"{PAYMENTS}/{payment_id}").body["status"] == "refunded"
    refuses(refund(owner, payment_id, "0.01"), 422, "amount")
    listed = owner.get(f"{PAYMENTS}/{payment_id}/refunds").body["data"]
    assert [str(one["amount"]) for one in listed] == ["99.99", "0.01"]


def test_refunds_at_once_never_exceed_what_was_captured(system, owner):
    payment_id = paid(owner)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: refund(owner, payment_id, 30), range(8)))
    assert sorted(answer.status for answer in answers) == [201] * 3 + [422] * 5
    [charge] = system.stripe.charges(payment_id)
    assert charge["amount_refunded"] == 9000


def test_the_same_key_refunds_once(system, owner):
    payment_id = paid(owner)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: refund(owner, payment_id, 30, key="once"), range(8)))
    assert {(answer.status, answer.text) for answer in answers} == {(201, answers[0].text)}
    [charge] = system.stripe.charges(payment_id)
    assert charge["amount_refunded"] == 3000


def test_only_a_payment_that_was_captured_can_be_given_back(owner):
    waiting = pay(owner, bill(owner)).body["transaction_id"]
    refuses(refund(owner, waiting, 1), 409)
    bad = add_card(owner, "pm_card_chargeCustomerFail")
    failed = pay(owner, bill(owner), payment_method_id=bad).body["transaction_id"]
    refuses(refund(owner, failed, 1), 409)
    refuses(refund(owner, str(uuid4()), 1), 404)
    refuses(refund(owner, "no id", 1), 404)


@pytest.mark.parametrize(
    ("field", "value"),
    [("amount", "0"), ("amount", "1.001"), ("amount", None), ("reason", "spite"), ("notes", 1),
     ("notes", "x" * 2001), ("colour", "red")],
)  # fmt: skip
def test_a_refund_that_makes_no_sense_is_refused_by_name(owner, field, value):
    payment_id = paid(owner)
    refuses(refund(owner, payment_id, **{"amount": 1, field: value}), 422, field)


def test_a_refund_is_found_only_under_its_own_payment(owner):
    one, another = paid(owner), paid(owner)
    refund_id = refund(owner, one, 1).body["refund_id"]
    assert owner.get(f"{PAYMENTS}/{one}/refunds/{refund_id}").status == 200
    refuses(owner.get(f"{PAYMENTS}/{another}/refunds/{refund_id}"), 404)
