"""Stripe's payouts and their balance transactions, over the same wire as its book."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from worker.gateways.payouts import Moved, PaidOut
from worker.gateways.stripe.books import PAGE, StripeBook, calls
from worker.gateways.stripe.minor import units_in_one

UNEXPLAINED = frozenset({"failed", "canceled"})
OF_ITSELF = frozenset({"payout", "payout_failure", "payout_cancel"})


class _Payout(msgspec.Struct, gc=False):
    id: str
    amount: int
    currency: str
    status: str
    created: int
    arrival_date: int | None = None
    automatic: bool = True
    reconciliation_status: str = "completed"


class _Transaction(msgspec.Struct, gc=False):
    id: str
    type: str
    amount: int
    fee: int
    net: int
    currency: str


class _Payouts(msgspec.Struct, gc=False):
    data: list[_Payout]
    has_more: bool = False


class _Transactions(msgspec.Struct, gc=False):
    data: list[_Transaction]
    has_more: bool = False


_PAYOUTS = msgspec.json.Decoder(_Payouts)
_TRANSACTIONS = msgspec.json.Decoder(_Transactions)


class StripePayouts:
    """Stripe's payouts. Thread-safe; it only ever GETs."""

    def __init__(self, book: StripeBook) -> None:
        self._book = book

    def page(self, *, since: datetime, after: str | None) -> tuple[list[PaidOut], str | None]:
        """Return the next page of what was made since, newest first, and where the next begins."""
        query = {"limit": str(PAGE), "created[gte]": str(int(since.timestamp()))}
        if after:
            query["starting_after"] = after

        def read(raw: Any, _: str) -> tuple[list[PaidOut], str | None]:
            told = _PAYOUTS.decode(raw)
            last = told.data[-1].id if told.has_more and told.data else None
            return [_paid_out(each) for each in told.data], last

        return calls.read("payouts.list", lambda: self._book.get("/v1/payouts", query), read)

    def movements(self, payout: str, *, after: str | None) -> tuple[list[Moved], str | None]:
        """Return the next page of what a payout is made up of, itself not included."""
        query = {"limit": str(PAGE), "payout": payout}
        if after:
            query["starting_after"] = after

        def read(raw: Any, _: str) -> tuple[list[Moved], str | None]:
            told = _TRANSACTIONS.decode(raw)
            last = told.data[-1].id if told.has_more and told.data else None
            return [_moved(each) for each in told.data if each.type not in OF_ITSELF], last

        return calls.read(
            "payouts.movements", lambda: self._book.get("/v1/balance_transactions", query), read
        )


def _paid_out(each: _Payout) -> PaidOut:
    arrives = each.arrival_date
    return PaidOut(
        id=each.id,
        made_at=datetime.fromtimestamp(each.created, UTC),
        arrival_date=None if arrives is None else datetime.fromtimestamp(arrives, UTC).date(),
        amount=_exact(each.amount, each.currency),
        currency=each.currency.upper(),
        status=each.status,
        is_explained=each.automatic
        and each.status not in UNEXPLAINED
        and each.reconciliation_status == "completed",
    )


def _moved(each: _Transaction) -> Moved:
    return Moved(
        id=each.id,
        type=each.type,
        gross=_exact(each.amount, each.currency),
        fee=_exact(each.fee, each.currency),
        net=_exact(each.net, each.currency),
        currency=each.currency.upper(),
    )


def _exact(minor: int, currency: str) -> Decimal:
    return Decimal(minor) / units_in_one(currency.upper())
