"""A customer at the sandbox and the few calls that most tests make."""

from __future__ import annotations

from typing import Any

import stripe

from tests.sandbox_fixture import SandboxProcess

NO_REDIRECTS = {"enabled": True, "allow_redirects": "never"}


class Shop:
    def __init__(self, sandbox: SandboxProcess) -> None:
        self.sandbox = sandbox
        self.client = sandbox.client()
        self.control = sandbox.control
        self.customer = self.client.v1.customers.create(
            {"email": "payer@example.test", "name": "Payer"}
        ).id

    def attach(self, token: str) -> str:
        return self.client.v1.payment_methods.attach(token, {"customer": self.customer}).id

    def pay(
        self,
        amount: int,
        currency: str,
        *,
        method: str = "pm_card_visa",
        transaction_id: str = "",
        key: str | None = None,
        **more: Any,
    ) -> stripe.PaymentIntent:
        params: dict[str, Any] = {
            "amount": amount,
            "currency": currency,
            "customer": self.customer,
            "payment_method": method,
            "confirm": True,
            "automatic_payment_methods": NO_REDIRECTS,
        }
        if transaction_id:
            params["metadata"] = {"transaction_id": transaction_id}
        return self.client.v1.payment_intents.create(
            params | more, {"idempotency_key": key} if key else {}
        )
