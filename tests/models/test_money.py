from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.money import CURRENCIES, LARGEST, InvalidAmount, Money, amount_of, decimals


@pytest.mark.parametrize(
    ("value", "currency", "amount"),
    [
        (10000, "INR", "10000.00"),
        ("0.01", "USD", "0.01"),
        ("1e2", "USD", "100.00"),
        ("500", "JPY", "500.00"),
        ("500.00", "JPY", "500.00"),
        ("1.10", "KWD", "1.10"),
        (str(LARGEST), "EUR", str(LARGEST)),
    ],
)
def test_an_amount_is_taken_exactly(value, currency, amount):
    assert str(amount_of(value, currency)) == amount


@pytest.mark.parametrize(
    ("value", "currency", "why"),
    [
        ("0", "INR", "above zero"),
        ("-1", "INR", "above zero"),
        ("NaN", "INR", "not a number"),
        ("Infinity", "INR", "not a number"),
        ("twelve", "INR", "not a number"),
        ("0.001", "INR", "more decimals"),
        ("1.5", "JPY", "more decimals"),
        ("1.5", "ISK", "more decimals"),
        ("1.005", "KWD", "more decimals"),
        ("10000000000000", "INR", "at most"),
        ("1e999999", "INR", "at most"),
        ("1", "XXX", "not a currency"),
        ("1", "inr", "not a currency"),
    ],
)
def test_an_amount_that_is_no_money_is_refused_with_a_reason(value, currency, why):
    with pytest.raises(InvalidAmount, match=why):
        amount_of(value, currency)


@given(st.sampled_from(sorted(CURRENCIES)), st.integers(1, 10**13 - 1))
def test_every_amount_of_every_currency_survives_as_text(currency, units):
    amount = Decimal(units).scaleb(-decimals(currency))
    assert amount_of(str(amount), currency) == amount
    assert amount_of(amount, currency).as_tuple().exponent == -2


def test_one_currency_adds_up_and_two_do_not():
    one, three = Money(Decimal(1), "INR"), Money(Decimal(3), "INR")
    assert one + three == Money(Decimal(4), "INR")
    assert one - three == Money(Decimal(-2), "INR")
    for reckon in (Money.__add__, Money.__sub__):
        with pytest.raises(InvalidAmount, match="mix"):
            reckon(one, Money(Decimal(1), "USD"))


def test_money_is_shown_with_its_currencys_decimals():
    assert str(Money(Decimal("1234567.50"), "INR")) == "1,234,567.50 INR"
    assert str(Money(Decimal("1500.00"), "JPY")) == "1,500 JPY"
