"""Money as PayPal writes it: a decimal string in the currency's main unit. One function each way.

Its decimals are its own and not ISO 4217's: HUF and TWD have none there, though both have two.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from models.money import PAYPAL_WHOLE as WHOLE
from models.money import InvalidAmount, Money, check_taken

_CENT = Decimal("0.01")


def amount_of(money: Money) -> dict[str, str]:
    """Return the `amount` object that PayPal takes for `money`.

    Raises:
        UnsupportedMoney: a currency or a fraction that PayPal would refuse.
    """
    check_taken(money.amount, money.currency, "paypal")
    places = 0 if money.currency in WHOLE else 2
    return {"currency_code": money.currency, "value": f"{money.amount:.{places}f}"}


def money_of(amount: Mapping[str, str]) -> Money:
    """Return the money that an `amount` object of PayPal's means.

    Raises:
        InvalidAmount: no number, or finer than our rows hold, so that nothing is rounded away.
    """
    try:
        value = Decimal(amount["value"])
    except InvalidOperation:
        raise InvalidAmount("the amount is not a number") from None
    if not value.is_finite() or value != round(value, 2):
        raise InvalidAmount(f"{amount['value']!r} is finer than a row can hold")
    return Money(value.quantize(_CENT), amount["currency_code"])
