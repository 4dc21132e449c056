"""What lines come to: exact, rounded where it arises, and the parts are the whole."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.money import InvalidAmount, decimals
from models.totals import Line, Tax, add_up, line_amount, part, price, rounded

# Of none, two and three decimals; the last are taken with two, as providers round them.
CURRENCIES = ("JPY", "ISK", "INR", "USD", "KWD", "BHD")
percents = st.decimals(0, 100, places=4)
lines = st.builds(
    Line,
    description=st.just("a line"),
    quantity=st.decimals(0, 100_000, places=4),
    unit_amount=st.decimals(0, 10_000, places=6),
    discount_percent=percents,
    taxes=st.lists(st.builds(Tax, st.sampled_from(("CGST", "SGST")), percents), max_size=3).map(
        tuple
    ),
)


def line(**changed) -> Line:
    return Line(
        **{"description": "a", "quantity": Decimal(1), "unit_amount": Decimal(10)} | changed
    )


def is_money(amount: Decimal, currency: str) -> bool:
    return amount == round(amount, decimals(currency)) and amount.as_tuple().exponent == -2


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(lines, min_size=1, max_size=8), st.sampled_from(CURRENCIES))
def test_the_parts_are_the_whole(several, currency):
    priced = [price(each, currency) for each in several]
    totals = add_up(priced)
    assert totals.amount == sum(each.total for each in priced)
    assert totals.amount == totals.subtotal - totals.discount_amount + totals.tax_amount
    for each, asked in zip(priced, several, strict=True):
        assert each.total == each.amount - each.discount_amount + each.tax_amount
        assert 0 <= each.discount_amount <= each.amount
        figures = (each.amount, each.discount_amount, each.total, *(a for _, a in each.taxes))
        assert all(is_money(figure, currency) for figure in figures)
        # No figure is off by more than half of the smallest coin.
        half = Decimal(1).scaleb(-decimals(currency)) / 2
        assert abs(each.amount - asked.quantity * asked.unit_amount) <= half
        net = each.amount - each.discount_amount
        for tax, amount in each.taxes:
            assert abs(amount - net * tax.percent / 100) <= half


@settings(max_examples=100, deadline=None, derandomize=True)
@given(lines, st.sampled_from(CURRENCIES))
def test_what_is_credited_undoes_what_was_billed_to_the_cent(asked, currency):
    """A proration bills the same line below zero."""
    credit = line(
        quantity=asked.quantity,
        unit_amount=-asked.unit_amount,
        discount_percent=asked.discount_percent,
        taxes=asked.taxes,
        kind="proration",
    )
    assert add_up([price(asked, currency), price(credit, currency)]).amount == 0


def test_the_taxes_of_a_line_are_rounded_one_by_one_and_half_to_even():
    both = (Tax("CGST", Decimal("2.5")), Tax("SGST", Decimal("2.5")))
    priced = price(line(unit_amount=Decimal("1.80"), taxes=both), "INR")
    # 0.045 twice: each to the even cent, where one rate of 5 % would come to 0.09.
    assert [str(amount) for _, amount in priced.taxes] == ["0.04", "0.04"]
    assert str(priced.total) == "1.88"


def test_a_tax_is_of_what_a_discount_leaves():
    vat = (Tax("VAT", Decimal(20)),)
    by_percent = price(line(discount_percent=Decimal("12.5"), taxes=vat), "EUR")
    by_amount = price(line(discount_amount=Decimal("1.25"), taxes=vat), "EUR")
    assert by_percent == by_amount
    assert (by_amount.tax_amount, by_amount.total) == (Decimal("1.75"), Decimal("10.50"))


def test_no_amount_is_a_negative_zero():
    assert str(rounded(Decimal("-0.001"), "INR")) == "0.00"
    assert str(line_amount(Decimal(0), Decimal(-1), "INR")) == "0.00"


def test_shares_of_an_amount_add_up_to_it():
    shares, given_out = [], Decimal(0)
    for third in (1, 2, 3):
        shares.append(part(Decimal(100), Decimal(third), Decimal(3), "INR") - given_out)
        given_out += shares[-1]
    assert list(map(str, shares)) == ["33.33", "33.34", "33.33"]


@pytest.mark.parametrize(
    ("why", "wrong"),
    [
        ("quantity below zero", {"quantity": Decimal(-1)}),
        ("more decimals", {"quantity": Decimal("0.00001")}),
        ("more decimals", {"unit_amount": Decimal("0.0000001")}),
        ("neither a proration nor a credit", {"unit_amount": Decimal(-1)}),
        ("percentage", {"discount_percent": Decimal(101)}),
        ("percentage", {"taxes": (Tax("VAT", Decimal(-1)),)}),
        ("discount below zero", {"discount_amount": Decimal(-1)}),
        ("two of them", {"discount_amount": Decimal(1), "discount_percent": Decimal(1)}),
        ("more than itself", {"discount_amount": Decimal("10.01")}),
        ("finer than", {"discount_amount": Decimal("0.001")}),
        ("comes to more", {"unit_amount": Decimal("9999999999999.99"), "quantity": Decimal(2)}),
        (
            "comes to more",
            {"unit_amount": Decimal("9999999999999.99"), "taxes": (Tax("VAT", Decimal(1)),)},
        ),
    ],
)
def test_a_line_that_makes_no_sense_is_refused(why, wrong):
    with pytest.raises(InvalidAmount, match=why):
        price(line(**wrong), "INR")


def test_lines_that_come_to_less_than_nothing_are_refused():
    credit = line(unit_amount=Decimal(-11), kind="proration")
    with pytest.raises(InvalidAmount, match="less than nothing"):
        add_up([price(line(), "INR"), price(credit, "INR")])


def test_lines_that_come_to_more_than_a_row_can_hold_are_refused():
    largest = line(unit_amount=Decimal("9999999999999.99"))
    with pytest.raises(InvalidAmount, match="at most"):
        add_up([price(largest, "INR"), price(line(), "INR")])
