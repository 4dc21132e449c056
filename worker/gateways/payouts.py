"""What a provider has sent to the bank, and the movements that each is made up of. Only ever read.

Amounts are in the currency's main unit and exact: a movement may be finer than a row can hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import Protocol

from worker.gateways import UnknownProvider
from worker.gateways.books import book_of


@dataclass(frozen=True, kw_only=True, slots=True)
class PaidOut:
    """A payout as the provider tells it.

    Args:
        is_explained: the provider can say of what it is made up: it was made by its own schedule,
            has not failed, and is settled.
    """

    id: str
    made_at: datetime
    arrival_date: date | None
    amount: Decimal
    currency: str
    status: str
    is_explained: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Moved:
    """A movement of the balance that a payout has paid out."""

    id: str
    type: str
    gross: Decimal
    fee: Decimal
    net: Decimal
    currency: str


class Payouts(Protocol):
    """A provider's payouts. Every method may raise any `GatewayError`."""

    def page(self, *, since: datetime, after: str | None) -> tuple[list[PaidOut], str | None]:
        """Return the next page of what was made since, newest first, and where the next begins."""

    def movements(self, payout: str, *, after: str | None) -> tuple[list[Moved], str | None]:
        """Return the next page of what a payout is made up of, itself not included."""


@cache
def payouts_of(provider: str) -> Payouts:
    """Return this process's one reader of a provider's payouts.

    Raises:
        UnknownProvider: it has none that can be listed, or we have no account there.
    """
    from worker.gateways.stripe.books import StripeBook
    from worker.gateways.stripe.payouts import StripePayouts

    book = book_of(str(provider))
    if not isinstance(book, StripeBook):
        raise UnknownProvider(message=f"{provider} lists no payouts", code="no_payouts")
    return StripePayouts(book)
