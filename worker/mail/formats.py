"""Amounts, dates and times as a company's people read them, by the CLDR's tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from functools import cache
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_datetime
from babel.numbers import format_currency, format_decimal

FALLBACK = "en"


@dataclass(frozen=True)
class Formats:
    """How one language writes, in one time zone."""

    locale: Locale
    zone: tzinfo

    def money(self, amount: str | Decimal, currency: str) -> str:
        """Write an amount, given as text in the currency's main unit."""
        return str(format_currency(Decimal(amount), currency, locale=self.locale))

    def number(self, value: str | float) -> str:
        """Write a number."""
        return str(format_decimal(Decimal(value), locale=self.locale))

    def day(self, given: str | date) -> str:
        """Write a day, given as a date or, as text, as RFC 3339 has dates and times."""
        if isinstance(given, str) and len(given) > len("2026-12-31"):
            return self.day(_moment(given).astimezone(self.zone).date())
        day = date.fromisoformat(given) if isinstance(given, str) else given
        return format_date(day, format="long", locale=self.locale)

    def time(self, given: str | datetime) -> str:
        """Write a moment with its zone."""
        moment = _moment(given) if isinstance(given, str) else given
        shown = format_datetime(moment, "long", tzinfo=self.zone, locale=self.locale)
        # A mail's reader need not know what a narrow no-break space is.
        return shown.replace("\u202f", " ")


def formats_of(language: str, time_zone: str = "UTC") -> Formats:
    """Return how a language writes; what is not known is English, and UTC."""
    return Formats(_locale(language), _zone(time_zone))


@cache
def _locale(language: str) -> Locale:
    try:
        return Locale.parse(language, sep="-")
    except (ValueError, UnknownLocaleError):
        return Locale.parse(FALLBACK)


@cache
def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return UTC


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
