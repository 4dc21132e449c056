"""Exchange rates: what a source told and when, and money of one currency in another.

A source tells, for one base currency, how much of each other currency one unit of it is. Every
answer is kept; a conversion takes the newest that its moment could know. All numbers are exact
decimals, and an amount is rounded once, at the end.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from enum import StrEnum
from uuid import UUID

from sqlalchemy import DECIMAL, Date, Index, Integer, String, Text, UniqueConstraint, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import CURRENCY, Base, Changing, words
from models.money import CURRENCIES, InvalidAmount, Money, decimals

OPEN_EXCHANGE_RATES = "openexchangerates"
# What every plan of that source has its rates in.
BASE = "USD"
RATE_PLACES = 12
RATE: DECIMAL[Decimal] = DECIMAL(24, RATE_PLACES)
# Significant digits of the rate that a conversion keeps. The largest amount has 15: multiplied by
# it, its error is far below a minor unit, and whoever multiplies again gets the same.
PRECISION = 28
_DIVIDING = Context(prec=PRECISION, rounding=ROUND_HALF_EVEN)
_MULTIPLYING = Context(prec=PRECISION + 20, rounding=ROUND_HALF_EVEN)
# A source's clock may be ahead of ours by so much.
AHEAD = timedelta(hours=1)
# What is older is as good as unknown; and no look goes through the years.
FORGOTTEN_AFTER = timedelta(days=30)


class FxRate(Base):
    """One unit of `base` is `rate` of `currency`, as the source had it at `as_of`."""

    __tablename__ = "fx_rates"
    __table_args__ = (
        UniqueConstraint("source", "base", "currency", "as_of"),
        Index("idx_fx_rates_as_of", "source", "base", "as_of"),
    )

    source: Mapped[str] = mapped_column(String(50))
    base: Mapped[str] = mapped_column(CURRENCY)
    currency: Mapped[str] = mapped_column(CURRENCY)
    rate: Mapped[Decimal] = mapped_column(RATE)
    as_of: Mapped[datetime]
    fetched_at: Mapped[datetime]


class FetchStatus(StrEnum):
    """What became of asking a source."""

    OWED = "owed"
    STORED = "stored"
    UNCHANGED = "unchanged"  # what the source told is known already
    REFUSED = "refused"  # what it told cannot be true; nothing of it is kept
    FAILED = "failed"  # it told nothing


class FxFetch(Changing):
    """One question to a source: who asked, and what became of it.

    `open_key` names what is asked for while it is owed, so that all who ask meanwhile share the
    answer; it is NULL from when that is known.
    """

    __tablename__ = "fx_fetches"
    __table_args__ = (
        UniqueConstraint("open_key"),
        Index("idx_fx_fetches_source", "source", "day", "id"),
    )

    source: Mapped[str] = mapped_column(String(50))
    # A past day whose last rates are asked for; None for the newest.
    day: Mapped[date | None] = mapped_column(Date)
    open_key: Mapped[str | None] = mapped_column(String(80))
    status: Mapped[FetchStatus] = mapped_column(words(FetchStatus), default=FetchStatus.OWED)
    accepts_jumps: Mapped[bool] = mapped_column(default=False)
    asked_by: Mapped[UUID | None]
    tries: Mapped[int] = mapped_column(Integer, default=0)
    as_of: Mapped[datetime | None]
    rates: Mapped[int] = mapped_column(Integer, default=0)
    error: Mapped[str | None] = mapped_column(Text)
    finished_at: Mapped[datetime | None]


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Whose rates are used, when one is stale, and whether it then is refused or flagged."""

    stale_after: timedelta = timedelta(hours=36)
    refuses_stale: bool = True
    source: str = OPEN_EXCHANGE_RATES
    base: str = BASE


class NoConversion(Exception):
    """Money cannot be told in another currency; the message says why to a person."""

    reason = ""

    def __init__(self, message: str, *, currency: str) -> None:
        self.currency = currency
        super().__init__(message)


class NoRate(NoConversion):
    """No source has told a rate of this currency by that moment."""

    reason = "no_rate"


class StaleRate(NoConversion):
    """The rate of this currency is too old for the policy."""

    reason = "stale_rate"

    def __init__(self, message: str, *, currency: str, as_of: datetime) -> None:
        self.as_of = as_of
        super().__init__(message, currency=currency)


@dataclass(frozen=True)
class Quote:
    """What one unit of a currency is in another: the rate, whose it is, and of when.

    Of two rates that it is made of, `as_of` is the older one's. A currency in itself has no
    source and no time: it is 1.
    """

    rate: Decimal
    source: str | None
    as_of: datetime | None
    is_stale: bool


@dataclass(frozen=True)
class Converted:
    """Money in another currency, and by which rate."""

    money: Money
    rate: Decimal
    source: str | None
    as_of: datetime | None
    is_stale: bool


@dataclass(frozen=True)
class Known:
    """One rate as it is kept."""

    rate: Decimal
    as_of: datetime


@dataclass(frozen=True)
class Rates:
    """The rates that a moment could know, by currency, each one unit of the policy's base."""

    known: Mapping[str, Known]
    moment: datetime
    policy: Policy

    def quote(self, origin: str, to: str) -> Quote:
        """Return the rate from one currency to another, through the base where it is neither.

        Raises:
            NoRate: one of them is not known.
            StaleRate: one of them is too old, and the policy refuses it.
        """
        if origin == to:
            return Quote(Decimal(1), None, None, is_stale=False)
        parts = [self._known(each) for each in (origin, to) if each != self.policy.base]
        as_of = min(part.as_of for part in parts)
        is_stale = as_of < self.moment - self.policy.stale_after
        if is_stale and self.policy.refuses_stale:
            older = origin if self._per_base(origin).as_of == as_of else to
            raise StaleRate(
                f"The rate of {older} is of {as_of:%Y-%m-%d %H:%M} UTC: too old to be used.",
                currency=older,
                as_of=as_of,
            )
        rate = _DIVIDING.divide(self._per_base(to).rate, self._per_base(origin).rate)
        return Quote(rate, self.policy.source, as_of, is_stale)

    def convert(self, money: Money, to: str) -> Converted:
        """Return money in another currency, rounded half-even once to that one's decimals.

        Raises:
            NoRate, StaleRate: as `quote` does.
        """
        quote = self.quote(money.currency, to)
        amount = rounded(_MULTIPLYING.multiply(money.amount, quote.rate), to)
        return Converted(Money(amount, to), quote.rate, quote.source, quote.as_of, quote.is_stale)

    def _known(self, currency: str) -> Known:
        found = self.known.get(currency)
        if found is None:
            raise NoRate(f"No exchange rate of {currency} is known.", currency=currency)
        return found

    def _per_base(self, currency: str) -> Known:
        if currency == self.policy.base:
            return Known(Decimal(1), self.moment)
        return self._known(currency)


def rounded(exact: Decimal, currency: str) -> Decimal:
    """Return an amount rounded half-even to the currency's decimals, with two places.

    Raises:
        InvalidAmount: more digits than any amount may have.
    """
    places = Decimal(1).scaleb(-decimals(currency))
    if exact.adjusted() >= PRECISION:
        raise InvalidAmount("is too large to be converted")
    return exact.quantize(places, context=_MULTIPLYING).quantize(Decimal("0.01"))


def rates_at(
    session: Session,
    *,
    moment: datetime,
    policy: Policy,
    currencies: Collection[str] | None = None,
    known_by: datetime | None = None,
) -> Rates:
    """Return the newest rates that are not of after `moment`: one query.

    Args:
        currencies: those that are needed; None for all.
        known_by: leave out what was fetched later, so that asking again tells the same.
    """
    named = (FxRate.source == policy.source, FxRate.base == policy.base)
    oldest = moment - max(policy.stale_after, FORGOTTEN_AFTER)
    newest = (
        select(FxRate.currency, func.max(FxRate.as_of).label("as_of"))
        .where(*named, FxRate.as_of <= moment + AHEAD, FxRate.as_of > oldest)
        .group_by(FxRate.currency)
    )
    if known_by is not None:
        newest = newest.where(FxRate.fetched_at <= known_by)
    # By name also where all are wanted: then each is looked up, and the others' years are not read.
    newest = newest.where(
        FxRate.currency.in_(sorted(CURRENCIES if currencies is None else currencies))
    )
    found = newest.subquery()
    query = select(FxRate.currency, FxRate.rate, FxRate.as_of).join(
        found, (FxRate.currency == found.c.currency) & (FxRate.as_of == found.c.as_of)
    )
    rows = session.execute(query.where(*named))
    known = {currency: Known(rate, as_of) for currency, rate, as_of in rows}
    return Rates(known, moment, policy)


def convert(
    session: Session, money: Money, to: str, *, moment: datetime, policy: Policy
) -> Converted:
    """Return money in another currency, by the rates that `moment` could know.

    Raises:
        NoRate: one of the currencies is not known.
        StaleRate: a rate is too old, and the policy refuses it.
    """
    needed = {money.currency, to}
    rates = rates_at(session, moment=moment, policy=policy, currencies=needed)
    return rates.convert(money, to)
