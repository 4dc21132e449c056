"""Exchange rates over the API, and totals in one currency: never a silent sum."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from models.clock import now
from models.tenants import Company, Tenant
from tests.exchange import Exchange, forget_rates, keep_rates, opened
from tests.factories import make_invoice
from tests.web.visitor import problem_of
from worker.database import transaction

FX = "/api/v1/fx"
OVERVIEW = "/api/v1/overview"
D = Decimal


@pytest.fixture(autouse=True)
def _no_rates(database):
    forget_rates()
    yield
    forget_rates()


@pytest.fixture
def owner(visitor, person):
    return visitor.sign_in(person.email)


@pytest.fixture
def exchange(use, fx, monkeypatch):
    with opened(fx, monkeypatch) as made:
        yield made


def convert(who, amount: str, origin: str, to: str, **more: str):
    query = {"amount": amount, "from": origin, "to": to, **more}
    return who.send("GET", f"{FX}/convert", query_string=query)


def test_money_is_told_in_another_currency_with_the_rate_that_was_used(owner):
    as_of = keep_rates({"EUR": "0.8", "INR": "84", "JPY": "150"})
    cross = convert(owner, "100.00", "EUR", "INR").json
    assert (cross["converted"], cross["to"], cross["rate"]) == (10500, "INR", 105)
    assert (cross["source"], cross["is_stale"]) == ("openexchangerates", False)
    assert cross["as_of"] == as_of.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert convert(owner, "1.00", "USD", "INR").json["converted"] == 84
    assert convert(owner, "1.00", "INR", "USD").json["converted"] == D("0.01")
    # Half to even: 0.005 euros are 0.9375 yen; 0.02 are 3.75.
    assert convert(owner, "0.02", "EUR", "JPY").json["converted"] == 4
    same = convert(owner, "5.55", "CHF", "CHF").json
    assert (same["converted"], same["rate"], same["source"], same["as_of"]) == (
        D("5.55"),
        1,
        None,
        None,
    )


def test_a_past_time_converts_by_what_was_known_then(owner):
    keep_rates({"EUR": "0.5"}, as_of=now() - timedelta(days=9))
    keep_rates({"EUR": "0.8"})
    then = (now() - timedelta(days=8)).isoformat()
    assert convert(owner, "10", "USD", "EUR", as_of=then).json["converted"] == 5
    assert convert(owner, "10", "USD", "EUR").json["converted"] == 8


def test_what_is_too_old_is_refused_or_flagged_as_the_policy_says(owner, use):
    keep_rates({"EUR": "0.8"}, as_of=now() - timedelta(hours=37))
    refused = problem_of(convert(owner, "10", "USD", "EUR"), 409, "stale-rate")
    assert "EUR" in refused["detail"]
    use(fx_stale_policy="flag")
    flagged = convert(owner, "10", "USD", "EUR").json
    assert (flagged["converted"], flagged["is_stale"]) == (8, True)
    use(fx_stale_after_s="200000", fx_stale_policy="refuse")
    assert convert(owner, "10", "USD", "EUR").json["is_stale"] is False


def test_what_nobody_has_told_is_a_conflict_that_names_it(owner):
    keep_rates({"EUR": "0.8"})
    missing = problem_of(convert(owner, "10", "EUR", "GBP"), 409, "no-rate")
    assert "GBP" in missing["detail"]


@pytest.mark.parametrize(
    ("amount", "origin", "to"),
    [("-1", "EUR", "INR"), ("1.001", "EUR", "INR"), ("1.5", "JPY", "INR"), ("1", "EUR", "XAU"),
     ("x", "EUR", "INR"), ("99999999999999", "EUR", "INR"), ("1", "", "INR")],
)  # fmt: skip
def test_what_is_no_money_is_refused(owner, amount, origin, to):
    problem_of(convert(owner, amount, origin, to), 422, "invalid")


def test_what_is_older_than_a_month_is_as_good_as_unknown(owner, use):
    keep_rates({"EUR": "0.8"}, as_of=now() - timedelta(days=31))
    use(fx_stale_policy="flag")
    problem_of(convert(owner, "10", "USD", "EUR"), 409, "no-rate")
    use(fx_stale_after_s=str(40 * 24 * 3600))
    assert convert(owner, "10", "USD", "EUR").json["converted"] == 8


def test_of_a_time_before_all_rates_none_is_known_and_of_one_to_come_those_of_now(owner):
    keep_rates({"EUR": "0.8"})
    first = "0001-01-01T00:00:00Z"
    problem_of(convert(owner, "1", "USD", "EUR", as_of=first), 409, "no-rate")
    assert owner.get(f"{FX}/rates?as_of={first}").json["data"] == []
    last = "9999-12-31T23:59:59Z"
    assert convert(owner, "10", "USD", "EUR", as_of=last).json["converted"] == 8
    assert owner.get(f"{FX}/rates?as_of={last}").json["is_stale"] is False
    problem_of(convert(owner, "1", "USD", "EUR", as_of="yesterday"), 422, "invalid")


def test_rates_are_listed_in_any_currency_that_is_known(owner):
    as_of = keep_rates({"EUR": "0.8", "INR": "84"})
    listed = owner.get(f"{FX}/rates?base=EUR").json
    assert listed["base"] == "EUR"
    assert {each["currency"]: each["rate"] for each in listed["data"]} == {
        "INR": 105,
        "USD": D("1.25"),
    }
    assert listed["as_of"] == as_of.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert owner.get(f"{FX}/rates?base=GBP").json["data"] == []
    keep_rates({"GBP": "0.7"}, as_of=now() - timedelta(days=3))
    [pound] = [e for e in owner.get(f"{FX}/rates").json["data"] if e["currency"] == "GBP"]
    assert pound["is_stale"] is True


def test_operators_have_the_source_asked_once_however_often_they_say_so(exchange, operator, staff):
    first = operator.post(f"{FX}/refresh")
    second = operator.post(f"{FX}/refresh", {})
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json["id"] == second.json["id"]
    exchange.work()
    assert len(exchange.control.asks()) == 1
    [told] = operator.get(f"{FX}/fetches").json["data"]
    assert (told["status"], told["error"]) == ("stored", None)
    assert told["rates"] > 100
    again = operator.post(f"{FX}/refresh")
    assert (again.status_code, again.json["id"]) == (200, told["id"])


def test_who_may_not_refresh_cannot(exchange: Exchange, owner, operator, staff):
    problem_of(owner.post(f"{FX}/refresh"), 403, "forbidden")
    problem_of(owner.get(f"{FX}/fetches"), 403, "forbidden")
    with transaction() as session:
        session.get_one(Tenant, staff.tenant_id).is_platform = False
    problem_of(operator.post(f"{FX}/refresh", {"accept_jumps": True}), 403, "forbidden")
    problem_of(operator.post(f"{FX}/refresh", {"day": "1998-12-31"}), 422, "invalid")
    problem_of(operator.post(f"{FX}/refresh", {"day": str(now().date())}), 422, "invalid")
    assert exchange.owed() == []


def test_without_a_source_there_is_nothing_to_refresh(operator):
    problem_of(operator.post(f"{FX}/refresh"), 409, "conflict")


def test_an_overview_tells_all_currencies_in_the_companys_own(owner, person):
    keep_rates({"EUR": "0.8", "INR": "84", "JPY": "150"})
    make_invoice(person.company_id, "100.00", "INR")
    make_invoice(person.company_id, "10.00", "EUR")
    make_invoice(person.company_id, "1000", "JPY")
    totals = owner.get(OVERVIEW).json["totals"]
    assert (totals["currency"], totals["due"]) == ("INR", D("1710.00"))
    assert (totals["is_complete"], totals["is_stale"], totals["missing"]) == (True, False, [])
    used = {each["currency"]: each for each in totals["rates"]}
    assert used["EUR"]["rate"] == 105
    assert used["INR"]["source"] is None
    assert used["JPY"]["as_of"] is not None
    dollars = owner.get(f"{OVERVIEW}?currency=USD").json["totals"]
    assert (dollars["currency"], dollars["due"]) == ("USD", D("20.36"))


def test_a_currency_without_a_rate_is_in_no_total_and_is_named(owner, person, use):
    keep_rates({"INR": "84"})
    keep_rates({"EUR": "0.8"}, as_of=now() - timedelta(days=5))
    for amount, currency in (("100.00", "INR"), ("10.00", "EUR"), ("7.00", "GBP")):
        make_invoice(person.company_id, amount, currency)
    totals = owner.get(OVERVIEW).json["totals"]
    assert (totals["due"], totals["is_complete"]) == (100, False)
    assert {each["currency"]: each["reason"] for each in totals["missing"]} == {
        "EUR": "stale_rate",
        "GBP": "no_rate",
    }
    use(fx_stale_policy="flag")
    flagged = owner.get(OVERVIEW).json["totals"]
    assert (flagged["due"], flagged["is_stale"]) == (1150, True)
    assert [each["currency"] for each in flagged["missing"]] == ["GBP"]


def test_a_tenant_chooses_what_its_totals_are_told_in(operator, ours, staff):
    keep_rates({"EUR": "0.8", "INR": "84"})
    make_invoice(ours.company_id, "210.00", "INR")
    assert operator.get(f"{FX}/currency").json == {"currency": "INR", "is_default": True}
    chosen = operator.send("PUT", f"{FX}/currency", json={"currency": "EUR"})
    assert chosen.json == {"currency": "EUR", "is_default": False}
    assert operator.get(OVERVIEW).json["totals"]["due"] == 2
    # For one company it is that one's.
    with transaction() as session:
        session.get_one(Company, ours.company_id).currency = "USD"
    one = operator.get(OVERVIEW, X_Company_Id=str(ours.company_id)).json["totals"]
    assert (one["currency"], one["due"]) == ("USD", D("2.50"))
    operator.send("PUT", f"{FX}/currency", json={"currency": None})
    assert operator.get(OVERVIEW).json["totals"]["currency"] == "INR"
