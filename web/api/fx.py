"""Exchange rates: those that are known, money in another currency, and asking the source."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time
from typing import Any
from uuid import UUID

from flask import Response
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from models import fx, fx_fetches
from models.clock import now
from models.fx import OPEN_EXCHANGE_RATES, FetchStatus, FxFetch, NoRate, Rates
from models.money import Money, amount_of
from models.tenants import Permission, Tenant
from web.auth import allowed, caller
from web.lists import answer_page
from web.problems import Problem, invalid
from web.routes import Input, Routes, respond
from web.schemas import Amount, Currency, Day, ExactText, Moment, PageQuery
from web.totals import Rate
from worker.database import in_transaction, transaction
from worker.fx.policy import fx_policy
from worker.settings import settings

routes = Routes("fx", __name__, url_prefix="/api/v1/fx")

# Since when the source has rates.
FIRST_DAY = date(1999, 1, 1)


class RatesQuery(Input):
    """In which currency, and of when."""

    base: Currency = Field(fx.BASE, description="Of which one unit is told in the others.")
    as_of: Moment | None = Field(None, description="What was known at that time; now by default.")


class RateAnswer(BaseModel):
    """So much of a currency is one unit of the base."""

    currency: str
    rate: Rate
    as_of: Moment
    is_stale: bool


class RatesAnswer(BaseModel):
    """The rates that are known, by currency. `is_stale` says that the newest is too old."""

    base: str
    source: str
    as_of: Moment | None
    is_stale: bool
    data: list[RateAnswer]


class ConvertQuery(Input):
    """What, from which currency, to which."""

    amount: ExactText
    origin: Currency = Field(alias="from")
    to: Currency
    as_of: Moment | None = Field(None, description="By the rates of that time; now by default.")


class ConvertedAnswer(BaseModel):
    """Money in another currency, and by which rate; of a currency in itself it has no source."""

    amount: Amount
    currency: str
    converted: Amount
    to: str
    rate: Rate
    source: str | None
    as_of: Moment | None
    is_stale: bool


class Refresh(Input):
    """What is asked for."""

    day: Day | None = Field(None, description="A past day's last rates; the newest by default.")
    accept_jumps: bool = Field(
        default=False, description="Take rates that moved very far; for operators of the platform."
    )


class FetchAnswer(BaseModel):
    """A question to the source, and what became of it."""

    id: UUID
    source: str
    day: Day | None
    status: FetchStatus
    as_of: Moment | None
    rates: int
    error: str | None
    created_at: Moment
    finished_at: Moment | None


class FetchesAnswer(BaseModel):
    """A page of them, newest first."""

    data: list[FetchAnswer]
    next_cursor: str | None


class TenantCurrency(Input):
    """What totals over all of the tenant's companies are told in; null for the default."""

    currency: Currency | None


class TenantCurrencyAnswer(BaseModel):
    """What it is now."""

    currency: str
    is_default: bool


@routes.get("/rates", responses={200: RatesAnswer})
@allowed()
def list_rates(query: RatesQuery) -> Response:
    """List what one unit of a currency is in the others.

    An old rate is listed too, and says so: whether it converts is a matter of policy.
    """
    policy = replace(fx_policy(), refuses_stale=False)
    with transaction() as session:
        rates = fx.rates_at(session, moment=_moment(query.as_of), policy=policy)
    data = _quoted(rates, query.base)
    newest = max((each["as_of"] for each in data), default=None)
    fresh = any(not each["is_stale"] for each in data)
    return respond(
        {
            "base": query.base,
            "source": policy.source,
            "as_of": newest,
            "is_stale": bool(data) and not fresh,
            "data": data,
        }
    )


def _moment(asked: datetime | None) -> datetime:
    """Return the time of which the rates are asked for: of one to come, what is known now."""
    moment = now()
    first = datetime.combine(FIRST_DAY, time(), UTC)
    return moment if asked is None else max(first, min(asked, moment))


def _quoted(rates: Rates, base: str) -> list[dict[str, Any]]:
    found = []
    for currency in sorted({*rates.known, rates.policy.base} - {base}):
        try:
            quote = rates.quote(base, currency)
        except NoRate:
            continue  # then none is known of the base, and the list is empty
        found.append(
            {
                "currency": currency,
                "rate": quote.rate,
                "as_of": quote.as_of,
                "is_stale": quote.is_stale,
            }
        )
    return found


@routes.get("/convert", responses={200: ConvertedAnswer})
@allowed()
def convert_money(query: ConvertQuery) -> Response:
    """Tell money in another currency, rounded half-even once.

    409 where no rate is known, or where it is too old and the policy refuses it.
    """
    money = Money(amount_of(query.amount, query.origin), query.origin)
    moment = _moment(query.as_of)
    with transaction() as session:
        found = fx.convert(session, money, query.to, moment=moment, policy=fx_policy())
    return respond(
        {
            "amount": money.amount,
            "currency": money.currency,
            "converted": found.money.amount,
            "to": found.money.currency,
            "rate": found.rate,
            "source": found.source,
            "as_of": found.as_of,
            "is_stale": found.is_stale,
        }
    )


@routes.post("/refresh", responses={200: FetchAnswer, 202: FetchAnswer})
@allowed(Permission.OPERATIONS)
def refresh_rates(body: Refresh) -> Response:
    """Have the source asked for its rates. Safe twice: who asks meanwhile shares the answer.

    202 while it is owed; 200 with what was told in the last minute.
    """
    if not settings().has_exchange_rates:
        raise Problem("conflict", "No source of exchange rates is set up.")
    if body.day is not None and not FIRST_DAY <= body.day < now().astimezone(UTC).date():
        raise invalid("day", f"must be a past day since {FIRST_DAY}")
    fetch = in_transaction(_begin, None, body)
    is_owed = fetch.status is FetchStatus.OWED
    return respond(_shown(fetch), 202 if is_owed else 200)


def _begin(session: Session, body: Refresh) -> FxFetch:
    if body.accept_jumps:
        ours = select(Tenant.is_platform).where(Tenant.id == caller().tenant_id)
        if not session.scalar(ours):
            raise Problem("forbidden", "Rates are everybody's: the platform's operators decide.")
    return fx_fetches.begin(
        session,
        moment=now(),
        day=body.day,
        asked_by=caller().user_id,
        accepts_jumps=body.accept_jumps,
    )


@routes.get("/fetches", responses={200: FetchesAnswer})
@allowed(Permission.OPERATIONS)
def list_fetches(query: PageQuery) -> Response:
    """List the questions to the source, newest first: what was kept, and why not."""
    asked = select(FxFetch).where(FxFetch.source == OPEN_EXCHANGE_RATES)
    return answer_page(FxFetch, asked, query, _shown)


def _shown(fetch: FxFetch) -> dict[str, Any]:
    return {
        "id": fetch.id,
        "source": fetch.source,
        "day": fetch.day,
        "status": fetch.status,
        "as_of": fetch.as_of,
        "rates": fetch.rates,
        "error": fetch.error,
        "created_at": fetch.created_at,
        "finished_at": fetch.finished_at,
    }


@routes.get("/currency", responses={200: TenantCurrencyAnswer})
@allowed(Permission.OPERATIONS)
def read_currency() -> Response:
    """Tell what totals over all of the tenant's companies are told in."""
    with transaction() as session:
        return respond(_chosen(session.get_one(Tenant, caller().tenant_id)))


@routes.put("/currency", responses={200: TenantCurrencyAnswer})
@allowed(Permission.OPERATIONS)
def choose_currency(body: TenantCurrency) -> Response:
    """Choose what totals over all of the tenant's companies are told in."""
    with transaction() as session:
        tenant = session.get_one(Tenant, caller().tenant_id)
        tenant.currency = body.currency
        return respond(_chosen(tenant))


def _chosen(tenant: Tenant) -> dict[str, Any]:
    return {
        "currency": tenant.currency or settings().default_currency,
        "is_default": tenant.currency is None,
    }
