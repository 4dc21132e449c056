from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.money import CURRENCIES as OURS
from models.money import PAYPAL_DECIMAL, InvalidAmount, Money, UnsupportedMoney
from models.money import PAYPAL_WHOLE as WHOLE
from models.money import decimals as our_decimals
from worker.gateways.paypal.money import amount_of, money_of

CURRENCIES = PAYPAL_DECIMAL | WHOLE

WHOLE_AMOUNTS = st.integers(min_value=1, max_value=10**12).map(Decimal)
CENTS = st.integers(min_value=1, max_value=10**14).map(lambda cents: Decimal(cents) / 100)


@given(st.sampled_from(sorted(CURRENCIES)), CENTS)
def test_what_paypal_takes_comes_back_the_same(currency: str, amount: Decimal) -> None:
    if currency in WHOLE:
        amount = amount.quantize(Decimal(1)) + 1
    money = Money(amount.quantize(Decimal("0.01")), currency)
    told = amount_of(money)
    assert money_of(told) == money
    assert Decimal(told["value"]) == money.amount
    assert ("." in told["value"]) == (currency not in WHOLE)


@given(st.sampled_from(sorted(OURS - CURRENCIES)), WHOLE_AMOUNTS)
def test_a_currency_that_paypal_does_not_take_is_refused_by_name(
    currency: str, amount: Decimal
) -> None:
    with pytest.raises(UnsupportedMoney, match=f"does not take {currency}"):
        amount_of(Money(amount, currency))


def test_every_currency_of_paypals_is_one_of_ours() -> None:
    assert CURRENCIES <= OURS
    assert len(CURRENCIES) == 24


@pytest.mark.parametrize(
    ("amount", "currency", "value"),
    [
        ("12.30", "EUR", "12.30"),
        ("0.01", "USD", "0.01"),
        ("1099.00", "JPY", "1099"),
        ("1099.00", "HUF", "1099"),
        ("1099.00", "TWD", "1099"),
    ],
)
def test_amounts_are_written_as_paypal_reads_them(amount: str, currency: str, value: str) -> None:
    money = Money(Decimal(amount), currency)
    assert amount_of(money) == {"currency_code": currency, "value": value}


@pytest.mark.parametrize("currency", ["HUF", "TWD"])
def test_what_our_rows_may_hold_and_paypal_may_not_is_refused(currency: str) -> None:
    assert our_decimals(currency) == 2
    with pytest.raises(UnsupportedMoney, match=f"{currency} without decimals"):
        amount_of(Money(Decimal("10.50"), currency))


@pytest.mark.parametrize("value", ["1.001", "NaN", "Infinity", "ten", ""])
def test_nothing_is_rounded_away_when_reading(value: str) -> None:
    with pytest.raises(InvalidAmount):
        money_of({"currency_code": "EUR", "value": value})
