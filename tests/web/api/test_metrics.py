"""Metrics over the API: days, weeks and months of a company, in its currency, compared."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from models.analytics_events import NewEvent, Source, event_id, store
from models.clock import now
from models.metric_registry import METRICS
from models.tenants import Role, User
from tasks import metrics
from tests.exchange import forget_rates, keep_rates
from tests.factories import make_company
from tests.web.visitor import problem_of
from worker.cache import CacheAway
from worker.caching import caching
from worker.database import in_transaction, transaction

METRICS_AT, SERIES = "/api/v1/metrics", "/api/v1/metrics/series"
# As `ask` takes them: `from` is a word of Python.
SPAN = {"since": "2026-03-01", "to": "2026-03-31"}


@pytest.fixture
def owner(visitor, person):
    """In this process: no worker has anything to do here."""
    return visitor.sign_in(person.email)


def keep(company_id, *told, rolled=True) -> None:
    """Store events: day (or moment), name, amount and what else they have; roll their days up."""
    events = [
        NewEvent(
            id=event_id(company_id),
            company_id=company_id,
            event_type="payment",
            name=name,
            timestamp=at if isinstance(at, datetime) else datetime.fromisoformat(f"{at}T12:00Z"),
            source=Source.OWN,
            amount=None if amount is None else Decimal(amount),
            **{"currency": None if amount is None else "INR", **more},
        )
        for at, name, amount, more in told
    ]
    in_transaction(store, None, events)
    if rolled:
        metrics.roll_up()


def paid(at, amount="10.00", **more):
    return at, "payment.succeeded", amount, more


def counted(at, name, **more):
    return at, name, None, more


def ask(visitor, names, headers=None, **asked):
    asked = {"from" if name == "since" else name: value for name, value in asked.items()}
    query = "&".join(f"{name}={value}" for name, value in {"metrics": names, **asked}.items())
    answer = visitor.get(f"{SERIES}?{query}", **(headers or {}))
    assert answer.status_code == 200, answer.text
    return answer.json


def values(line) -> dict:
    return {each["date"]: each["value"] for each in line["points"]}


def test_the_metrics_are_listed_with_what_they_are(owner, sign_in_as):
    listed = {each["name"]: each for each in owner.get(METRICS_AT).json["data"]}
    assert listed.keys() == {n for n, each in METRICS.items() if not each.is_for_operators}
    assert listed["recoveries"]["dimension"] == "step"
    assert listed["mrr"]["is_level"] is True
    listed = sign_in_as(Role.OPERATOR).get(METRICS_AT).json["data"]
    assert "active_companies" in {each["name"] for each in listed}


@pytest.mark.parametrize(
    ("granularity", "expected"),
    [
        ("day", {"2026-03-01": "10.00", "2026-03-09": "0.00", "2026-03-10": "5.00"}),
        ("week", {"2026-02-23": "10.00", "2026-03-09": "5.00"}),
        ("month", {"2026-03-01": "15.00"}),
    ],
)
def test_points_are_of_days_weeks_and_months(owner, person, granularity, expected):
    keep(person.company_id, paid("2026-02-28", "99.00"), paid("2026-03-01"))
    keep(person.company_id, paid("2026-03-10", "5.00"), paid("2026-04-01", "99.00"))
    answer = ask(owner, "revenue", granularity=granularity, **SPAN)
    [line] = answer["data"]
    assert values(line).items() >= expected.items()
    assert (line["total"], line["currency"], line["unit"]) == ("15.00", "INR", "money")
    assert (answer["from"], answer["to"]) == ("2026-03-01", "2026-03-31")
    assert len(line["points"]) == {"day": 31, "week": 6, "month": 1}[granularity]


def test_a_share_over_weeks_is_of_sums_and_none_where_there_is_nothing(owner, person):
    attempts = [("2026-03-02", ""), ("2026-03-03", "lost"), ("2026-03-03", "x"), ("2026-03-03", "")]
    keep(
        person.company_id,
        *(counted(day, "payment.attempted", dimension=code) for day, code in attempts),
        *(counted("2026-03-02", "invoice.paid", quantity=Decimal(n)) for n in (1, 4)),
    )
    names = "payment_success_rate,days_to_pay"
    share, mean = ask(owner, names, granularity="week", **SPAN)["data"]
    assert values(share)["2026-03-02"] == "0.5000"
    assert values(share)["2026-03-09"] is None
    assert (share["total"], mean["total"]) == ("0.5000", "2.5000")


def test_parts_have_a_line_each(owner, person):
    keep(
        person.company_id,
        *(counted("2026-03-02", "payment.recovered", dimension=step) for step in "112"),
        *(counted("2026-03-02", "payment.retried", dimension=step) for step in "1111222"),
    )
    lines = ask(owner, "recoveries,recovery_rate", by="dimension", **SPAN)["data"]
    told = {(each["metric"], each["dimension"]): each["total"] for each in lines}
    assert told == {
        ("recoveries", "1"): "2",
        ("recoveries", "2"): "1",
        ("recovery_rate", "1"): "0.5000",
        ("recovery_rate", "2"): "0.3333",
    }
    [whole, _] = ask(owner, "recoveries,recovery_rate", **SPAN)["data"]
    assert (whole["dimension"], whole["total"]) == ("", "3")


def test_levels_are_all_that_came_before(owner, person):
    def mrr(day, amount, dimension):
        return day, "mrr.changed", amount, {"dimension": dimension}

    keep(
        person.company_id,
        mrr("2026-01-05", "100.00", "new"),
        mrr("2026-03-02", "50.00", "expansion"),
        mrr("2026-03-04", "-30.00", "churn"),
        counted("2026-01-05", "subscription.started"),
        counted("2026-03-02", "subscription.started"),
        counted("2026-03-04", "subscription.canceled"),
    )
    names = "mrr,arr,active_subscriptions,churn_rate,mrr_churned"
    lines = {each["metric"]: each for each in ask(owner, names, compare="previous", **SPAN)["data"]}
    mrr_of = values(lines["mrr"])
    assert [mrr_of[f"2026-03-0{day}"] for day in (1, 2, 4)] == ["100.00", "150.00", "120.00"]
    assert lines["mrr"]["previous"]["total"] == "100.00"
    assert (lines["arr"]["total"], lines["active_subscriptions"]["total"]) == ("1440.00", "1")
    assert values(lines["churn_rate"])["2026-03-04"] == "0.2000"
    assert lines["churn_rate"]["total"] == "0.3000"
    assert lines["mrr_churned"]["total"] == "30.00"


def test_the_period_before_is_as_long_and_ends_where_this_begins(owner, person):
    keep(person.company_id, paid("2026-03-01", "1.00"), paid("2026-03-08", "2.00"))
    asked = {"since": "2026-03-08", "to": "2026-03-14"}
    [line] = ask(owner, "revenue", compare="previous", **asked)["data"]
    before = line["previous"]
    assert (before["from"], before["to"], before["total"]) == ("2026-03-01", "2026-03-07", "1.00")
    assert [each["value"] for each in before["points"]] == ["1.00"] + ["0.00"] * 6
    assert line["total"] == "2.00"
    [line] = ask(owner, "revenue", **asked)["data"]
    assert "previous" not in line


def test_money_is_told_in_one_currency_and_old_or_missing_rates_are_named(owner, person):
    forget_rates()
    old = keep_rates({"EUR": "0.5"}, as_of=now() - timedelta(days=5))
    keep_rates({"INR": "80", "JPY": "160"})
    keep(
        person.company_id,
        paid("2026-03-01", "10.00"),
        paid("2026-03-01", "1.00", currency="EUR"),
        paid("2026-03-01", "100", currency="JPY"),
        paid("2026-03-01", "7.00", currency="GBP"),
    )
    answer = ask(owner, "revenue", **SPAN)
    told = {each["currency"]: each["total"] for each in answer["data"]}
    assert told == {"INR": "220.00", "GBP": "7.00"}
    assert [each["currency"] for each in answer["stale_rates"]] == ["EUR", "GBP"]
    assert datetime.fromisoformat(answer["stale_rates"][0]["as_of"]) == old
    assert answer["stale_rates"][1]["as_of"] is None
    answer = ask(owner, "revenue", currency="JPY", **SPAN)
    assert {each["currency"]: each["total"] for each in answer["data"]}["JPY"] == "440.00"
    forget_rates()


def test_today_is_read_as_it_is_also_when_redis_is_away(owner, person, monkeypatch):
    keep(person.company_id, paid(now()), paid(now() - timedelta(days=1), "1.00"))
    # It came after the day was rolled up.
    keep(person.company_id, paid(now(), "5.00"), rolled=False)
    [line] = ask(owner, "revenue")["data"]
    assert line["total"] == "16.00"
    keep(person.company_id, paid(now(), "4.00"), rolled=False)

    def away(*_):
        raise CacheAway("it is pulled out")

    monkeypatch.setattr(caching(), "_ask", away)
    [line] = ask(owner, "revenue")["data"]
    assert line["total"] == "20.00"


def test_a_roll_up_makes_kept_series_stale(owner, person):
    keep(person.company_id, paid("2026-03-01"))
    assert ask(owner, "revenue", **SPAN)["data"][0]["total"] == "10.00"
    keep(person.company_id, paid("2026-03-01", "2.00"))
    assert ask(owner, "revenue", **SPAN)["data"][0]["total"] == "12.00"


def test_days_that_are_yet_to_come_have_no_value(owner, person):
    today = now().date()
    asked = {"since": today.isoformat(), "to": (today + timedelta(days=3)).isoformat()}
    [line] = ask(owner, "mrr", **asked)["data"]
    assert line["points"][-1]["value"] is None
    assert line["total"] == "0.00"


def test_an_operator_sees_all_companies_of_the_tenant_together(visitor, use, password_hash):
    staff = make_company(role=Role.OPERATOR, password_hash=password_hash)
    sister = make_company(tenant_id=staff.tenant_id)
    stranger = make_company()
    with transaction() as session:
        session.get_one(User, staff.user_id).company_id = None
    operator = visitor.sign_in(staff.email)
    for company in (staff, sister, stranger):
        keep(company.company_id, paid("2026-03-02"), paid("2026-03-05"))
    keep(sister.company_id, paid("2026-03-05"))
    names = "revenue,active_companies"
    revenue, active = ask(operator, names, granularity="week", currency="INR", **SPAN)["data"]
    assert revenue["total"] == "50.00"
    assert (values(active)["2026-03-02"], active["total"]) == ("2", "2")
    one = {"X_Company_Id": str(sister.company_id)}
    [line] = ask(operator, "revenue", one, **SPAN)["data"]
    assert line["total"] == "30.00"
    answer = operator.get(f"{SERIES}?metrics=active_companies", **one)
    assert "over all companies" in problem_of(answer, 422, "invalid")["detail"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("", "metrics"),
        ("metrics=", "metrics"),
        ("metrics=revenue,nothing", "metrics has no 'nothing'"),
        ("metrics=active_companies", "metrics has no 'active_companies'"),
        ("metrics=revenue&granularity=hour", "granularity"),
        ("metrics=revenue&by=currency", "by"),
        ("metrics=revenue&compare=year", "compare"),
        ("metrics=revenue&currency=XXX", "currency"),
        ("metrics=revenue&from=2026-03-02&to=2026-03-01", "to must not be before from"),
        ("metrics=revenue&from=1999-12-31&to=2026-03-01", "from must be 2000-01-01 or later"),
        ("metrics=revenue&from=2026-01-01&to=2200-01-01", "to must be 2100-01-01 or earlier"),
        ("metrics=revenue&from=2000-01-01&to=2026-03-01", "ask for fewer days"),
        ("metrics=revenue&from=2026-02-30", "from"),
        ("metrics=revenue&when=now", "when"),
    ],
)
def test_what_cannot_be_asked_is_said(owner, asked, said):
    body = problem_of(owner.get(f"{SERIES}?{asked}"), 422, "invalid")
    assert said in body["detail"]


def test_a_series_of_nothing_is_nothing(owner):
    lines = ask(owner, ",".join(name for name in METRICS if name != "active_companies"))["data"]
    assert len(lines) == len(METRICS) - 1
    last = date.fromisoformat(lines[0]["points"][-1]["date"])
    assert len(lines[0]["points"]) == 30
    assert abs(last - now().astimezone(UTC).date()) <= timedelta(days=1)
