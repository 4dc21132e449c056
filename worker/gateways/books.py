"""What a provider's books say, page by page, read for a comparison. Nothing is ever changed.

A page is read as bytes and only the fields that are compared are taken from it: a client library's
objects would cost fifty times as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Protocol

import msgspec

from worker.gateways import UnknownProvider
from worker.settings import settings


class Subject(StrEnum):
    """What an entry of a book is."""

    CHARGE = "charge"
    REFUND = "refund"
    DISPUTE = "dispute"
    CUSTOMER = "customer"
    METHOD = "method"


class State(StrEnum):
    """Where an entry stands, in our words. A dispute's is the provider's own word."""

    SUCCEEDED = "succeeded"
    PENDING = "pending"
    FAILED = "failed"


class Entry(msgspec.Struct, gc=False):
    """One object of a provider's. What it does not tell is empty.

    Args:
        created: seconds since the epoch.
        cents: the amount in hundredths of the main unit, -1 where a row cannot hold it.
        transaction: our payment's id, without hyphens.
        company: our company's id, without hyphens.
        of: the charge that a refund or a dispute is about; the customer of a method.
        row: our refund's id, without hyphens.
        taken: the cents that were taken of a charge; of one that is not captured its whole.
        returned: the cents that went back of it.
        settled: when the balance moved, in seconds; 0 if it has not.
        oddity: why its fee or its own sums cannot be right.
    """

    subject: str
    id: str
    created: int
    cents: int = 0
    currency: str = ""
    state: str = ""
    transaction: str = ""
    company: str = ""
    row: str = ""
    intent: str = ""
    of: str = ""
    customer: str = ""
    taken: int = 0
    returned: int = 0
    settled: int = 0
    fee: int = 0
    oddity: str = ""


class Page(msgspec.Struct, gc=False):
    """Some entries in the order of the book, and where the next page begins, if there is one."""

    entries: list[Entry]
    next: str | None


class Book(Protocol):
    """A provider's book. Every method may raise any `GatewayError`."""

    provider: str
    is_newest_first: bool

    def page(self, subject: Subject, *, start: datetime, end: datetime, after: str | None) -> Page:
        """Return the next page of what was made from `start` until before `end`."""

    def one(self, subject: Subject, object_id: str) -> Entry | None:
        """Return one object as it is now; None if the provider does not know it."""

    def methods(self, customer: str) -> Sequence[Entry]:
        """Return what a customer's payment methods are at the provider."""


@cache
def book_of(provider: str) -> Book:
    """Return this process's one reader of a provider's book.

    Raises:
        UnknownProvider: the name is none of ours, or we have no account there.
    """
    chosen = settings()
    if provider == "stripe":
        from worker.gateways.stripe.books import StripeBook

        return StripeBook(
            api_key=chosen.stripe_api_key,
            api_base=chosen.stripe_api_base,
            timeout_s=chosen.stripe_timeout_s,
        )
    if provider == "paypal" and chosen.has_paypal:
        from worker.gateways.paypal.api import LIVE, SANDBOX
        from worker.gateways.paypal.books import PayPalBook

        return PayPalBook(
            client_id=chosen.paypal_client_id,
            client_secret=chosen.paypal_client_secret,
            api_base=chosen.paypal_api_base or (LIVE if chosen.is_production else SANDBOX),
            timeout_s=chosen.paypal_timeout_s,
        )
    raise UnknownProvider(message=f"{provider} is not set up here", code="provider_not_set_up")
