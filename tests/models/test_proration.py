"""Changes in a period cost what each plan was used, by the second and in every currency."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from models.billed_lines import of_change
from models.money import decimals
from models.totals import Line, LineKind, price
from schedules.periods import Every, Interval, period

ZONES = ("UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "Pacific/Apia")
# Without decimals, with two, and with three that are taken as two.
CURRENCIES = ("JPY", "ISK", "EUR", "INR", "KWD", "TND")
anchors = st.datetimes(
    min_value=datetime(2027, 1, 1),  # noqa: DTZ001  hypothesis adds the zone
    max_value=datetime(2028, 12, 31),  # noqa: DTZ001
    timezones=st.just(UTC),
).map(lambda moment: moment.replace(microsecond=0))
everies = st.sampled_from(
    [Every(Interval.MONTH), Every(Interval.MONTH, 3), Every(Interval.YEAR), Every(Interval.YEAR, 2)]
)
seats = st.integers(0, 1000)
# When in the period, as a part of it, and the seats and price from then on.
change = st.tuples(st.fractions(0, 1), seats, st.integers(1, 10**6))
changes = st.lists(change, max_size=8)
periods = st.builds(period, anchors, st.sampled_from(ZONES), everies, st.integers(1, 13))


def asked(number: int, unit_minor: int, discount: Decimal, currency: str) -> list[Line]:
    if not number:
        return []
    return [
        Line(
            description="Seats",
            quantity=Decimal(number),
            unit_amount=Decimal(unit_minor).scaleb(-decimals(currency)),
            discount_percent=discount,
            kind=LineKind.SEAT,
        )
    ]


def net(lines: list[Line], currency: str) -> Decimal:
    priced = [price(line, currency) for line in lines]
    return sum((each.amount - each.discount_amount for each in priced), Decimal(0))


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(CURRENCIES),
    periods,
    st.tuples(seats, st.integers(1, 10**6)),
    changes,
    st.decimals(0, 100, places=2),
)
def test_what_is_billed_is_the_sum_of_what_was_used(currency, whole, first, then, discount):
    before = asked(*first, discount, currency)
    billed, since, exact = net(before, currency), whole.start, Fraction(0)
    steps = 0
    for part, many, unit in sorted(then):
        at = whole.start + timedelta(seconds=int(part * whole.seconds))
        after = asked(many, unit, discount, currency)
        exact += Fraction(net(before, currency)) * int((at - since).total_seconds())
        lines = of_change(before, after, whole, at, currency)
        assert all(
            line.unit_amount == round(line.unit_amount, decimals(currency)) for line in lines
        )
        billed += net(lines, currency)
        before, since, steps = after, at, steps + 2
    rest = int((whole.end - since).total_seconds())
    smallest = Decimal(1).scaleb(-decimals(currency))
    kept = exact + Fraction(net(before, currency)) * rest
    # Each of a change's two parts is rounded once, and no error is made twice.
    assert abs(Fraction(billed) - kept / whole.seconds) <= Fraction(smallest) * steps / 2
    assert billed == billed.quantize(smallest)
    # Ended where it was changed last, what is left comes back to the last coin.
    gone = net(of_change(before, [], whole, since, currency), currency)
    used = exact / whole.seconds
    assert abs(Fraction(billed + gone) - used) <= Fraction(smallest) * (steps + 1) / 2
    if not then:
        assert billed + gone == 0


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(CURRENCIES),
    st.tuples(st.integers(1, 1000), st.integers(1, 10**6)),
    st.tuples(seats, st.integers(1, 10**6)),
    st.integers(0, 2_592_000),
)
def test_a_change_that_is_taken_back_at_once_costs_nothing(currency, first, second, second_of):
    whole = period(datetime(2027, 4, 1, tzinfo=UTC), "UTC", Every(Interval.MONTH), 1)
    at = whole.start + timedelta(seconds=second_of)
    one, other = (asked(*each, Decimal(0), currency) for each in (first, second))
    there = of_change(one, other, whole, at, currency)
    back = of_change(other, one, whole, at, currency)
    assert net(there, currency) + net(back, currency) == 0
