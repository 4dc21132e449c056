"""Money: an exact decimal amount in a currency's main unit. Never a float.

Rows hold `DECIMAL(15, 2)`. Minor units exist only at a gateway, which keeps its own table of
factors (`worker/gateways/*/translate.py`), because providers disagree with ISO 4217.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

# ISO 4217 currencies that carry no decimals, with ISK and UGX, which have none in use.
WHOLE = frozenset("BIF CLP DJF GNF ISK JPY KMF KRW MGA PYG RWF UGX VND VUV XAF XOF XPF".split())
# The currencies that Stripe or PayPal settle and that are not whole (Stripe's list, November 2026).
DECIMAL = frozenset(
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BMD BND BOB BRL BSD BWP BYN BZD"
    " CAD CDF CHF CNY COP CRC CVE CZK DKK DOP DZD EGP ETB EUR FJD FKP GBP GEL GIP GMD GTQ GYD HKD"
    " HNL HTG HUF IDR ILS INR JMD JOD KES KGS KHR KWD KYD KZT LAK LBP LKR LRD LSL MAD MDL MKD MMK"
    " MNT MOP MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN QAR RON"
    " RSD RUB SAR SBD SCR SEK SGD SHP SLE SOS SRD STD SZL THB TJS TND TOP TRY TTD TWD TZS UAH USD"
    " UYU UZS WST XCD YER ZAR ZMW".split()
)
CURRENCIES = WHOLE | DECIMAL
# What PayPal takes, without decimals and with two (its list, November 2026). Stripe takes all.
PAYPAL_WHOLE = frozenset("HUF JPY TWD".split())
PAYPAL_DECIMAL = frozenset(
    "AUD BRL CAD CHF CNY CZK DKK EUR GBP HKD ILS MXN MYR NOK NZD PHP PLN SEK SGD THB USD".split()
)

# DECIMAL(15, 2): thirteen digits before the point.
LARGEST = Decimal("9999999999999.99")


class InvalidAmount(ValueError):
    """An amount or currency that cannot be money here; the message says why to a person."""


class UnsupportedMoney(InvalidAmount):
    """A provider does not take this currency, or not in amounts as fine as this."""


class UnsupportedCurrency(UnsupportedMoney):
    """A provider does not take this currency at all."""


def check_taken(amount: Decimal, currency: str, provider: str) -> None:
    """Refuse what a provider is known not to take, before it is asked.

    Raises:
        UnsupportedMoney: the message says what it does not take.
    """
    if provider != "paypal":
        return
    if currency not in PAYPAL_WHOLE | PAYPAL_DECIMAL:
        raise UnsupportedCurrency(f"PayPal does not take {currency}")
    if currency in PAYPAL_WHOLE and amount != round(amount):
        raise UnsupportedMoney(f"PayPal takes {currency} without decimals")


def decimals(currency: str) -> int:
    """Return how many decimals an amount in `currency` may have in our rows: 0 or 2.

    Three-decimal currencies (BHD, JOD, KWD, OMR, TND) are taken with two, as providers round them.
    """
    if currency in WHOLE:
        return 0
    if currency in DECIMAL:
        return 2
    raise InvalidAmount(f"{currency!r} is not a currency that can be charged")


def amount_of(value: Decimal | int | str, currency: str, *, provider: str = "") -> Decimal:
    """Return `value` as an exact amount above zero in `currency`'s main unit, with two places.

    Args:
        provider: who is to move it, where that is known.

    Raises:
        UnsupportedMoney: see `check_taken`.
        InvalidAmount: not a number, not above zero, too large, or finer than the currency.
    """
    places = decimals(currency)
    try:
        amount = Decimal(value)
    except (InvalidOperation, ValueError):
        raise InvalidAmount("is not a number") from None
    if not amount.is_finite():
        raise InvalidAmount("is not a number")
    if amount <= 0:
        raise InvalidAmount("must be above zero")
    if amount > LARGEST:
        raise InvalidAmount(f"must be at most {LARGEST}")
    if amount != round(amount, places):
        raise InvalidAmount(f"has more decimals than {currency}, which has {places}")
    check_taken(amount, currency, provider)
    return amount.quantize(Decimal("0.01"))


@dataclass(frozen=True, slots=True)
class Money:
    """An amount of one currency. Adding two currencies raises."""

    amount: Decimal
    currency: str

    def __add__(self, other: Money) -> Money:
        """Return the sum."""
        self._same(other)
        return Money(self.amount + other.amount, self.currency)

    def __sub__(self, other: Money) -> Money:
        """Return the difference, which may be negative."""
        self._same(other)
        return Money(self.amount - other.amount, self.currency)

    def __str__(self) -> str:
        """Return amount and currency as a person reads them, with the currency's own decimals."""
        return f"{self.amount:,.{decimals(self.currency)}f} {self.currency}"

    def _same(self, other: Money) -> None:
        if self.currency != other.currency:
            raise InvalidAmount(f"cannot mix {self.currency} and {other.currency}")
