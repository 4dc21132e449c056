"""PayPal's house: our stand-in, or PayPal's sandbox."""

from __future__ import annotations

import os
from decimal import Decimal

import orjson
import pytest

from models.clock import now
from models.money import Money
from tests.contract.house import Answered, Delivery, Loss, Pays
from tests.contract.stand_in import StandIn
from tests.sandbox.paypal_shop import SETUPS, PayPalShop
from tests.sandbox.webhook_catcher import Catcher
from tests.sandbox_fixture import PayPalProcess
from worker import transmissions
from worker.gateways.base import Gateway, Intent
from worker.gateways.paypal import signatures
from worker.gateways.paypal.certificates import Certificates
from worker.gateways.paypal.client import PayPalGateway
from worker.gateways.paypal.translate import intent_of, intent_of_capture, metadata_of, refund_of

ORDERS = "/v2/checkout/orders"
REFUNDS = "/v2/payments/captures/*/refund"
PAYERS = {
    Pays.WELL: "payer",
    Pays.NOT_NOW: "denied_5120",
    Pays.NEVER: "transaction_refused",
    Pays.UNLISTED: "denied_0001",
    Pays.LATER: "pending",
}
LOSSES = {
    Loss.ANSWER: {"kind": "drop_after"},
    Loss.REQUEST: {"kind": "drop_before"},
    Loss.ERROR_AFTER: {"kind": "server_error", "executed": True},
    Loss.ERROR_BEFORE: {"kind": "server_error", "executed": False},
    Loss.IN_USE: {"kind": "key_in_use"},
}
BACK = {"return_url": "https://shop.example/back", "cancel_url": "https://shop.example/gone"}
# A payment token of PayPal's sandbox that a person has made there, for its test mode.
GIVEN_TOKEN = "PAYPAL_CONTRACT_TOKEN"


def money(amount: str, currency: str) -> Money:
    return Money(Decimal(amount), currency)


def gateway_at(base: str, client_id: str = "client", secret: str = "secret") -> PayPalGateway:
    return PayPalGateway(
        client_id=client_id,
        client_secret=secret,
        api_base=base,
        timeout_s=20,
        return_url="https://shop.example/back",
        cancel_url="",
    )


class PayPalHouse:
    name = "paypal"
    is_stand_in = False
    method_type = "paypal"
    saves_errors = False
    currency = "EUR"
    odd_money = (money("1099", "JPY"), money("1099.00", "HUF"), money("70.00", "TWD"))
    refused_money = (money("10.00", "INR"), money("10.50", "HUF"), money("1.50", "KWD"))

    def __init__(self, gateway: PayPalGateway) -> None:
        self.gateway: Gateway = gateway

    def stranger(self) -> Gateway:
        return gateway_at("https://api-m.sandbox.paypal.com", "nobody", "nothing")

    def token(self, customer: str) -> str:
        pytest.skip("at PayPal's sandbox a person must approve a setup token")

    def method(self, customer: str, pays: Pays = Pays.WELL) -> str:
        given = os.environ.get(GIVEN_TOKEN)
        if given is None or pays is not Pays.WELL:
            pytest.skip(f"PayPal's sandbox has no kept method that pays {pays}: see {GIVEN_TOKEN}")
        return given

    def approve(self, intent: Intent) -> None:
        pytest.skip(f"at PayPal's sandbox a person must approve {intent.provider_id}")

    def taken(self, transaction_id: str) -> list[tuple[Decimal, Decimal]]:
        pytest.skip(f"PayPal's search of {transaction_id} is three hours behind")


class PayPalStandIn(StandIn, PayPalHouse):
    charges_path = ORDERS
    refunds_path = REFUNDS
    all_paths = "/v[123]/*"
    losses = LOSSES

    def __init__(self, process: PayPalProcess, catcher: Catcher) -> None:
        super().__init__(gateway_at(process.url))
        self._process = process
        self._book = process.control
        self._catcher = catcher
        self._certificates = Certificates(api_base=process.url, timeout_s=5)

    def stranger(self) -> Gateway:
        return gateway_at(self._process.url, client_id="", secret="")

    def token(self, customer: str) -> str:
        wallet = {"usage_type": "MERCHANT", "experience_context": BACK}
        body = {"customer": {"id": customer}, "payment_source": {"paypal": wallet}}
        setup: str = PayPalShop(self._process).post(SETUPS, body)["id"]
        self._book.approve(setup)
        return setup

    def method(self, customer: str, pays: Pays = Pays.WELL) -> str:
        kept = self._book.keep_token(payer=f"{PAYERS[pays]}@example.com", customer=customer)
        return str(kept["id"])

    def approve(self, intent: Intent) -> None:
        self._book.approve(intent.provider_id)

    def settle(self, intent: Intent) -> None:
        self._book.settle(intent.charge_id)

    def taken(self, transaction_id: str) -> list[tuple[Decimal, Decimal]]:
        return [
            (_amount(charge, "amount_captured"), _amount(charge, "amount_refunded"))
            for charge in self._book.charges()
            if metadata_of(charge["transaction_id"]).get("transaction_id") == transaction_id
        ]

    def hear(self, delivery: Delivery) -> tuple[str, Answered]:
        headers = {name.title(): value for name, value in delivery.headers.items()}
        transmission = transmissions.transmission_of(headers, at=now())
        signatures.check(
            delivery.body,
            transmission,
            self._certificates.at(transmission.certificate_url),
            webhook_id=self._process.webhook_id,
            roots=signatures.chain_of(self._book.root()),
            at=now(),
        )
        event = transmissions.event_of(delivery.body)
        told = orjson.loads(delivery.body)["resource"]
        if event.type.startswith("PAYMENT.CAPTURE.REFUND"):
            return event.id, refund_of(told)
        if event.type.startswith("PAYMENT.CAPTURE."):
            return event.id, intent_of_capture(told)
        return event.id, intent_of(told) if event.type.startswith("CHECKOUT.ORDER.") else None


def _amount(charge: dict[str, str | int], name: str) -> Decimal:
    amount = Decimal(charge[name])
    return amount if charge["currency"] == "jpy" else amount / 100
