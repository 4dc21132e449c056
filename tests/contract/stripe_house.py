"""Stripe's house: our stand-in, or Stripe's test mode."""

from __future__ import annotations

from decimal import Decimal

import orjson
import pytest

from models.clock import now
from models.ids import new_id
from models.money import Money
from tests.contract.house import Answered, Delivery, Loss, Pays
from tests.contract.stand_in import StandIn
from tests.sandbox.webhook_catcher import Catcher
from tests.sandbox_fixture import API_KEY, WEBHOOK_SECRET, SandboxProcess
from worker import signatures
from worker.gateways.base import Gateway, Intent
from worker.gateways.stripe.client import StripeGateway
from worker.gateways.stripe.minor import money_of
from worker.gateways.stripe.translate import intent_of, refund_of

CHARGES = "/v1/payment_intents"
REFUNDS = "/v1/refunds"
SIGNATURE = "Stripe-Signature"
# Stripe's own names, which its test mode knows as well.
REAL = {Pays.WELL: "pm_card_visa", Pays.NOT_NOW: "pm_card_chargeCustomerFail"}
TOKENS = {
    **REAL,
    Pays.NEVER: "pm_sandbox_decline_lost_card",
    Pays.UNLISTED: "pm_sandbox_decline_no_such_code",
    Pays.LATER: "pm_sandbox_processing",
}
LOSSES = {
    Loss.ANSWER: {"kind": "drop_after"},
    Loss.REQUEST: {"kind": "drop_before"},
    Loss.ERROR_AFTER: {"kind": "server_error", "executed": True},
    Loss.ERROR_BEFORE: {"kind": "server_error", "executed": False},
    Loss.IN_USE: {"kind": "key_in_use"},
}


def money(amount: str, currency: str) -> Money:
    return Money(Decimal(amount), currency)


class StripeHouse:
    name = "stripe"
    is_stand_in = False
    method_type = "card"
    saves_errors = True
    currency = "EUR"
    odd_money = (
        money("1099", "JPY"),
        money("1.50", "KWD"),
        money("500", "ISK"),
        money("7000", "UGX"),
        money("1099.00", "HUF"),
        money("499.99", "INR"),
    )
    refused_money = ()  # our rows hold nothing that Stripe does not take

    def __init__(self, gateway: StripeGateway) -> None:
        self.gateway: Gateway = gateway

    def stranger(self) -> Gateway:
        return StripeGateway(api_key="sk_test_of_nobody", api_base="", timeout_s=20)

    def token(self, customer: str) -> str:
        return "tok_visa"

    def method(self, customer: str, pays: Pays = Pays.WELL) -> str:
        token = (TOKENS if self.is_stand_in else REAL).get(pays)
        if token is None:
            pytest.skip(f"Stripe's test mode has no card that pays {pays} once it is kept")
        return self.gateway.attach_method(
            key=str(new_id()), customer=customer, token=token, type="card"
        ).provider_id

    def approve(self, intent: Intent) -> None:
        # In test mode the server may confirm in the browser's place.
        self.gateway.confirm(
            key=str(new_id()),
            provider_id=intent.provider_id,
            method="pm_card_visa",
            off_session=False,
            return_url="https://shop.example/back",
        )

    def taken(self, transaction_id: str) -> list[tuple[Decimal, Decimal]]:
        pytest.skip(f"Stripe's search of {transaction_id} is behind; its dashboard is the book")


class StripeStandIn(StandIn, StripeHouse):
    charges_path = CHARGES
    refunds_path = REFUNDS
    all_paths = "/v1/*"
    losses = LOSSES

    def __init__(self, process: SandboxProcess, catcher: Catcher) -> None:
        super().__init__(StripeGateway(api_key=API_KEY, api_base=process.url, timeout_s=10))
        self._process = process
        self._book = process.control
        self._catcher = catcher

    def stranger(self) -> Gateway:
        return StripeGateway(api_key="nonsense", api_base=self._process.url, timeout_s=10)

    def approve(self, intent: Intent) -> None:
        self._book.confirm_in_browser(intent.client_secret, payment_method="pm_card_visa")

    def settle(self, intent: Intent) -> None:
        self._book.settle(intent.provider_id)

    def taken(self, transaction_id: str) -> list[tuple[Decimal, Decimal]]:
        return [
            (
                money_of(charge["amount_captured"], charge["currency"]).amount,
                money_of(charge["amount_refunded"], charge["currency"]).amount,
            )
            for charge in self._book.charges(transaction_id)
        ]

    def hear(self, delivery: Delivery) -> tuple[str, Answered]:
        keys = signatures.keys_of(WEBHOOK_SECRET)
        header = delivery.headers.get(SIGNATURE)
        signatures.check(delivery.body, header, keys, at_s=now().timestamp())
        event = signatures.event_of(delivery.body)
        told = orjson.loads(delivery.body)["data"]["object"]
        if event.type.startswith("payment_intent."):
            return event.id, intent_of(told)
        return event.id, refund_of(told) if event.type.startswith("refund.") else None
