from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.money import CURRENCIES, LARGEST, WHOLE, InvalidAmount, Money, amount_of, decimals
from worker.gateways.stripe.minor import (
    THREE_DECIMAL,
    ZERO_DECIMAL,
    minor_of,
    money_of,
    units_in_one,
)

currencies = st.sampled_from(sorted(CURRENCIES))


@st.composite
def moneys(draw: st.DrawFn) -> Money:
    currency = draw(currencies)
    amount = draw(
        st.decimals(
            min_value=1 if currency in WHOLE else Decimal("0.01"),
            max_value=LARGEST,
            places=decimals(currency),
        )
    )
    return Money(amount_of(amount, currency), currency)


@given(moneys())
def test_money_comes_back_as_it_went(money: Money) -> None:
    assert money_of(minor_of(money), money.currency.lower()) == money


@given(moneys())
def test_stripe_gets_what_it_means_by_the_currency(money: Money) -> None:
    minor = minor_of(money)

    assert Decimal(minor) == money.amount * units_in_one(money.currency)
    if money.currency in {"ISK", "UGX"}:
        assert minor % 100 == 0
    if money.currency in THREE_DECIMAL:
        assert minor % 10 == 0


@given(currencies, st.integers(min_value=0, max_value=10**15))
def test_what_stripe_says_is_read_whole_or_refused(currency: str, amount_minor: int) -> None:
    if currency in THREE_DECIMAL and amount_minor % 10:
        with pytest.raises(InvalidAmount):
            money_of(amount_minor, currency)
    else:
        money = money_of(amount_minor, currency)
        assert money.amount * units_in_one(currency) == amount_minor


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("12.34", "EUR", 1234),
        ("0.01", "USD", 1),
        ("1999.00", "INR", 199900),
        ("500", "JPY", 500),
        ("15000", "VND", 15000),
        ("500", "ISK", 50000),
        ("7", "UGX", 700),
        ("1.50", "KWD", 1500),
        ("0.01", "BHD", 10),
        ("9999999999999.99", "USD", 999999999999999),
    ],
)
def test_examples_worked_out_by_hand(amount: str, currency: str, minor: int) -> None:
    money = Money(Decimal(amount), currency)

    assert minor_of(money) == minor
    assert money_of(minor, currency) == money


def test_the_factors_are_stripes() -> None:
    factors = {currency: units_in_one(currency) for currency in CURRENCIES}

    zero = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF"
    assert {currency for currency, units in factors.items() if units == 1} == set(zero.split())
    assert {c for c, units in factors.items() if units == 1000} == set(
        "BHD JOD KWD OMR TND".split()
    )
    assert {"ISK", "UGX"} == WHOLE - ZERO_DECIMAL


@pytest.mark.parametrize(
    ("amount", "currency"), [("0.5", "JPY"), ("0.50", "ISK"), ("0.001", "EUR"), ("0.005", "KWD")]
)
def test_what_is_finer_than_the_currency_is_never_rounded(amount: str, currency: str) -> None:
    with pytest.raises(InvalidAmount):
        minor_of(Money(Decimal(amount), currency))


@pytest.mark.parametrize("currency", ["XXX", "usd", "", "BTC"])
def test_a_currency_that_is_not_ours_is_refused(currency: str) -> None:
    with pytest.raises(InvalidAmount):
        units_in_one(currency)
