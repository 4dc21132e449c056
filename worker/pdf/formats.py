"""Amounts, percentages and days as a company reads them, by the CLDR's tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_date
from babel.numbers import format_decimal, parse_pattern

from models.money import decimals

# Where a language alone would be read as that of another country.
_HOME = {"en": "en_GB", "hi": "hi_IN"}
_MOST_DECIMALS = 6


@dataclass(frozen=True)
class Formats:
    """How a company writes, in its time zone."""

    locale: Locale
    zone: tzinfo

    def money(self, amount: Decimal, currency: str) -> str:
        """Write an amount with its currency, and with as many decimals as our rows have of it."""
        pattern = parse_pattern(self.locale.currency_formats["standard"].pattern)
        pattern.frac_prec = (decimals(currency), decimals(currency))
        written = pattern.apply(amount, self.locale, currency=currency, currency_digits=False)
        return str(written)

    def amount(self, amount: Decimal, currency: str) -> str:
        """Write an amount in a column, of more decimals than the currency's if it has them."""
        least = decimals(currency)
        pattern = parse_pattern(self.locale.decimal_formats[None].pattern)
        pattern.frac_prec = (least, _MOST_DECIMALS)
        return str(pattern.apply(amount, self.locale))

    def number(self, value: Decimal) -> str:
        """Write a number with the decimals that it needs."""
        return str(
            format_decimal(value.normalize() + 0, locale=self.locale, decimal_quantization=False)
        )

    def percent(self, value: Decimal) -> str:
        """Write a percentage: 18 is 18 %."""
        return f"{self.number(value)} %"

    def day(self, moment: datetime | date) -> str:
        """Write a day; of a moment, the one that it is in the company's zone."""
        day = moment.astimezone(self.zone).date() if isinstance(moment, datetime) else moment
        return str(format_date(day, format="long", locale=self.locale))

    def span(self, start: datetime, end: datetime) -> str:
        """Write the first and the last day of a span; its end is not in it any more."""
        last = end - timedelta(microseconds=1)
        return f"{self.day(start)} \N{EN DASH} {self.day(last)}"


def formats_of(billed_to: dict[str, Any]) -> Formats:
    """Return how a company writes: its language, as it is written in its country."""
    language = billed_to["language"]
    country = (billed_to["address"] or {}).get("country", "")
    return Formats(_locale(language, country), _zone(billed_to["time_zone"]))


def _locale(language: str, country: str) -> Locale:
    for name in (f"{language}_{country}", _HOME.get(language, language)):
        try:
            return Locale.parse(name)
        except (ValueError, UnknownLocaleError):
            continue
    return Locale.parse(_HOME["en"])


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return UTC
