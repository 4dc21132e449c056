"""A company's own doings by the API, for a page to show."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from models.clock import now
from models.outbox import OwedStatus, enqueue
from tests.client import Client
from tests.system import System

ERROR = "OperationalError: the table is full"
WAIT = "wait=20"


class Till:
    """Issues invoices, keeps cards and pays, as the company's owner."""

    def __init__(self, owner: Client) -> None:
        self.owner = owner

    def issue(self, amount: str = "100.00", **more: Any) -> dict[str, Any]:
        line = {"description": "Seats", "quantity": 1, "unit_amount": amount}
        return self._made("/api/v1/invoices", {"lines": [line], **more}, 201)

    def keep(self, token: str = "pm_card_visa") -> str:
        body = {"type": "card", "token": token}
        return self._made("/api/v1/payment-methods", body, 201)["id"]

    def pay(self, card: str | None = None, amount: str = "100.00") -> str:
        """Pay a new invoice; without a card the payment waits for its customer."""
        invoice = self.issue(amount)
        body = {"invoice_id": invoice["id"], "amount": amount}
        if card is not None:
            body |= {"payment_method_id": card, "off_session": True}
        return self._made("/api/v1/payments/create-intent", body, 200)["transaction_id"]

    def give_up(self, system: System) -> UUID:
        """Leave a dead letter: the charge of a payment that was canceled meanwhile.

        Replayed it finds nothing to do, and is gone.
        """
        payment = self.pay()
        canceled = self.owner.post(f"/api/v1/payments/{payment}/cancel", prefer=WAIT)
        assert canceled.body["status"] == "canceled", canceled
        with system.session(self.owner.company_id) as session:
            letter = enqueue(session, "payments.charge", due_at=now(), transaction_id=UUID(payment))
            letter.status, letter.error, letter.failures = OwedStatus.DEAD, ERROR, 5
            session.flush()
            return letter.id

    def payment(self, payment_id: str) -> dict[str, Any]:
        return self.owner.get(f"/api/v1/payments/{payment_id}").body

    def _made(self, path: str, body: dict[str, Any], status: int) -> Any:
        answer = self.owner.post(path, body, prefer=WAIT)
        assert answer.status == status, answer
        return answer.body
