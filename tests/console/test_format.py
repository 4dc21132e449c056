"""Money, counts and times as the page writes them."""

from __future__ import annotations

import json

import pytest


def told(bench, call):
    return bench.evaluate(
        f"async () => {{ const f = await import('/console/static/js/format.js'); return {call}; }}"
    ).replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        ("1234.50", "INR", "₹1,234.50"),
        ("9999999999999.99", "USD", "US$9,999,999,999,999.99"),
        ("999999999999999.99", "EUR", "€999,999,999,999,999.99"),
        ("5000", "JPY", "JP¥5,000"),
        ("-0.10", "GBP", "-£0.10"),
        ("0", "KWD", "KWD 0.000"),
    ],
)
def test_money_is_exact_and_has_its_currencys_digits(bench, amount, currency, text):
    assert told(bench, f"f.money('{amount}', '{currency}')") == text


def test_what_is_typed_has_no_more_digits_than_its_currency(bench):
    assert bench.evaluate(
        """async () => {
            const {typed} = await import("/console/static/js/format.js");
            const {wrongOf} = await import("/console/static/js/views/acts.js");
            const filled = [["398.5", "USD"], ["5000", "JPY"], ["1", "KWD"]];
            const judged = ["100.505", "100.50", "1e3", ""].map((each) => wrongOf(each, "USD"));
            return [filled.map(([a, c]) => typed(a, c)), judged, wrongOf("5.0", "JPY")];
        }"""
    ) == [
        ["398.50", "5000", "1.000"],
        ["USD has 2 digits after the point.", "", *["Write an amount such as 10.00."] * 2],
        "JPY has no digits after the point.",
    ]


@pytest.mark.parametrize(
    ("amounts", "total"),
    [
        (["0.10", "0.20"], "0.30"),
        (["9999999999999.99", "0.01"], "10000000000000.00"),
        (["1", "-2.5"], "-1.5"),
        ([], "0"),
    ],
)
def test_sums_are_exact(bench, amounts, total):
    assert told(bench, f"f.sum({amounts})") == total


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-2, "just now"),
        (-30, "30 seconds ago"),
        (-200, "3 minutes ago"),
        (7200, "in 2 hours"),
        (-86400, "yesterday"),
        (3 * 86400, "in 3 days"),
    ],
)
def test_times_are_told_by_how_far_they_are(bench, seconds, text):
    assert told(bench, f"f.relative(1e12 + {seconds} * 1000, 1e12)") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.35, "350 ms"), (12, "12 s"), (240, "4 min"), (3 * 3600 + 60, "3 h 1 min"), (86400, "1 d")],
)
def test_lengths_of_time_have_two_units_at_most(bench, seconds, text):
    assert told(bench, f"f.duration({seconds})") == text


def test_figures_are_written_as_the_reader_prefers(bench):
    amounts, times = "f.money('1234.5', 'INR')", "f.dateTime('2026-11-23T20:00:00Z')"
    for preferred, text in (
        ({"language": "de", "currencyDisplay": "code"}, "1.234,50 INR"),
        ({"language": "en", "currencyDisplay": "name"}, "1,234.50 Indian rupees"),
        ({}, "₹1,234.50"),
    ):
        assert told(bench, f"(f.writeAs({preferred}), {amounts})") == text
    for preferred, text in (
        ({"timeZone": "Asia/Kolkata"}, "24 Nov 2026, 01:30:00"),
        ({"timeZone": "Nobody/Knows", "language": None}, "23 Nov 2026, 21:00:00"),
    ):
        assert told(bench, f"(f.writeAs({json.dumps(preferred)}), {times})") == text
    bare = "(f.writeAs({timeZone: 'America/New_York'}), f.date('2026-11-23'))"
    assert told(bench, bare) == "23 Nov 2026"
    assert told(bench, f"(f.writeAs({{}}), {amounts})") == "₹1,234.50"
