"""A customer pays while the payment is given up: what the provider says is what counts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from sandbox.stripe.control import Refused
from tests.web.api.shop import PAYMENTS, add_card, bill, pay

CANCEL = "/v1/payment_intents/*/cancel"
ENDS = ("canceled", "succeeded")


def begin(owner):
    """Begin a payment in the browser; return it with the browser's secret."""
    answer = pay(owner, bill(owner))
    assert (answer.status, answer.body["status"]) == (200, "requires_action"), answer
    return answer.body["transaction_id"], answer.body["client_secret"]


def give_up(owner, payment_id):
    return owner.post(f"{PAYMENTS}/{payment_id}/cancel", prefer="wait=20")


def confirm(system, secret):
    with suppress(Refused):  # it was canceled before
        system.stripe.confirm_in_browser(secret, payment_method="pm_card_visa")


def status_of(owner, payment_id):
    return owner.get(f"{PAYMENTS}/{payment_id}").body["status"]


def invoice_of(owner, payment_id):
    invoice_id = owner.get(f"{PAYMENTS}/{payment_id}").body["invoice_id"]
    return owner.get(f"/api/v1/invoices/{invoice_id}").body


def test_what_is_paid_as_it_is_given_up_ends_as_the_provider_has_it(system, owner):
    payment_id, secret = begin(owner)
    with ThreadPoolExecutor(2) as pool:
        given_up = pool.submit(give_up, owner, payment_id)
        pool.submit(confirm, system, secret).result()
    # 409: its payment was heard of before anybody could give it up.
    assert given_up.result().status in (200, 202, 409), given_up.result()
    system.wait_until(lambda: status_of(owner, payment_id) in ENDS)
    is_paid = bool(system.stripe.charges(payment_id, status="succeeded"))
    assert (status_of(owner, payment_id) == "succeeded") == is_paid
    assert invoice_of(owner, payment_id)["status"] == ("paid" if is_paid else "open")


@pytest.mark.parametrize(("kind", "is_certain"), [("drop_before", False), ("drop_after", True)])
def test_a_cancellation_whose_answer_is_lost_is_found_out(system, owner, kind, is_certain):
    """The customer pays as soon as the answer is lost: maybe in time, where it was not executed."""
    payment_id, secret = begin(owner)
    system.stripe.fault(kind, path=CANCEL)
    assert give_up(owner, payment_id).status in (200, 202)
    confirm(system, secret)
    system.wait_until(lambda: status_of(owner, payment_id) in ENDS)
    charges = system.stripe.charges(payment_id)
    assert (status_of(owner, payment_id) == "succeeded") == bool(charges)
    if is_certain:
        assert charges == []
        again = pay(owner, invoice_of(owner, payment_id)["id"], payment_method_id=add_card(owner))
        assert again.body["status"] == "succeeded", again
