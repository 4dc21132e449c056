"""Stripe's test bank accounts (`pm_usBankAccount_…`), and debits, whose fate is told days later.

A debit leaves its intent in processing. It ends when somebody settles it, or when the clock is
advanced past its fourth day, as the account's name says: it succeeds, or the bank sends it back.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

from sandbox.stripe import charges
from sandbox.stripe.call import Call
from sandbox.stripe.errors import CardError, InvalidRequest, Object

TYPE = "us_bank_account"
CURRENCY = "usd"
SETTLES_AFTER_S = 4 * 24 * 60 * 60
PREFIX = "pm_usBankAccount_"


@dataclass(frozen=True, slots=True, kw_only=True)
class BankAccount:
    """How a test account looks, and what becomes of a debit of it."""

    last4: str
    failure_code: str | None = None
    settles: bool = True
    afterwards: str | None = None

    def traits(self) -> dict[str, Any]:
        """Return the behaviour, for the book to keep."""
        return asdict(self)


ACCOUNTS = {
    "success": BankAccount(last4="6789"),
    "accountClosed": BankAccount(last4="1113", failure_code="account_closed"),
    "noAccount": BankAccount(last4="1116", failure_code="no_account"),
    "insufficientFunds": BankAccount(last4="2227", failure_code="insufficient_funds"),
    "debitNotAuthorized": BankAccount(last4="3335", failure_code="debit_not_authorized"),
    "dispute": BankAccount(last4="5559", afterwards="dispute:fraudulent"),
    "processing": BankAccount(last4="0009", settles=False),
}
NUMBERS = {
    "000123456789": "success",
    "000111111113": "accountClosed",
    "000111111116": "noAccount",
    "000222222227": "insufficientFunds",
    "000333333335": "debitNotAuthorized",
    "000555555559": "dispute",
    "000000000009": "processing",
}
MESSAGES = {
    "account_closed": "The customer's bank account has been closed.",
    "debit_not_authorized": "The customer has notified their bank that this payment was "
    "unauthorized.",
    "insufficient_funds": "The customer's account has insufficient funds to cover this payment.",
    "no_account": "The customer's bank account could not be located.",
}


def account_of(token: str) -> BankAccount | None:
    """Return the account that a test payment method stands for."""
    return ACCOUNTS.get(token.removeprefix(PREFIX)) if token.startswith(PREFIX) else None


def shown(account: BankAccount) -> Object:
    """Return what a payment method tells of its account."""
    return {
        "account_holder_type": "individual",
        "account_type": "checking",
        "bank_name": "STRIPE TEST BANK",
        "financial_connections_account": None,
        "fingerprint": hashlib.sha256(f"{TYPE}{account.last4}".encode()).hexdigest()[:16],
        "last4": account.last4,
        "networks": {"preferred": "ach", "supported": ["ach"]},
        "routing_number": "110000000",
        "status_details": None,
    }


def check_currency(intent: Object) -> None:
    """Refuse to debit an account in a currency that it is not held in."""
    if intent["currency"] != CURRENCY:
        raise InvalidRequest(
            "The PaymentIntent requires a payment method that can be charged in "
            f"{intent['currency']}; a {TYPE} can be debited in {CURRENCY} only.",
            code="payment_intent_incompatible_payment_method",
            param="payment_method",
        )


def debited(call: Call, intent: Object, method: Object, traits: dict[str, Any]) -> Object:
    """Send a debit to the bank, which answers days later."""
    charge = charges.pending(call, intent, method)
    intent |= {
        "last_payment_error": None,
        "latest_charge": charge["id"],
        "next_action": None,
        "status": "processing",
    }
    if traits["settles"]:
        call.book.note(intent["id"], settles_at=call.book.now() + SETTLES_AFTER_S)
    call.book.put(intent)
    call.happened("payment_intent.processing", intent)
    return intent


def failure(traits: dict[str, Any]) -> Object:
    """Return what is told of a debit that the bank sent back."""
    code = traits.get("failure_code") or "insufficient_funds"
    return {"code": code, "message": MESSAGES[code]}


def returned(call: Call, intent: Object, method: Object, traits: dict[str, Any]) -> CardError:
    """Write down that the bank sent the debit back; return what the intent is to tell."""
    charge = call.book.get("charge", intent["latest_charge"])
    told = failure(traits)
    charges.bounced(call, charge, told)
    return CardError(**told, charge=charge["id"], payment_method=dict(method))


def due(call: Call) -> list[Object]:
    """Return the intents of debits whose day has come."""
    now = call.book.now()
    return [
        intent
        for intent in call.book.newest_first("payment_intent", status="processing")
        if call.book.known(intent["id"]).get("settles_at", now + 1) <= now
    ][::-1]
