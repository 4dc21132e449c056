from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from models.methods import PaymentMethod
from tests.web.api.shop import METHODS, PAYMENTS, add_card, bill, pay, refuses


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
    for kind, token in (("card", "5C991763VB2771612"), ("bank_account", "tok_visa")):
        refuses(owner.post(METHODS, {"type": kind, "token": token}), 422, "token")


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
    # A worker may be quicker than the answer.
    assert (answer.status, answer.body["status"]) in {(202, "pending"), (201, "active")}, answer
    path = answer.headers["Location"]
    system.wait_until(lambda: owner.get(path).body["status"] == "active")


def test_a_method_that_is_not_there_is_not_found(owner):
    refuses(owner.get(f"{METHODS}/{uuid4()}"), 404)
    refuses(owner.get(f"{METHODS}/no-id"), 404)


def test_another_default_is_chosen_and_one_is_left(owner):
    first, second = add_card(owner), add_card(owner, "pm_card_mastercard")
    answer = owner.post(f"{METHODS}/{second}/default")
    assert (answer.status, answer.body["is_default"]) == (200, True), answer
    assert listed(owner) == [(second, True), (first, False)]
    assert owner.post(f"{METHODS}/{second}/default").body == answer.body


def test_of_many_defaults_chosen_at_once_one_is_left(owner):
    cards = [add_card(owner) for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda card: owner.post(f"{METHODS}/{card}/default"), [*cards, *cards])
        )
    assert {answer.status for answer in answers} == {200}, answers
    assert sum(is_default for _, is_default in listed(owner)) == 1


def test_a_removed_card_is_charged_no_more_and_the_next_is_the_default(system, owner):
    heir, card = add_card(owner), add_card(owner, "pm_card_mastercard", is_default=True)
    answer = owner.delete(f"{METHODS}/{card}", key="gone")
    assert answer.status == 200, answer
    assert (answer.body["status"], answer.body["is_default"]) == ("removed", False)
    assert answer.body["removed_at"]
    assert listed(owner) == [(heir, True)]
    refuses(pay(owner, bill(owner), payment_method_id=card), 422, "payment_method_id")
    refuses(owner.post(f"{METHODS}/{card}/default"), 409)
    refuses(owner.post(f"{METHODS}/{card}/replace", {"token": "pm_card_visa"}), 409)
    assert owner.delete(f"{METHODS}/{card}", key="gone").body == answer.body
    assert owner.delete(f"{METHODS}/{card}").body == answer.body
    assert [one["id"] for one in owner.get(f"{METHODS}?status=removed").body] == [card]
    with system.session(owner.company_id) as session:
        theirs = session.get_one(PaymentMethod, UUID(card)).provider_id
    system.wait_until(lambda: kept_for(system, theirs) is None)


def kept_for(system, provider_id):
    book = system.stripe.book()["payment_methods"]
    return next(method["customer"] for method in book if method["id"] == provider_id)


def test_a_card_that_a_payment_is_under_way_with_is_not_removed(system, owner):
    card = add_card(owner, "pm_card_authenticationRequired")
    payment = pay(owner, bill(owner), payment_method_id=card).body
    assert payment["status"] == "requires_action"
    refuses(owner.delete(f"{METHODS}/{card}"), 409)
    assert listed(owner) == [(card, True)]
    system.stripe.authenticate(
        owner.get(f"{PAYMENTS}/{payment['transaction_id']}").body["provider_transaction_id"]
    )
    path = f"{PAYMENTS}/{payment['transaction_id']}"
    system.wait_until(lambda: owner.get(path).body["status"] == "succeeded")
    assert owner.delete(f"{METHODS}/{card}").status == 200


def test_a_card_is_not_removed_under_a_payment_that_begins_with_it(owner):
    for _ in range(3):
        card, invoice = add_card(owner, "pm_sandbox_processing"), bill(owner)
        with ThreadPoolExecutor(2) as pool:
            paying = pool.submit(pay, owner, invoice, payment_method_id=card)
            removing = pool.submit(owner.delete, f"{METHODS}/{card}")
        outcome = (paying.result().status, removing.result().status)
        assert outcome in {(200, 409), (422, 200)}, (paying.result(), removing.result())


def test_a_card_is_replaced_by_another_that_takes_its_place(system, owner):
    card = add_card(owner)
    path = f"{METHODS}/{card}/replace"
    answer = owner.post(path, {"token": "pm_card_amex"}, key="new card", prefer="wait=20")
    assert (answer.status, answer.body["brand"]) == (201, "amex"), answer
    assert answer.headers["Location"] == f"{METHODS}/{answer.body['id']}"
    assert listed(owner) == [(answer.body["id"], True)]
    assert owner.get(f"{METHODS}/{card}").body["replaced_by_id"] == answer.body["id"]
    again = owner.post(path, {"token": "pm_card_amex"}, key="new card")
    assert (again.status, again.body) == (201, answer.body)
    refuses(owner.post(path, {"token": "pm_card_visa"}), 409)


def test_a_card_stays_when_its_replacement_is_declined(owner):
    card = add_card(owner)
    declined = {"token": "pm_card_chargeDeclinedLostCard"}
    refuses(owner.post(f"{METHODS}/{card}/replace", declined, prefer="wait=20"), 402)
    assert listed(owner) == [(card, True)]


def test_the_list_comes_in_pages_with_the_default_first(owner):
    cards = [add_card(owner) for _ in range(5)]
    default = cards[2]
    owner.post(f"{METHODS}/{default}/default")
    expected = [default, *(card for card in reversed(cards) if card != default)]
    for limit in (1, 2, 5):
        found, path = [], f"{METHODS}?limit={limit}&type=card"
        while path:
            answer = owner.get(path)
            assert len(answer.body) <= limit
            found += [method["id"] for method in answer.body]
            link = answer.headers.get("Link", "")
            assert not link or link.endswith('; rel="next"')
            path = link.partition(">")[0].removeprefix("<")
        assert found == expected
    assert owner.get(f"{METHODS}?type=bank_account").body == []
    refuses(owner.get(f"{METHODS}?status=lost"), 422, "status")


def add_account(owner, name):
    answer = owner.post(
        METHODS, {"type": "bank_account", "token": f"pm_usBankAccount_{name}"}, prefer="wait=20"
    )
    assert (answer.status, answer.body["type"]) == (201, "bank_account"), answer
    assert (answer.body["exp_year"], answer.body["is_expired"]) == (None, False)
    return answer.body["id"]


@pytest.mark.parametrize(
    ("account", "ends", "code"),
    [("success", "succeeded", None), ("accountClosed", "failed", "account_closed")],
)
def test_a_debit_is_in_processing_until_the_bank_answers(system, owner, account, ends, code):
    method = add_account(owner, account)
    payment = pay(owner, bill(owner, currency="USD"), payment_method_id=method)
    assert (payment.status, payment.body["status"]) == (200, "processing"), payment
    path = f"{PAYMENTS}/{payment.body['transaction_id']}"
    intent = owner.get(path).body["provider_transaction_id"]
    refuses(owner.delete(f"{METHODS}/{method}"), 409)
    system.stripe.settle(intent, outcome=None)
    system.wait_until(lambda: owner.get(path).body["status"] == ends)
    error = owner.get(path).body["error"]
    assert (error["code"] if error else None) == code
