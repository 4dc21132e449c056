from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from models.methods import PaymentMethod
from tests.web.api.shop import METHODS, add_card, refuses


def listed(owner):
    return [(one["id"], one["is_default"]) for one in owner.get(METHODS).body]


def test_a_card_is_kept_without_its_number(system, owner):
    answer = owner.post(METHODS, {"type": "card", "token": "pm_card_visa"}, prefer="wait=20")
    assert answer.status == 201, answer
    card = answer.body
    assert (card["type"], card["brand"], card["last_four"]) == ("card", "visa", "4242")
    assert card["exp_year"] > 2025
    assert 1 <= card["exp_month"] <= 12
    assert owner.get(answer.headers["Location"]).body == card
    assert owner.get(METHODS).body == [card]
    with system.session(owner.company_id) as session:
        assert session.scalars(select(PaymentMethod.token)).all() == [None]


def test_the_first_method_is_the_default_until_another_is_asked_to_be(owner):
    first = add_card(owner)
    assert listed(owner) == [(first, True)]
    second = add_card(owner, "pm_card_mastercard")
    assert listed(owner) == [(first, True), (second, False)]
    third = add_card(owner, "pm_card_amex", is_default=True)
    assert listed(owner) == [(third, True), (second, False), (first, False)]


def test_of_many_first_methods_at_once_one_is_the_default(owner):
    with ThreadPoolExecutor(6) as pool:
        added = list(pool.map(lambda _: add_card(owner, is_default=True), range(6)))
    defaults = [is_default for _, is_default in listed(owner)]
    assert len(added) == 6
    assert sum(defaults) == 1


def test_a_card_that_the_provider_declines_is_refused_with_its_code(owner):
    body = {"type": "card", "token": "pm_card_chargeDeclinedInsufficientFunds"}
    answer = owner.post(METHODS, body, key="declined", prefer="wait=20")
    refuses(answer, 402)
    assert answer.body["code"] == "insufficient_funds"
    again = owner.post(METHODS, body, key="declined")
    refuses(again, 402)
    assert again.body["code"] == "insufficient_funds"
    assert listed(owner) == []


def test_a_card_that_is_kept_already_is_refused_in_plain_words(system, owner):
    card = add_card(owner)
    with system.session(owner.company_id) as session:
        theirs = session.get_one(PaymentMethod, UUID(card)).provider_id
    answer = owner.post(METHODS, {"type": "card", "token": theirs}, prefer="wait=20")
    refuses(answer, 402)
    assert answer.body["code"] == "already_kept"
    assert answer.body["detail"] == "The company has this payment method already."
    assert listed(owner) == [(card, True)]


@pytest.mark.parametrize(
    "token",
    ["", "4242424242424242", "tok_", "sk_live_" + "1" * 24, "tok_" + "x" * 260, "tok_é", None, 1],
)
def test_what_is_no_token_is_refused_and_never_repeated(owner, token):
    answer = owner.post(METHODS, {"type": "card", "token": token})
    refuses(answer, 422, "token")
    if isinstance(token, str) and len(token) > 4:
        assert token not in answer.text


def test_a_token_that_the_provider_does_not_know_is_refused(owner):
    answer = owner.post(METHODS, {"type": "card", "token": "tok_unheard_of"}, prefer="wait=20")
    refuses(answer, 402)
    assert "tok_unheard_of" not in answer.text


def test_a_type_that_we_do_not_take_is_refused(owner):
    refuses(owner.post(METHODS, {"type": "cheque", "token": "tok_visa"}), 422, "type")
    refuses(owner.post(METHODS, {"type": "paypal", "token": "tok_visa"}), 422, "type")


def test_the_same_key_adds_one_card(system, owner):
    body = {"type": "card", "token": "pm_card_visa"}
    with ThreadPoolExecutor(20) as pool:
        answers = list(
            pool.map(lambda _: owner.post(METHODS, body, key="once", prefer="wait=20"), range(20))
        )
    assert {(answer.status, answer.text) for answer in answers} == {(201, answers[0].text)}
    assert len(listed(owner)) == 1


def test_who_does_not_wait_finds_the_card_later(system, owner):
    body = {"type": "card", "token": "pm_card_visa"}
    answer = owner.post(METHODS, body, prefer="respond-async")
    assert (answer.status, answer.body["status"]) == (202, "pending"), answer
    path = answer.headers["Location"]
    system.wait_until(lambda: owner.get(path).body["status"] == "active")


def test_a_method_that_is_not_there_is_not_found(owner):
    refuses(owner.get(f"{METHODS}/{uuid4()}"), 404)
    refuses(owner.get(f"{METHODS}/no-id"), 404)
