"""What an owner does over and over: bill, keep a card, pay."""

from __future__ import annotations

from typing import Any

from tests.client import Answer, Client

INTENTS = "/api/v1/payments/create-intent"
INVOICES = "/api/v1/invoices"
METHODS = "/api/v1/payment-methods"
PAYMENTS = "/api/v1/payments"


def bill(owner: Client, amount: str = "100.00", **more: Any) -> str:
    """Issue an invoice of one line; return its id."""
    line = {"description": "Seats", "quantity": 1, "unit_amount": amount}
    answer = owner.post(INVOICES, {"lines": [line], **more})
    assert answer.status == 201, answer
    return answer.body["id"]


def add_card(owner: Client, token: str = "pm_card_visa", **more: Any) -> str:
    answer = owner.post(METHODS, {"type": "card", "token": token, **more}, prefer="wait=20")
    assert answer.status == 201, answer
    return answer.body["id"]


def pay(
    owner: Client, invoice_id: str, amount: Any = "100.00", *, key: str | None = None, **more: Any
) -> Answer:
    body = {"invoice_id": invoice_id, "amount": amount, **more}
    return owner.post(INTENTS, body, key=key, prefer="wait=20")


def paid(owner: Client, amount: str = "100.00", **more: Any) -> str:
    """Bill and pay with a new card; return the payment's id."""
    answer = pay(owner, bill(owner, amount, **more), amount, payment_method_id=add_card(owner))
    assert answer.body["status"] == "succeeded", answer
    return answer.body["transaction_id"]


def refuses(answer: Answer, status: int, field: str | None = None) -> None:
    """Assert a problem of this status that names this field."""
    assert answer.status == status, answer
    assert answer.headers["Content-Type"] == "application/problem+json"
    fields = [error["field"] for error in answer.body.get("errors", [])]
    assert fields == ([field] if field else []), answer
