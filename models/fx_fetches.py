"""Asking a source for its rates: once at a time, and keeping only what can be true."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.mysql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models.fx import AHEAD, OPEN_EXCHANGE_RATES, RATE_PLACES, FetchStatus, FxFetch, FxRate
from models.ids import new_id
from models.money import CURRENCIES
from models.outbox import enqueue

# Fewer of the currencies that were there before are no market's doing.
LEAST_SHARE = Decimal("0.5")
# As many digits as the column has before its point.
LARGEST_RATE = Decimal(10) ** 12
# What was asked so shortly before is answered by what was told then: rates move by the hour.
FRESH = timedelta(minutes=1)
_PLACES = Decimal(1).scaleb(-RATE_PLACES)
_ROUNDING = Context(prec=40, rounding=ROUND_HALF_EVEN)


@dataclass(frozen=True)
class Sheet:
    """What a source told at once: for one unit of `base`, so much of each currency."""

    source: str
    base: str
    as_of: datetime
    rates: Mapping[str, Decimal]

    @property
    def chargeable(self) -> dict[str, Decimal]:
        """The rates of currencies that money can be of here, as fine as they are kept.

        Metals and coins without a mint are nobody's invoice.
        """
        return {
            currency: rate.quantize(_PLACES, context=_ROUNDING)
            for currency, rate in self.rates.items()
            if currency in CURRENCIES and currency != self.base
        }


def objections(
    sheet: Sheet,
    *,
    base: str,
    day: date | None,
    moment: datetime,
    before: Mapping[str, Decimal],
    most_jump_percent: Decimal | None,
) -> list[str]:
    """Return why a sheet cannot be true, a sentence each; empty where it can.

    Args:
        day: the day that was asked for; None for the newest.
        before: the rates that were known for the sheet's moment.
        most_jump_percent: by how much one may differ from that; None for any.
    """
    if sheet.base != base:
        return [f"It is in {sheet.base or 'no base'}, and {base} was asked for."]
    if wrong := _wrong_numbers(sheet):
        return wrong
    found = []
    if sheet.as_of > moment + AHEAD:
        found.append(f"It is of {sheet.as_of:%Y-%m-%d %H:%M} UTC, which is yet to come.")
    if day is not None and sheet.as_of.astimezone(UTC).date() != day:
        found.append(f"It is of {sheet.as_of:%Y-%m-%d}, and {day} was asked for.")
    rates = sheet.chargeable
    if not rates:
        found.append("It has no currency that can be charged.")
    elif before and len(rates.keys() & before.keys()) < LEAST_SHARE * len(before):
        found.append(f"It has {len(rates)} currencies; before there were {len(before)}.")
    if most_jump_percent is not None:
        found += _jumps(rates, before, most_jump_percent)
    return found


def _wrong_numbers(sheet: Sheet) -> list[str]:
    found = []
    for currency, rate in sorted(sheet.rates.items()):
        if currency not in CURRENCIES:
            continue
        if not rate.is_finite() or rate <= 0:
            found.append(f"{currency} is at {rate}.")
        elif rate >= LARGEST_RATE or rate < _PLACES:
            found.append(f"{currency} is at {rate}, which cannot be kept.")
    own = sheet.rates.get(sheet.base)
    if own is not None and own != 1:
        found.append(f"{sheet.base} in itself is at {own}.")
    return found


def _jumps(
    rates: Mapping[str, Decimal], before: Mapping[str, Decimal], most_percent: Decimal
) -> list[str]:
    """Return the rates that moved too far, up or down: a half is as far as a double."""
    found = []
    for currency in sorted(rates.keys() & before.keys()):
        high, low = sorted((rates[currency], before[currency]), reverse=True)
        moved = _ROUNDING.divide(high, low) * 100 - 100
        if moved > most_percent:
            found.append(f"{currency} moved by {moved:.1f} % since it was last told.")
    return found


def begin(
    session: Session,
    *,
    moment: datetime,
    day: date | None = None,
    asked_by: UUID | None = None,
    accepts_jumps: bool = False,
    source: str = OPEN_EXCHANGE_RATES,
) -> FxFetch:
    """Owe a question to the source, or return the one that is owed or was answered just now.

    However many ask at once: it is owed once.
    """
    key = f"{source}:{day or 'newest'}"
    under_way = select(FxFetch).where(FxFetch.open_key == key)
    found = session.scalars(under_way).one_or_none()
    if found is not None:
        found.accepts_jumps = found.accepts_jumps or accepts_jumps
        return found
    last = newest_fetch(session, source=source, day=day)
    is_known = last is not None and last.status in (FetchStatus.STORED, FetchStatus.UNCHANGED)
    if last is not None and is_known and (last.finished_at or moment) > moment - FRESH:
        return last
    fetch = FxFetch(
        id=new_id(),
        source=source,
        day=day,
        open_key=key,
        asked_by=asked_by,
        accepts_jumps=accepts_jumps,
    )
    try:
        with session.begin_nested():
            session.add(fetch)
    except IntegrityError:
        # Somebody was quicker; READ COMMITTED shows it.
        return session.scalars(under_way).one()
    enqueue(session, "fx.fetch", fetch_id=fetch.id)
    return fetch


def end(
    fetch: FxFetch,
    status: FetchStatus,
    *,
    moment: datetime,
    sheet: Sheet | None = None,
    error: str | None = None,
) -> None:
    """Write down what became of a question; whoever asks from now on asks anew."""
    fetch.status, fetch.open_key, fetch.finished_at, fetch.error = status, None, moment, error
    if sheet is not None:
        fetch.as_of = sheet.as_of
        fetch.rates = len(sheet.chargeable) if status is FetchStatus.STORED else 0


def store(session: Session, sheet: Sheet, *, moment: datetime) -> bool:
    """Keep a sheet; False if it is kept already. Safe twice: each rate has one row a time."""
    rows = [
        {
            "id": new_id(),
            "created_at": moment,
            "source": sheet.source,
            "base": sheet.base,
            "currency": currency,
            "rate": rate,
            "as_of": sheet.as_of,
            "fetched_at": moment,
        }
        for currency, rate in sorted(sheet.chargeable.items())
    ]
    kept = select(func.count(FxRate.id)).where(
        FxRate.source == sheet.source,
        FxRate.base == sheet.base,
        FxRate.currency.in_([row["currency"] for row in rows]),
        FxRate.as_of == sheet.as_of,
    )
    if session.scalar(kept) == len(rows):
        return False
    fresh = insert(FxRate)
    session.execute(fresh.on_duplicate_key_update(rate=FxRate.__table__.c.rate), rows)
    return True


def newest_fetch(
    session: Session, *, source: str = OPEN_EXCHANGE_RATES, day: date | None = None
) -> FxFetch | None:
    """Return the last question to a source about the newest rates, or about a day's."""
    asked = select(FxFetch).where(FxFetch.source == source, FxFetch.day == day)
    return session.scalars(asked.order_by(FxFetch.id.desc()).limit(1)).one_or_none()


def newest_as_of(session: Session, *, source: str, base: str) -> datetime | None:
    """Return of when the newest rates are that are kept."""
    newest = select(func.max(FxRate.as_of)).where(FxRate.source == source, FxRate.base == base)
    return session.scalar(newest)
