"""The stand-ins as a history meets them: one way to say what people and banks do at either.

Each deed at a provider's own pages is named after what it does to a payment, whoever moves the
money; one that is not possible there now raises `Refused`.
"""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from dataclasses import dataclass
from random import Random
from typing import Any

import orjson
import urllib3

from models.clock import now
from models.disputes import Dispute
from models.refunds import Refund
from models.transactions import Provider, Transaction
from sandbox.paypal.certificates import Signer
from sandbox.paypal.control import Control as PayPalControl
from sandbox.paypal.deliveries import CERTIFICATE_HOST, CERTIFICATES, message
from sandbox.standin.control import Control as AnyControl
from sandbox.standin.control import Refused
from sandbox.stripe.control import Control as StripeControl
from sandbox.stripe.deliveries import signature
from tests.sandbox_fixture import PayPalProcess, SandboxProcess
from web.webhooks.stripe import SIGNATURE
from worker.settings import settings

PAUSED = "http://127.0.0.1:9/webhooks"
# Where a stand-in would send events: they are fetched from it instead.
PAYERS = ("payer", "payer", "instrument_declined", "pending", "denied_5120", "transaction_refused")
UNDER_WAY = ("pending", "requires_action")


class Lean(AnyControl):
    """A stand-in's control for a fifth of what requests costs by itself."""

    _pool = urllib3.PoolManager()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask for `/sandbox/<path>`."""
        sent = None if body is None else orjson.dumps(body)
        url, kind = f"{self.url}/sandbox/{path}", {"Content-Type": "application/json"}
        answer = self._pool.request(method, url, body=sent, headers=kind, redirect=False)
        told = orjson.loads(answer.data)
        if answer.status >= 400:
            raise Refused(told["error"]["message"])
        return told


class LeanStripe(Lean, StripeControl):
    """The stand-in for Stripe."""


class LeanPayPal(Lean, PayPalControl):
    """The stand-in for PayPal."""


@dataclass(frozen=True)
class Event:
    """What a provider has to tell."""

    provider: Side
    id: str
    type: str
    record: dict[str, Any]


class Side(ABC):
    """A provider with all that happens there."""

    name: Provider
    control: AnyControl
    faults: tuple[dict[str, Any], ...]
    declines: tuple[str, ...]

    def __init__(self) -> None:
        self._events_seen = 0

    def reset(self) -> None:
        """Forget everything; events wait to be fetched."""
        self.control.reset()
        self.control.webhooks(url=PAUSED, is_paused=True)
        self._events_seen = 0

    def new_events(self) -> list[Event]:
        """Return the events since the last call."""
        found = self.control.events(after=self._events_seen)
        self._events_seen += len(found)
        return [Event(self, each["id"], each["type"], each) for each in found]

    @abstractmethod
    def delivery(self, event: Event) -> tuple[bytes, dict[str, str]]:
        """Return the body and the headers of a delivery that is signed now."""

    @abstractmethod
    def authenticate(self, payment: Transaction, random: Random) -> str:
        """Have the customer approve at the bank's or the provider's page, or not; say which."""

    @abstractmethod
    def settle(self, payment: Transaction, outcome: str) -> None:
        """End what the banks have in hand: succeeded or failed."""

    @abstractmethod
    def refund(self, payment: Transaction, amount_minor: int, status: str) -> None:
        """Refund on the provider's site."""

    @abstractmethod
    def move_refund(self, refund: Refund, status: str) -> None:
        """Move a refund: succeeded or failed."""

    @abstractmethod
    def dispute(self, payment: Transaction, reason: str) -> None:
        """Open a dispute."""

    @abstractmethod
    def end_dispute(self, dispute: Dispute, status: str) -> None:
        """Decide a dispute."""

    @abstractmethod
    def settle_all(self, random: Random) -> list[str]:
        """Let the banks decide what they have in hand: none takes for ever."""


class StripeSide(Side):
    """Stripe."""

    name = Provider.STRIPE
    faults = (
        {"kind": "drop_after"},
        {"kind": "drop_after", "path": "/v1/payment_intents*"},
        {"kind": "drop_after", "path": "/v1/refunds"},
        {"kind": "drop_before"},
        {"kind": "timeout_after", "delay_ms": 3, "path": "/v1/payment_intents*"},
        {"kind": "timeout_before", "delay_ms": 3},
        {"kind": "server_error", "executed": True},
        {"kind": "server_error", "executed": False},
        {"kind": "key_in_use"},
        {"kind": "rate_limit"},
        {"kind": "rate_limit", "count": 9},
        {"kind": "lock_timeout", "count": 4},
        {"kind": "slow", "delay_ms": 2},
        {"kind": "drop_before", "method": "GET"},
        {"kind": "server_error", "method": "GET", "count": 2},
        {"kind": "refund_pending"},
        {"kind": "refund_failed"},
    )
    declines = (
        "insufficient_funds",
        "generic_decline",
        "processing_error",
        "expired_card",
        "fraudulent",
    )

    def __init__(self, process: SandboxProcess) -> None:
        super().__init__()
        self.control: LeanStripe = LeanStripe(process.url)

    def delivery(self, event: Event) -> tuple[bytes, dict[str, str]]:
        body = orjson.dumps(event.record)
        signed = signature(body, settings().stripe_webhook_key.encode(), int(now().timestamp()))
        return body, {SIGNATURE: signed, "Content-Type": "application/json"}

    def authenticate(self, payment: Transaction, random: Random) -> str:
        is_success = random.random() < 0.7
        self.control.authenticate(payment.provider_transaction_id or "", is_success=is_success)
        return str(is_success)

    def settle(self, payment: Transaction, outcome: str) -> None:
        self.control.settle(payment.provider_transaction_id or "", outcome=outcome)

    def refund(self, payment: Transaction, amount_minor: int, status: str) -> None:
        intent = payment.provider_transaction_id
        self.control.refund(payment_intent=intent, amount=amount_minor, status=status)

    def move_refund(self, refund: Refund, status: str) -> None:
        self.control.move_refund(refund.provider_refund_id or "", status)

    def dispute(self, payment: Transaction, reason: str) -> None:
        self.control.dispute(payment_intent=payment.provider_transaction_id, reason=reason)

    def end_dispute(self, dispute: Dispute, status: str) -> None:
        self.control.end_dispute(dispute.provider_dispute_id, status)

    def pay_in_browser(self, payment: Transaction) -> bool:
        """Have a payment paid with another card in the browser; whether that is possible still."""
        id_ = payment.provider_transaction_id
        [secret] = [
            intent["client_secret"]
            for intent in self.control.book()["payment_intents"]
            if intent["id"] == id_
        ] or [""]
        try:
            self.control.confirm_in_browser(secret, payment_method="pm_card_visa")
        except Refused:
            return False
        return True

    def settle_all(self, random: Random) -> list[str]:
        told, book = [], self.control.book()
        for intent in book["payment_intents"]:
            if intent["status"] == "processing":
                outcome = random.choice(("succeeded", "failed"))
                self.control.settle(intent["id"], outcome=outcome)
                told.append(f"a payment of {intent['amount']} {outcome}")
        for refund in book["refunds"]:
            # Its charge counts it as given back already.
            if refund["status"] in UNDER_WAY:
                status = random.choice(("succeeded", "failed"))
                self.control.move_refund(refund["id"], status)
                told.append(f"a refund of {refund['amount']} {status}")
        return told


class PayPalSide(Side):
    """PayPal."""

    name = Provider.PAYPAL
    faults = (
        {"kind": "drop_after"},
        {"kind": "drop_after", "path": "/v2/checkout/orders*"},
        {"kind": "drop_after", "path": "/v2/checkout/orders/*/capture"},
        {"kind": "drop_after", "path": "/v2/payments/captures/*"},
        {"kind": "drop_before"},
        {"kind": "timeout_after", "delay_ms": 3, "path": "/v2/checkout/orders*"},
        {"kind": "timeout_before", "delay_ms": 3},
        {"kind": "server_error", "executed": True},
        {"kind": "server_error", "executed": False},
        {"kind": "key_in_use"},
        {"kind": "token_expired"},
        {"kind": "rate_limit"},
        {"kind": "rate_limit", "count": 9},
        {"kind": "slow", "delay_ms": 2},
        {"kind": "drop_before", "method": "GET"},
        {"kind": "server_error", "method": "GET", "count": 2},
        {"kind": "reporting_late", "method": "GET", "count": None, "delay_ms": 3 * 3600 * 1000},
        {"kind": "capture_pending"},
        {"kind": "refund_pending"},
        {"kind": "refund_failed"},
    )
    declines = (
        "INSTRUMENT_DECLINED",
        "PAYER_ACTION_REQUIRED",
        "TRANSACTION_REFUSED",
        "CARD_EXPIRED",
        "NO_SUCH_ISSUE",
    )
    _refund_words = {"succeeded": "completed", "failed": "failed", "pending": "pending"}  # noqa: RUF012  data
    _stages = {"inquiry": "INQUIRY"}  # noqa: RUF012  data

    def __init__(self, process: PayPalProcess) -> None:
        super().__init__()
        self.control: LeanPayPal = LeanPayPal(process.url)
        self._signer = Signer(process.folder)
        self._webhook_id = process.webhook_id

    def delivery(self, event: Event) -> tuple[bytes, dict[str, str]]:
        body = orjson.dumps(event.record["shown"])
        at = now().strftime("%Y-%m-%dT%H:%M:%SZ")
        signed = self._signer.signature(message(body, event.id, at, self._webhook_id))
        return body, {
            "Content-Type": "application/json",
            "PAYPAL-AUTH-ALGO": "SHA256withRSA",
            "PAYPAL-CERT-URL": f"{CERTIFICATE_HOST}{CERTIFICATES}{self._signer.id}",
            "PAYPAL-TRANSMISSION-ID": event.id,
            "PAYPAL-TRANSMISSION-SIG": base64.b64encode(signed).decode(),
            "PAYPAL-TRANSMISSION-TIME": at,
        }

    def authenticate(self, payment: Transaction, random: Random) -> str:
        order_id = payment.provider_transaction_id or ""
        if random.random() < 0.15:
            self.control.cancel(order_id)
            return "left"
        payer = random.choice(PAYERS)
        self.control.approve(order_id, payer=f"{payer}@example.com")
        return f"approved by {payer}"

    def settle(self, payment: Transaction, outcome: str) -> None:
        self.control.settle(payment.payment_processor_id or "none", outcome=outcome)

    def refund(self, payment: Transaction, amount_minor: int, status: str) -> None:
        is_whole = payment.currency in ("HUF", "JPY")
        amount = str(amount_minor) if is_whole else f"{amount_minor / 100:.2f}"
        self.control.refund(
            capture=payment.payment_processor_id or "none",
            amount=amount,
            status=self._refund_words[status],
        )

    def move_refund(self, refund: Refund, status: str) -> None:
        self.control.move_refund(refund.provider_refund_id or "none", self._refund_words[status])

    def dispute(self, payment: Transaction, reason: str) -> None:
        stage = self._stages.get(reason, "CHARGEBACK")
        self.control.dispute(capture=payment.payment_processor_id or "none", stage=stage)

    def end_dispute(self, dispute: Dispute, status: str) -> None:
        if status not in ("won", "lost"):
            raise Refused("PayPal decides for one or the other")
        self.control.end_dispute(dispute.provider_dispute_id, status)

    def settle_all(self, random: Random) -> list[str]:
        told, book = [], self.control.book()
        for capture in book["captures"]:
            if capture["status"] == "PENDING":
                outcome = random.choice(("succeeded", "failed"))
                self.control.settle(capture["id"], outcome=outcome)
                told.append(f"a capture of {capture['amount']['value']} {outcome}")
        for refund in book["refunds"]:
            if refund["status"] == "PENDING":
                status = random.choice(("completed", "failed"))
                self.control.move_refund(refund["id"], status)
                told.append(f"a refund of {refund['amount']['value']} {status}")
        return told
