"""Test payers: how a payment ends is told by the payer's address or by the payment token's id.

`<name>@example.com` approves at the page and then pays so; `sandbox_<name>` is a payment token that
needs no making, and a setup token that its payer has approved. A name is a decline in lower case
(`instrument_declined`), `pending`, `denied_<code of the processor>`, or anything else for a payment
that goes well.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass

from sandbox.paypal.errors import DECLINES, Object

TOKENS = "sandbox_"
PAYER = "payer@example.com"
PAYER_ID_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
PAYER_ID_LENGTH = 13


@dataclass(frozen=True, slots=True)
class Fate:
    """How a payment ends."""

    issue: str | None = None
    """Refused with this issue; no capture is made."""
    is_pending: bool = False
    """The capture stays pending until it is settled on command."""
    response_code: str | None = None
    """The capture is made and declined, with this code of the processor."""

    def traits(self) -> Object:
        """Return it as the book keeps it."""
        return asdict(self)


WELL = Fate()


def fate_of(name: str) -> Fate:
    """Return what a payer's name stands for."""
    if name.upper() in DECLINES:
        return Fate(issue=name.upper())
    if name == "pending":
        return Fate(is_pending=True)
    if name.startswith("denied_"):
        return Fate(response_code=name.removeprefix("denied_").upper())
    return WELL


def fate_of_address(email: str) -> Fate:
    """Return what a payer's address stands for."""
    return fate_of(email.partition("@")[0])


def fate_of_token(token_id: str) -> Fate | None:
    """Return what a token that needs no making stands for; None for any other."""
    return fate_of(token_id.removeprefix(TOKENS)) if token_id.startswith(TOKENS) else None


def address_of(token_id: str) -> str:
    """Return the payer of a token that needs no making."""
    return f"{token_id.removeprefix(TOKENS)}@example.com"


def payer_id(email: str) -> str:
    """Return the account of an address, always the same."""
    digest = hashlib.sha256(email.encode()).digest()
    letters = (PAYER_ID_ALPHABET[byte % len(PAYER_ID_ALPHABET)] for byte in digest)
    return "".join(letters)[:PAYER_ID_LENGTH]


def wallet(email: str) -> Object:
    """Return a payer as `payment_source.paypal` shows one."""
    return {
        "email_address": email,
        "account_id": payer_id(email),
        "account_status": "VERIFIED",
        "name": {"given_name": "Test", "surname": "Payer"},
        "address": {"country_code": "US"},
    }


def vaulted(email: str) -> Object:
    """Return a payer as the vault shows one."""
    return {name: wallet(email)[name] for name in ("email_address", "account_id", "name")}


def payer(email: str) -> Object:
    """Return a payer as `payer` shows one."""
    return {
        "email_address": email,
        "payer_id": payer_id(email),
        "name": {"given_name": "Test", "surname": "Payer"},
        "address": {"country_code": "US"},
    }
