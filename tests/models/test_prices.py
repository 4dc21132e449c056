"""What modules cost: flat, by the seat, and by use in tiers."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.ids import new_id
from models.prices import (
    InvalidTiers,
    Price,
    PriceKind,
    Tier,
    TiersMode,
    check_tiers,
    price_of,
)

TIERS = (
    Tier(100, Decimal("0.10")),
    Tier(1000, Decimal("0.05"), Decimal(5)),
    Tier(None, Decimal("0.01")),
)


def usage(mode=TiersMode.GRADUATED, tiers=TIERS, **more):
    return Price(
        module_id=new_id(), module="Calls", kind=PriceKind.USAGE, tiers=tiers, mode=mode, **more
    )


def cost(price, quantity):
    return sum(charge.quantity * charge.unit_amount for charge in price.charges(quantity))


@pytest.mark.parametrize(
    ("quantity", "graduated", "volume"),
    [
        (0, "0", "0"),
        (100, "10", "10"),
        (101, "15.05", "10.05"),  # the second tier's 5 once; volume: 101 at 0.05 and 5
        (1000, "60", "55"),
        (1500, "65", "15"),
    ],
)
def test_each_unit_or_all_of_them_have_the_price_of_their_tier(quantity, graduated, volume):
    assert cost(usage(), quantity) == Decimal(graduated)
    assert cost(usage(TiersMode.VOLUME), quantity) == Decimal(volume)


def test_what_is_included_is_free():
    assert cost(usage(included=50), 150) == Decimal(10)
    assert usage(included=50).charges(50) == []
    seats = Price(
        module_id=new_id(),
        module="Team",
        kind=PriceKind.PER_SEAT,
        unit_amount=Decimal(3),
        included=2,
    )
    assert [cost(seats, each) for each in (1, 2, 5)] == [0, 0, 9]


def test_a_price_is_kept_to_the_letter():
    assert price_of((price := usage(included=7)).as_json()) == price


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 500), max_size=4, unique=True), st.integers(0, 3000))
def test_every_unit_falls_into_exactly_one_tier(ends, quantity):
    tiers = (*(Tier(end, Decimal(1)) for end in sorted(ends)), Tier(None, Decimal(1)))
    check_tiers(tiers)
    for mode in TiersMode:
        assert sum(each.quantity for each in usage(mode, tiers).charges(quantity)) == quantity


@pytest.mark.parametrize("ends", [(5,), (5, 5, None), (None, None), (7, 5, None)])
def test_tiers_that_leave_a_gap_or_overlap_are_refused(ends):
    with pytest.raises(InvalidTiers):
        check_tiers([Tier(end, Decimal(1)) for end in ends])
