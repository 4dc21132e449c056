"""Conversions: exact, rounded once, and right whichever way they go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.fx import Known, NoRate, Policy, Quote, Rates, StaleRate, rounded
from models.fx_fetches import Sheet, objections
from models.fx_totals import total
from models.money import CURRENCIES, LARGEST, Money, decimals

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SOURCE = "openexchangerates"
D = Decimal
QUICK = settings(max_examples=100, deadline=None, database=None)

# From a currency of which a millionth is a dollar to one of which ten are.
RATE = st.decimals("0.1", "1000000", places=12)
CURRENCY = st.sampled_from(sorted(CURRENCIES))
AMOUNT = st.decimals("0.01", "99999999", places=2)


def rates_of(rates: dict[str, Decimal], *, age: timedelta = timedelta(), **policy) -> Rates:
    known = {currency: Known(rate, NOW - age) for currency, rate in rates.items()}
    return Rates(known, NOW, Policy(**policy))


def unit(currency: str) -> Decimal:
    return D(1).scaleb(-decimals(currency))


@st.composite
def markets(draw) -> tuple[Rates, str, str]:
    """Rates of two currencies, one of which may be the base."""
    origin, to = draw(st.lists(CURRENCY, min_size=2, max_size=2, unique=True))
    rates = {each: draw(RATE) for each in (origin, to) if each != "USD"}
    return rates_of(rates), origin, to


def whole(amount: Decimal, currency: str) -> Decimal:
    return max(rounded(amount, currency), unit(currency))


@given(market=markets(), amount=AMOUNT)
@QUICK
def test_there_and_back_is_off_by_what_rounding_in_the_other_currency_costs(market, amount):
    """Half a minor unit of each is lost at most; that is one where the other's is worth less."""
    rates, origin, to = market
    money = Money(whole(amount, origin), origin)
    there = rates.convert(money, to)
    back = rates.convert(there.money, origin)
    lost = unit(to) / 2 * back.rate + unit(origin) / 2
    assert abs(back.money.amount - money.amount) <= lost * (1 + D("1e-20"))
    if unit(to) * back.rate <= unit(origin):
        assert abs(back.money.amount - money.amount) <= unit(origin)


@given(market=markets(), one=AMOUNT, other=AMOUNT)
@QUICK
def test_more_is_never_told_as_less(market, one, other):
    rates, origin, to = market
    low, high = sorted(whole(each, origin) for each in (one, other))
    told = [rates.convert(Money(each, origin), to).money.amount for each in (low, high)]
    assert told[0] <= told[1]


@given(market=markets(), amount=AMOUNT)
@QUICK
def test_a_cross_rate_is_the_direct_one_of_a_source_in_that_currency(market, amount):
    rates, origin, to = market
    cross = rates.quote(origin, to).rate
    told = {to: round(cross, 12)}
    direct = Rates({to: Known(told[to], NOW)}, NOW, Policy(base=origin))
    assert abs(direct.quote(origin, to).rate - cross) <= D("5e-13")
    money = Money(whole(amount, origin), origin)
    apart = direct.convert(money, to).money.amount - rates.convert(money, to).money.amount
    assert abs(apart) <= money.amount * D("5e-13") + unit(to)


@given(market=markets(), amount=AMOUNT)
@QUICK
def test_whoever_multiplies_by_the_rate_that_is_kept_gets_the_same(market, amount):
    rates, origin, to = market
    money = Money(whole(amount, origin), origin)
    found = rates.convert(money, to)
    with localcontext() as exact:
        exact.prec = 100
        assert rounded(money.amount * found.rate, to) == found.money.amount
        assert abs(money.amount * found.rate - found.money.amount) <= unit(to) / 2


def test_the_largest_amount_is_converted_to_the_last_digit():
    rates = rates_of({"INR": D("83.123456789012")})
    found = rates.convert(Money(LARGEST, "USD"), "INR")
    assert found.money.amount == D("831234567890119.17")


def test_a_half_goes_to_the_even_neighbour_once():
    rates = rates_of({"EUR": D("0.5"), "JPY": D("0.5")})
    told = [rates.convert(Money(D(each), "USD"), "EUR").money.amount for each in ("0.01", "0.03")]
    assert told == [D("0.00"), D("0.02")]
    assert rates.convert(Money(D("5.00"), "USD"), "JPY").money.amount == D("2.00")
    assert rates.convert(Money(D("7.00"), "USD"), "JPY").money.amount == D("4.00")
    # 3.49965: rounded to cents first it would be 3.50, and that 4.
    near = rates_of({"JPY": D("0.49995")})
    assert near.convert(Money(D("7.00"), "USD"), "JPY").money.amount == D("3.00")


def test_a_currency_in_itself_needs_no_rate():
    assert rates_of({}).quote("CHF", "CHF") == Quote(D(1), None, None, is_stale=False)


def test_the_older_of_two_rates_says_how_old_a_cross_rate_is():
    old = NOW - timedelta(hours=37)
    known = {"EUR": Known(D("0.9"), NOW), "INR": Known(D(84), old)}
    with pytest.raises(StaleRate, match="INR") as stale:
        Rates(known, NOW, Policy()).quote("EUR", "INR")
    assert (stale.value.currency, stale.value.as_of) == ("INR", old)
    flagged = Rates(known, NOW, Policy(refuses_stale=False)).quote("EUR", "INR")
    assert (flagged.as_of, flagged.is_stale) == (old, True)
    assert Rates(known, NOW, Policy()).quote("USD", "EUR").is_stale is False


def test_what_is_unknown_is_named():
    with pytest.raises(NoRate, match="GBP"):
        rates_of({"EUR": D("0.9")}).quote("EUR", "GBP")


def test_a_total_names_what_it_lacks_and_asks_no_rate_for_nothing():
    sums = {
        "EUR": {"due": D(10), "paid": D(0)},
        "GBP": {"due": D(5), "paid": D(5)},
        "CHF": {"due": D(0), "paid": D(0)},
        "INR": {"due": D(1), "paid": D(2)},
    }
    rates = rates_of({"EUR": D("0.8"), "INR": D(84)})
    found = total(rates, "INR", sums, names=("due", "paid"))
    assert found.amounts == {"due": D(1051), "paid": D(2)}
    assert [(each.currency, each.reason) for each in found.missing] == [("GBP", "no_rate")]
    assert found.quotes.keys() == {"EUR", "INR"}


def sheet(rates: dict[str, str], **more) -> Sheet:
    values = {"source": SOURCE, "base": "USD", "as_of": NOW, **more}
    return Sheet(rates={name: D(rate) for name, rate in rates.items()}, **values)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (sheet({"EUR": "0.9"}, base="EUR"), "It is in EUR"),
        (sheet({"EUR": "0"}), "EUR is at 0."),
        (sheet({"EUR": "-1"}), "EUR is at -1."),
        (sheet({"EUR": "NaN"}), "EUR is at NaN."),
        (sheet({"EUR": "1E+400"}), "cannot be kept"),
        (sheet({"EUR": "1E-13"}), "cannot be kept"),
        (sheet({"USD": "2", "EUR": "0.9"}), "USD in itself is at 2."),
        (sheet({"XAU": "0.0003"}), "no currency that can be charged"),
        (sheet({"EUR": "0.9"}, as_of=NOW + timedelta(hours=2)), "yet to come"),
        (sheet({"EUR": "1.21", "GBP": "0.8"}), "EUR moved by 34.4 %"),
        (sheet({"EUR": "0.67", "GBP": "0.8"}), "EUR moved by 34.3 %"),
    ],
)
def test_what_cannot_be_true_is_objected_to(told, said):
    before = {"EUR": D("0.9"), "GBP": D("0.8")}
    found = objections(
        told, base="USD", day=None, moment=NOW, before=before, most_jump_percent=D(25)
    )
    assert any(said in each for each in found), found


def test_what_can_be_true_is_not_objected_to():
    told = sheet({"EUR": "0.99", "GBP": "0.8", "USD": "1", "BTC": "0.00001"})
    before = {"EUR": D("0.9"), "GBP": D("0.8")}
    asked = {"base": "USD", "moment": NOW, "before": before, "most_jump_percent": D(25)}
    assert objections(told, day=None, **asked) == []
    assert objections(told, day=NOW.date(), **asked) == []
    [other_day] = objections(told, day=NOW.date() - timedelta(days=1), **asked)
    assert "was asked for" in other_day
    assert told.chargeable == {"EUR": D("0.99"), "GBP": D("0.8")}
