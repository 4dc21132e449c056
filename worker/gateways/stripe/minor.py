"""Money as Stripe counts it: an integer in the currency's minor unit. One function each way.

Stripe's units are its own and not ISO 4217's: ISK and UGX are whole in fact but are sent times 100,
with two zeros at the end; three-decimal currencies are sent times 1000, with one.
"""

from __future__ import annotations

from decimal import Decimal

from models.money import CURRENCIES, InvalidAmount, Money, decimals

ZERO_DECIMAL = frozenset("BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF".split())
THREE_DECIMAL = frozenset("BHD JOD KWD OMR TND".split())


def units_in_one(currency: str) -> int:
    """Return how many of Stripe's units make one of the currency's main unit: 1, 100 or 1000."""
    if currency not in CURRENCIES:
        raise InvalidAmount(f"{currency!r} is not a currency that can be charged")
    if currency in ZERO_DECIMAL:
        return 1
    return 1000 if currency in THREE_DECIMAL else 100


def minor_of(money: Money) -> int:
    """Return the integer that Stripe takes for `money`.

    Raises:
        InvalidAmount: finer than the currency's decimals, which Stripe would refuse or misread.
    """
    if money.amount != round(money.amount, decimals(money.currency)):
        raise InvalidAmount(f"{money.amount} is finer than {money.currency} can be")
    return int(money.amount * units_in_one(money.currency))


def money_of(amount_minor: int, currency: str) -> Money:
    """Return the money that Stripe means by an integer; its currency may come in lower case.

    Raises:
        InvalidAmount: finer than our rows hold, so that nothing is rounded away in silence.
    """
    code = currency.upper()
    amount = Decimal(amount_minor) / units_in_one(code)
    if amount != round(amount, 2):
        raise InvalidAmount(f"{amount} {code} is finer than a row can hold")
    return Money(amount.quantize(Decimal("0.01")), code)
