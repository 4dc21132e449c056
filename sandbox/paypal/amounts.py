"""Amounts as PayPal takes them: decimal strings, some currencies without decimals."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from sandbox.paypal.errors import Object, refused

CURRENCIES = frozenset(
    "AUD BRL CAD CHF CNY CZK DKK EUR GBP HKD HUF ILS JPY MXN MYR NOK NZD PHP PLN SEK SGD THB TWD "
    "USD".split()
)
WITHOUT_DECIMALS = frozenset({"HUF", "JPY", "TWD"})
LARGEST = Decimal("999999999999999.99")
CENTS = Decimal("0.01")
WHOLE = Decimal(1)
FEE_RATE = Decimal("0.0349")
FEE_FIXED = Decimal("0.49")


def checked(
    money: Object, *, field: str = "/amount", no_decimals: str = "DECIMAL_PRECISION"
) -> Decimal:
    """Return the amount of a `money` object.

    Args:
        no_decimals: the issue that this API has for decimals of a currency without them.

    Raises:
        ApiError: what PayPal would refuse.
    """
    currency, text = money["currency_code"], money["value"]
    if currency not in CURRENCIES:
        raise refused(
            "INVALID_CURRENCY_CODE", field=f"{field}/currency_code", value=currency, location="body"
        )
    amount = Decimal(text)
    issue = None
    if amount <= 0:
        issue = "CANNOT_BE_ZERO_OR_NEGATIVE"
    elif currency in WITHOUT_DECIMALS and amount != amount.to_integral_value():
        issue = no_decimals
    elif amount != amount.quantize(CENTS):
        issue = "DECIMAL_PRECISION"
    elif amount > LARGEST:
        issue = "MAX_VALUE_EXCEEDED"
    if issue:
        raise refused(issue, field=f"{field}/value", value=text, location="body")
    return amount


def of(money: Object) -> Decimal:
    """Return the amount of a `money` object that was checked before."""
    return Decimal(money["value"])


def money(amount: Decimal, currency: str) -> Object:
    """Return a `money` object."""
    step = WHOLE if currency in WITHOUT_DECIMALS else CENTS
    return {"currency_code": currency, "value": str(amount.quantize(step, ROUND_HALF_UP))}


def fee(amount: Decimal) -> Decimal:
    """Return what the stand-in keeps: 3.49 % and 0.49, never more than there is."""
    return min(amount, (amount * FEE_RATE + FEE_FIXED).quantize(CENTS, ROUND_HALF_UP))
