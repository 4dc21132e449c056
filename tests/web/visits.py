"""Whoever comes to the portal by a link: what they may call, and a browser that does."""

from __future__ import annotations

from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

OWN = {"Sec-Fetch-Site": "same-origin"}
# Their routes; each is tried in test_portal.py.
_VISIT = "/portal/visits/{visit_id}"
_INVOICE = f"{_VISIT}/invoices/{{invoice_id}}"
_METHODS = f"{_VISIT}/payment-methods"
VISITS = {
    ("GET", _VISIT),
    ("GET", f"{_VISIT}/invoices"),
    ("GET", _INVOICE),
    ("GET", f"{_INVOICE}/pdf"),
    ("GET", f"{_INVOICE}/credit-notes/{{note_id}}/pdf"),
    ("POST", f"{_INVOICE}/payments"),
    ("POST", f"{_INVOICE}/payments/{{payment_id}}/capture"),
    ("POST", f"{_INVOICE}/payments/{{payment_id}}/cancel"),
    ("GET", _METHODS),
    ("POST", _METHODS),
    ("GET", f"{_METHODS}/{{method_id}}"),
    ("POST", f"{_METHODS}/{{method_id}}/replace"),
    ("POST", f"{_METHODS}/{{method_id}}/default"),
    ("DELETE", f"{_METHODS}/{{method_id}}"),
}


class Guest:
    """Somebody with a browser who came by a link."""

    def __init__(self, client: FlaskClient, token: str) -> None:
        self.client = client
        self.begun = client.post("/portal/visits", json={"token": token}, headers=OWN)
        self.home = f"/portal/visits/{(self.begun.json or {}).get('id')}"

    def get(self, path: str = "") -> TestResponse:
        return self.client.get(self.home + path)

    def post(
        self, path: str, body: Any = None, *, key: str = "", headers: dict[str, str] = OWN
    ) -> TestResponse:
        named = {"Idempotency-Key": key} if key else {}
        named |= {"Prefer": "respond-async", **headers}
        return self.client.post(self.home + path, json=body or {}, headers=named)
