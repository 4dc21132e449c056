"""Totals over currencies as they are answered: what was converted, by which rate, and what not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, PlainSerializer, WithJsonSchema
from sqlalchemy.orm import Session

from models import fx_totals
from models.fx import Quote, Rates, rates_at
from models.fx_totals import Totals
from web.auth import caller
from web.schemas import Moment
from worker.fx.policy import fx_policy
from worker.settings import settings

Rate = Annotated[
    Decimal,
    PlainSerializer(lambda rate: rate),
    WithJsonSchema({"type": "number", "description": "Exact, of up to 28 digits."}),
]


class RateUsed(BaseModel):
    """By what one currency was converted. A currency in itself is 1, of no source."""

    currency: str
    rate: Rate
    source: str | None
    as_of: Moment | None
    is_stale: bool


class NotConverted(BaseModel):
    """A currency that is in no total, and why: the sums of it stand beside."""

    currency: str
    reason: Literal["no_rate", "stale_rate"]
    message: str
    as_of: Moment | None


class TotalsBase(BaseModel):
    """Sums over all currencies, in one.

    `is_complete` says that no currency is missing, `is_stale` that an old rate was used.
    """

    currency: str
    is_complete: bool
    is_stale: bool
    rates: list[RateUsed]
    missing: list[NotConverted]


def wanted_currency(session: Session, named: str | None) -> str:
    """Return what the caller's totals are told in: what is named, or the company's or tenant's."""
    who = caller()
    return named or fx_totals.reporting_currency(
        session,
        tenant_id=who.tenant_id,
        company_id=who.company_in_sight,
        default=settings().default_currency,
    )


def totals_in(
    session: Session,
    to: str,
    sums: Mapping[str, Mapping[str, Decimal]],
    *,
    names: tuple[str, ...],
    moment: datetime,
) -> Totals:
    """Return sums by currency and name as totals in one currency: one query, or none.

    What is in that currency alone is asked for no rates.
    """
    rates = rates_for(session, to, sums, moment=moment)
    return fx_totals.total(rates, to, sums, names=names)


def rates_for(session: Session, to: str, currencies: Iterable[str], *, moment: datetime) -> Rates:
    """Return the rates by which these currencies are told in another."""
    policy = fx_policy()
    others = {*currencies} - {to}
    if not others:
        return Rates({}, moment, policy)
    return rates_at(session, moment=moment, policy=policy, currencies=others | {to})


def shown_totals(found: Totals) -> dict[str, Any]:
    """Return what `TotalsBase` has; the amounts are added by who knows their shape."""
    return {
        "currency": found.currency,
        "is_complete": not found.missing,
        "is_stale": any(quote.is_stale for quote in found.quotes.values()),
        "rates": [_shown(currency, quote) for currency, quote in found.quotes.items()],
        "missing": [
            {
                "currency": each.currency,
                "reason": each.reason,
                "message": each.message,
                "as_of": each.as_of,
            }
            for each in found.missing
        ],
    }


def _shown(currency: str, quote: Quote) -> dict[str, Any]:
    return {
        "currency": currency,
        "rate": quote.rate,
        "source": quote.source,
        "as_of": quote.as_of,
        "is_stale": quote.is_stale,
    }
