"""Whatever is asked in whatever order, the book adds up."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
import requests

from sandbox.standin.control import Refused
from tests.sandbox.resource_shapes import problems
from tests.sandbox.shop import Shop
from tests.sandbox.test_stripe_shapes import RESOURCES
from tests.sandbox_fixture import API_KEY

CARDS = (
    "pm_card_visa",
    "pm_card_refundFail",
    "pm_card_pendingRefund",
    "pm_card_createDispute",
    "pm_card_createDisputeInquiry",
    "pm_card_authenticationRequired",
    "pm_card_chargeCustomerFail",
    "pm_sandbox_processing",
)
GONE = ("canceled", "failed")


class Walk:
    """Random deeds over objects that exist; a refusal is as good as success, a 500 is not."""

    def __init__(self, shop: Shop, seed: int) -> None:
        self.shop = shop
        self.random = Random(seed)
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {API_KEY}"
        self.known: dict[str, list[str]] = {"payment_intent": [], "refund": [], "dispute": []}

    def one_of(self, kind: str) -> str:
        return self.random.choice(self.known[kind][-20:] or ["none"])

    def post(self, path: str, **form: object) -> None:
        answer = self.session.post(f"{self.shop.sandbox.url}/v1/{path}", data=form, timeout=10)
        assert answer.status_code < 500, f"{path} {form}: {answer.text}"
        told = answer.json()
        if told.get("object") in self.known:
            self.known[told["object"]].append(told["id"])

    def pay(self) -> None:
        more = self.random.choice([{}, {"capture_method": "manual"}, {"confirm": "true"}])
        self.post(
            "payment_intents",
            amount=self.random.randint(50, 3000),
            currency=self.random.choice(["inr", "usd", "jpy"]),
            payment_method=self.random.choice(CARDS),
            **{"confirm": "true", "return_url": "https://x.test"} | more,
        )

    def move(self) -> None:
        verb = self.random.choice(["confirm", "capture", "cancel"])
        more = {"return_url": "https://x.test"} if verb == "confirm" else {}
        self.post(f"payment_intents/{self.one_of('payment_intent')}/{verb}", **more)

    def refund(self) -> None:
        more = self.random.choice([{}, {"amount": self.random.randint(1, 1500)}])
        self.post("refunds", payment_intent=self.one_of("payment_intent"), **more)

    def command(self) -> None:
        control = self.shop.control
        deeds = (
            lambda: control.settle(self.one_of("payment_intent")),
            lambda: control.settle(self.one_of("payment_intent"), outcome="failed"),
            lambda: control.move_refund(self.one_of("refund"), "failed"),
            lambda: control.move_refund(self.one_of("refund"), "succeeded"),
            lambda: control.authenticate(self.one_of("payment_intent")),
            lambda: control.dispute(payment_intent=self.one_of("payment_intent")),
        )
        try:
            told = self.random.choice(deeds)()
        except Refused:
            return
        if told and told["object"] == "dispute":
            self.known["dispute"].append(told["id"])
            control.end_dispute(told["id"], self.random.choice(["won", "lost"]))

    def step(self) -> None:
        self.random.choice((self.pay, self.pay, self.move, self.refund, self.command))()


@pytest.mark.parametrize("seed", range(4))
def test_a_random_walk_leaves_a_book_that_adds_up(shop: Shop, seed: int) -> None:
    walk = Walk(shop, seed)
    for _ in range(250):
        walk.step()

    book = shop.control.book()

    charged = [charge for charge in book["charges"] if charge["status"] == "succeeded"]
    assert charged
    assert max(Counter(charge["payment_intent"] for charge in charged).values()) == 1
    refunded: Counter[str] = Counter()
    for refund in book["refunds"]:
        refunded[refund["charge"]] += refund["amount"] * (refund["status"] not in GONE)
    for charge in charged:
        if charge["captured"]:
            assert charge["amount_refunded"] == refunded[charge["id"]] <= charge["amount_captured"]
    for name, resource in RESOURCES.items():
        assert [p for entry in book[name] for p in problems(entry, resource, name)] == []
