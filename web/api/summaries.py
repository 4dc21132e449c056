"""What a tenant's companies were billed and have paid, the largest first, for operators."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Self
from uuid import UUID

from flask import Response
from pydantic import BaseModel, Field

from models import summary
from models.clock import now
from models.fx import NoConversion, Quote, Rates, rates_at
from models.money import CURRENCIES, Money
from models.summary import Billing, Place
from models.tenants import Permission
from web.auth import allowed, caller
from web.problems import invalid
from web.routes import Input, Routes, respond
from web.schemas import Amount, Currency, Moment
from web.totals import Rate, wanted_currency
from worker.database import transaction
from worker.fx.policy import fx_policy

routes = Routes("summaries", __name__, url_prefix="/api/v1/companies")

# Letters of a cursor at most: a sum, an id, two currencies and a time.
CURSOR_LETTERS = 200
WRITTEN_CURSOR = re.compile(
    r"(?P<worth>[0-9]{1,40}(\.[0-9]{1,30})?) (?P<company>[0-9a-f]{32}) (?P<billed_in>[A-Z]{3})"
    r" (?P<to>[A-Z]{3}) (?P<moment_us>[0-9]{16})",
    re.ASCII,
)


class SummaryQuery(Input):
    """Which page, and in which currency sums are compared."""

    cursor: str | None = Field(None, pattern=rf"^[A-Za-z0-9_-]{{1,{CURSOR_LETTERS}}}$")
    limit: int = Field(50, ge=1, le=100)
    currency: Currency | None = Field(
        None, description="The tenant's choice by default; of the first page for those after it."
    )


class ComparedAnswer(BaseModel):
    """The sums in the currency that they are compared in, and by which rate.

    `missing` says why there are none: `no_rate` or `stale_rate`.
    """

    currency: str
    total_billed: Amount | None
    total_paid: Amount | None
    rate: Rate | None
    source: str | None
    as_of: Moment | None
    is_stale: bool
    missing: str | None


class BillingAnswer(BaseModel):
    """One company's bills of one currency. Drafts and void invoices are none."""

    company_id: UUID
    name: str
    currency: str
    invoice_count: int
    total_billed: Amount
    total_paid: Amount
    compared: ComparedAnswer


class SummaryAnswer(BaseModel):
    """A page of them, the largest first; what has no rate comes last."""

    currency: str
    data: list[BillingAnswer]
    next_cursor: str | None


@dataclass(frozen=True)
class Cursor:
    """Where a page begins; by the rates of its time, so that none moves from page to page."""

    currency: str
    moment: datetime
    place: Place

    def written(self) -> str:
        """Return it as text."""
        place = self.place
        moment_us = round(self.moment.timestamp() * 1_000_000)
        words = [f"{place.worth:f}", place.company_id.hex, place.billed_in, self.currency]
        return base64.urlsafe_b64encode(" ".join([*words, str(moment_us)]).encode()).decode()

    @classmethod
    def read(cls, text: str) -> Self:
        """Read it.

        Raises:
            Problem: 422, it is none of ours.
        """
        try:
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
        except ValueError:
            raw = ""
        found = WRITTEN_CURSOR.fullmatch(raw)
        if found is None or not {found["to"], found["billed_in"]} <= CURRENCIES:
            raise invalid("cursor", "is none that was given")
        place = Place(Decimal(found["worth"]), UUID(hex=found["company"]), found["billed_in"])
        moment = datetime.fromtimestamp(int(found["moment_us"]) / 1_000_000, UTC)
        return cls(found["to"], moment, place)


@routes.get("/summary", responses={200: SummaryAnswer})
@allowed(Permission.OPERATIONS)
def list_billings(query: SummaryQuery) -> Response:
    """List what all of the tenant's companies were billed and have paid, by currency.

    The largest come first, compared in one currency by the rates of when the first page was asked
    for.
    """
    cursor = Cursor.read(query.cursor) if query.cursor else None
    moment = cursor.moment if cursor else now()
    with transaction() as session:
        to = cursor.currency if cursor else wanted_currency(session, query.currency)
        rates = rates_at(session, moment=moment, policy=fx_policy(), known_by=moment)
        found = summary.billings(
            session,
            caller().tenant_id,
            rates=_factors(rates, to),
            after=cursor.place if cursor else None,
            limit=query.limit + 1,
        )
    rows = found[: query.limit]
    following = None
    if len(found) > query.limit:
        last = rows[-1]
        place = Place(last.worth, last.company_id, last.billed_in)
        following = Cursor(to, moment, place).written().rstrip("=")
    data = [_shown(each, rates, to) for each in rows]
    return respond({"currency": to, "data": data, "next_cursor": following})


def _factors(rates: Rates, to: str) -> dict[str, Decimal]:
    """Return what one unit of each currency is in another, of those that may be converted."""
    found = {to: Decimal(1)}
    for currency in {*rates.known, rates.policy.base}:
        try:
            found[currency] = rates.quote(currency, to).rate
        except NoConversion:
            continue
    return found


def _shown(billing: Billing, rates: Rates, to: str) -> dict[str, Any]:
    return {
        "company_id": billing.company_id,
        "name": billing.name,
        "currency": billing.billed_in,
        "invoice_count": billing.invoice_count,
        "total_billed": billing.total_billed,
        "total_paid": billing.total_paid,
        "compared": _compared(billing, rates, to),
    }


def _compared(billing: Billing, rates: Rates, to: str) -> dict[str, Any]:
    try:
        quote = rates.quote(billing.billed_in, to)
    except NoConversion as error:
        return _told(to, None, None, None, missing=error.reason)
    billed, paid = (
        rates.convert(Money(amount, billing.billed_in), to).money.amount
        for amount in (billing.total_billed, billing.total_paid)
    )
    return _told(to, billed, paid, quote, missing=None)


def _told(
    to: str,
    billed: Decimal | None,
    paid: Decimal | None,
    quote: Quote | None,
    *,
    missing: str | None,
) -> dict[str, Any]:
    return {
        "currency": to,
        "total_billed": billed,
        "total_paid": paid,
        "rate": quote.rate if quote else None,
        "source": quote.source if quote else None,
        "as_of": quote.as_of if quote else None,
        "is_stale": quote.is_stale if quote else False,
        "missing": missing,
    }
