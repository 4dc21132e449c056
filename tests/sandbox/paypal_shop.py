"""A merchant at the stand-in for PayPal and the few calls that most tests make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import requests

from tests.sandbox_fixture import PayPalProcess

ORDERS = "/v2/checkout/orders"
CAPTURES = "/v2/payments/captures"
REFUNDS = "/v2/payments/refunds"
TOKENS = "/v3/vault/payment-tokens"
SETUPS = "/v3/vault/setup-tokens"
EVENTS = "/v1/notifications/webhooks-events"
DISPUTES = "/v1/customer/disputes"
TRANSACTIONS = "/v1/reporting/transactions"
BACK = {"return_url": "https://shop.example/back", "cancel_url": "https://shop.example/gone"}


@dataclass
class Exchange:
    """What was asked and what was answered."""

    method: str
    path: str
    query: dict[str, Any]
    body: Any
    status: int
    answer: Any

    @property
    def issues(self) -> list[str]:
        return [detail["issue"] for detail in self.answer.get("details", [])]


class Refused(Exception):
    """PayPal said no."""

    def __init__(self, exchange: Exchange) -> None:
        self.status = exchange.status
        self.name = exchange.answer["name"]
        self.issues = exchange.issues
        self.links = {link["rel"]: link["href"] for link in exchange.answer["links"]}
        super().__init__(f"{self.status} {self.name} {self.issues}")


class PayPalShop:
    def __init__(self, paypal: PayPalProcess, url: str | None = None) -> None:
        self.url = url or paypal.url
        self.control = paypal.control
        self.log: list[Exchange] = []
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {self.token()['access_token']}"

    def token(self, login: tuple[str, str] = ("client", "secret")) -> Any:
        answer = requests.post(
            f"{self.url}/v1/oauth2/token",
            auth=login,
            data={"grant_type": "client_credentials"},
            timeout=10,
        )
        answer.raise_for_status()
        return answer.json()

    def ask(
        self, method: str, path: str, body: Any = None, *, key: str | None = "", **more: Any
    ) -> Any:
        """Ask PayPal; a POST has a PayPal-Request-Id of its own unless `key` says otherwise."""
        headers = {"Prefer": "return=representation", **more.pop("headers", {})}
        if method == "POST" and key is not None:
            headers["PayPal-Request-Id"] = key or str(uuid4())
        answer = self._session.request(
            method, self.url + path, json=body, headers=headers, timeout=10, **more
        )
        told = answer.json() if answer.content else {}
        bare = urlsplit(path).path
        exchange = Exchange(method, bare, more.get("params", {}), body, answer.status_code, told)
        self.log.append(exchange)
        if not answer.ok:
            raise Refused(exchange)
        return told

    def post(self, path: str, body: Any = None, **more: Any) -> Any:
        return self.ask("POST", path, {} if body is None else body, **more)

    def get(self, path: str, **query: Any) -> Any:
        return self.ask("GET", path, params=query)

    def order(
        self, value: str = "10.00", currency: str = "USD", *, source: Any = None, **unit: Any
    ) -> dict[str, Any]:
        """Return the body of an order; `source` is what `payment_source.paypal` says."""
        body: dict[str, Any] = {
            "intent": "CAPTURE",
            "purchase_units": [{"amount": {"currency_code": currency, "value": value}, **unit}],
        }
        if source is not None:
            body["payment_source"] = {"paypal": source}
        return body

    def pay(self, value: str = "10.00", currency: str = "USD", **more: Any) -> Any:
        """Pay with a vaulted wallet and return the order."""
        token, key = more.pop("token", "sandbox_well"), more.pop("key", "")
        return self.post(
            ORDERS, self.order(value, currency, source={"vault_id": token}, **more), key=key
        )

    def capture_of(self, order: Any) -> Any:
        [capture] = order["purchase_units"][0]["payments"]["captures"]
        return capture

    def refund(self, capture_id: str, value: str | None = None, **more: Any) -> Any:
        currency = more.pop("currency", "USD")
        body = {"amount": {"currency_code": currency, "value": value}} if value else {}
        return self.post(f"{CAPTURES}/{capture_id}/refund", body | more.pop("said", {}), **more)

    def event_types(self) -> list[str]:
        return [event["shown"]["event_type"] for event in self.control.events()]
