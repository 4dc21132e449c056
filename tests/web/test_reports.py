"""Reports over the API: asked, made, read as files, refused; and by the clock."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as tried
from hypothesis import strategies as st
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError

from models.analytics_events import NewEvent, Source, event_id, store
from models.base import across_companies
from models.clock import now
from models.metric_registry import METRICS
from models.outbox import Owed
from models.report_queries import DIMENSIONS
from models.reports import AnalyticsReport, ReportSchedule
from models.tenants import Company, Permission, Role, User
from tasks.reports import sweep
from tests.bell import ring
from tests.factories import Customer, make_company
from tests.web.visitor import problem_of
from worker.database import transaction
from worker.report_database import TooLong, reading, reports_engine
from worker.settings import settings

REPORTS, SCHEDULES = "/api/v1/reports", "/api/v1/report-schedules"
_READ, _WRITE = Permission.ANALYTICS_READ, Permission.ANALYTICS_WRITE
# Every route of reports, with what it needs; `test_tenancy` has them among all.
ROUTES = {
    ("GET", REPORTS): _READ,
    ("POST", REPORTS): _WRITE,
    ("GET", f"{REPORTS}/{{report_id}}"): _READ,
    ("GET", f"{REPORTS}/{{report_id}}.json"): _READ,
    ("GET", f"{REPORTS}/{{report_id}}.csv"): _READ,
    ("GET", f"{REPORTS}/{{report_id}}.parquet"): _READ,
    ("DELETE", f"{REPORTS}/{{report_id}}"): _WRITE,
    ("GET", SCHEDULES): _READ,
    ("POST", SCHEDULES): _WRITE,
    ("GET", f"{SCHEDULES}/{{schedule_id}}"): _READ,
    ("PATCH", f"{SCHEDULES}/{{schedule_id}}"): _WRITE,
    ("DELETE", f"{SCHEDULES}/{{schedule_id}}"): _WRITE,
}
DAYS = {"from": "2026-03-01", "to": "2026-04-30"}
NIGHTLY = {
    "report_name": "Revenue by week",
    "report_type": "revenue",
    "query": {"period": "previous_week", "granularity": "week"},
    "cron": "0 7 * * 1",
}


def event(
    customer: Customer, key: str, day: str, amount: str | None = "10.00", **changes
) -> NewEvent:
    return NewEvent(
        **{
            "id": event_id(customer.company_id, key),
            "company_id": customer.company_id,
            "event_type": "payment",
            "name": "payment.succeeded",
            "timestamp": datetime.fromisoformat(f"{day}T12:00:00+00:00"),
            "source": Source.OWN,
            "amount": None if amount is None else Decimal(amount),
            "currency": "EUR",
            **changes,
        }
    )


def happen(customer: Customer) -> None:
    """Three payments in two months and currencies, a refund, use of two modules, three attempts."""
    used = {"name": "usage.recorded", "event_type": "usage", "amount": None, "currency": None}
    tried_to = {"name": "payment.attempted", "amount": None}
    with transaction() as session:
        store(
            session,
            [
                event(customer, "a", "2026-03-02", "10.10"),
                event(customer, "b", "2026-03-03", "20.20"),
                event(customer, "c", "2026-04-04", "0.01", currency="INR"),
                event(customer, "d", "2026-04-04", "5.00", name="refund.succeeded"),
                # Somebody's word for money is none.
                event(customer, "e", "2026-03-02", "99.00", source=Source.API),
                event(customer, "f", "2026-03-02", quantity=Decimal(7), dimension="api", **used),
                event(customer, "g", "2026-03-05", quantity=Decimal(3), dimension="=1+1", **used),
                event(customer, "h", "2026-03-05", **tried_to),
                event(customer, "i", "2026-03-05", **tried_to),
                event(customer, "j", "2026-03-05", **tried_to, dimension="lost_card"),
            ],
        )


def ask(visitor, kind="custom", status=202, **query):
    body = {"report_type": kind, "query": {**DAYS, **query}}
    answer = visitor.post(REPORTS, body)
    assert answer.status_code == status, answer.text
    return answer.json


def work(report_id: str) -> None:
    with transaction() as session:
        owed = session.scalars(select(Owed).where(Owed.task == "reports.run")).all()
        ids = [each.id for each in owed if each.arguments["report_id"] == report_id]
    for owed_id in ids:
        ring("reports.run", owed_id)


def made(visitor, kind="custom", **query):
    report = ask(visitor, kind, **query)
    work(report["id"])
    answer = visitor.get(f"{REPORTS}/{report['id']}")
    assert (answer.status_code, answer.json["status"]) == (200, "done"), answer.text
    return answer.json


def rows(visitor, kind="custom", **query):
    return made(visitor, kind, **query)["results"]["rows"]


def test_revenue_is_told_by_month_and_currency(owner, person):
    happen(person)
    report = made(owner, "revenue", granularity="month")
    assert [each["name"] for each in report["results"]["columns"]] == [
        *("month", "currency", "revenue", "refunds", "net_revenue")
    ]
    assert report["results"]["rows"] == [
        ["2026-03-01", "EUR", "30.30", "0.00", "30.30"],
        ["2026-04-01", "EUR", "0.00", "5.00", "-5.00"],
        ["2026-04-01", "INR", "0.01", "0.00", "0.01"],
    ]
    assert report["row_count"] == 3


def test_usage_is_told_by_week_and_module(owner, person):
    happen(person)
    assert rows(owner, "usage", granularity="week") == [
        ["2026-03-02", "=1+1", "3.0000"],
        ["2026-03-02", "api", "7.0000"],
    ]


def test_a_question_of_ones_own_is_filtered_grouped_ordered_and_cut(owner, person):
    happen(person)
    assert rows(
        owner,
        metrics=["revenue", "payments_succeeded"],
        dimensions=["date"],
        filters=[
            {"field": "currency", "op": "eq", "value": "EUR"},
            {"field": "revenue", "op": "gt", "value": "10.10"},
        ],
    ) == [["2026-03-03", "20.20", "1"]]
    cut = made(
        owner,
        metrics=["revenue"],
        dimensions=["date", "currency"],
        order=[{"by": "revenue", "direction": "desc"}],
        limit=1,
    )
    assert (cut["results"]["rows"], cut["is_cut"]) == ([["2026-03-03", "EUR", "20.20"]], True)
    assert rows(owner, metrics=["payment_success_rate"]) == [["0.6667"]]


def test_the_same_question_within_an_hour_is_the_same_report(owner, person):
    happen(person)
    first = made(owner, "revenue")
    again = ask(owner, "revenue", status=200)
    assert again["id"] == first["id"]
    assert ask(owner, "revenue", granularity="week")["id"] != first["id"]
    with transaction() as session:
        session.get_one(AnalyticsReport, UUID(first["id"])).created_at -= timedelta(hours=1)
    assert ask(owner, "revenue")["id"] != first["id"]


def test_a_report_is_taken_as_csv_parquet_and_json_without_a_formula(owner, person):
    happen(person)
    report = made(
        owner,
        metrics=["usage", "refunds", "net_revenue"],
        dimensions=["month", "dimension", "currency"],
    )
    path = f"{REPORTS}/{report['id']}"
    text_of = owner.get(f"{path}.csv")
    assert text_of.content_type == "text/csv; charset=utf-8"
    cells = list(csv.reader(io.StringIO(text_of.text)))
    assert cells[0] == ["month", "dimension", "currency", "usage", "refunds", "net_revenue"]
    assert ["2026-03-01", "'=1+1", "", "3.0000", "0.00", "0.00"] in cells
    # A negative number is a number still.
    assert ["2026-04-01", "", "EUR", "0.0000", "5.00", "-5.00"] in cells
    table = pq.read_table(io.BytesIO(owner.get(f"{path}.parquet").data)).to_pylist()
    assert {
        "month": date(2026, 4, 1),
        "dimension": "",
        "currency": "EUR",
        "usage": Decimal("0.0000"),
        "refunds": Decimal("5.0000"),
        "net_revenue": Decimal("-5.0000"),
    } in table
    assert owner.get(f"{path}.json").json == report["results"]


def test_what_is_not_done_is_no_file_yet_and_what_is_deleted_is_gone(owner, person):
    report = ask(owner, "usage")
    path = f"{REPORTS}/{report['id']}"
    problem_of(owner.get(f"{path}.csv"), 409, "conflict")
    assert owner.send("DELETE", path).status_code == 204
    problem_of(owner.get(path), 404, "not-found")
    work(report["id"])


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ({"metrics": ["revenue; DROP TABLE x"], "dimensions": ["currency"]}, "query.metrics.0"),
        ({"metrics": []}, "query.metrics"),
        ({"metrics": ["revenue"]}, "query.metrics.0"),
        ({"metrics": ["usage"], "dimensions": ["date", "week"]}, "query.dimensions"),
        ({"metrics": ["usage"], "dimensions": ["company"]}, "query.dimensions.0"),
        ({"metrics": ["usage"], "order": [{"by": "id"}]}, "query.order.0.by"),
        ({"metrics": ["usage"], "limit": 0}, "query.limit"),
        ({"metrics": ["usage"], "to": "2026-02-01"}, "query.to"),
        ({"metrics": ["usage"], "granularity": "day"}, "query.granularity"),
        (
            {"metrics": ["usage"], "filters": [{"field": "company", "value": "x"}]},
            "query.filters.0.field",
        ),
        (
            {"metrics": ["usage"], "filters": [{"field": "dimension", "op": "in", "value": "x"}]},
            "query.filters.0.value",
        ),
        (
            {"metrics": ["usage"], "filters": [{"field": "usage", "op": "gt", "value": "x"}]},
            "query.filters.0.value",
        ),
    ],
)
def test_what_is_wrong_with_a_question_is_named_by_its_path(owner, query, path):
    answer = owner.post(REPORTS, {"report_type": "custom", "query": {**DAYS, **query}})
    problem = problem_of(answer, 422, "invalid")
    assert path in {each["field"] for each in problem["errors"]}, problem


def test_another_companys_report_and_schedule_are_not_found(owner, sign_in_as):
    theirs = sign_in_as(Role.OWNER)
    report, schedule = ask(owner, "usage")["id"], owner.post(SCHEDULES, NIGHTLY).json["id"]
    for method, route in ROUTES:
        if "{" in route:
            path = route.format(report_id=report, schedule_id=schedule)
            body = {"mail": False} if method == "PATCH" else None
            problem_of(theirs.send(method, path, json=body), 404, "not-found")
    for path in (REPORTS, SCHEDULES):
        assert theirs.get(path).json["data"] == []
        assert len(owner.get(path).json["data"]) == 1


def test_operators_ask_about_all_companies_of_their_tenant_and_no_other(
    visitor, password_hash, owner, person
):
    staff = make_company(role=Role.OPERATOR, password_hash=password_hash)
    with transaction() as session:
        session.get_one(User, staff.user_id).company_id = None
    operator = visitor.sign_in(staff.email)
    other = make_company(tenant_id=staff.tenant_id)
    for each in (staff, other, person):
        happen(each)
    body = {
        "report_type": "custom",
        "query": {**DAYS, "metrics": ["usage"], "dimensions": ["company"]},
        "all_companies": True,
    }
    acting = {"X_Company_Id": str(other.company_id)}
    asked = operator.post(REPORTS, body, **acting)
    assert asked.status_code == 202, asked.text
    report = asked.json["id"]
    work(report)
    found = operator.get(f"{REPORTS}/{report}", **acting).json["results"]["rows"]
    assert dict(found) == dict.fromkeys((str(staff.company_id), str(other.company_id)), "10.0000")
    problem_of(owner.get(f"{REPORTS}/{report}"), 404, "not-found")
    problem_of(owner.post(REPORTS, body), 422, "invalid")


_WORDS = st.one_of(
    st.sampled_from(
        [*METRICS, *DIMENSIONS, "id", "eq", "in", "not_in", "gt", "EUR", "1", "'", "%s"]
    ),
    st.text(min_size=1, max_size=5),
)
_QUERIES = st.fixed_dictionaries(
    {"metrics": st.lists(_WORDS, min_size=1, max_size=3)},
    optional={
        "dimensions": st.lists(st.sampled_from(DIMENSIONS), max_size=3) | st.lists(_WORDS),
        "filters": st.lists(
            st.fixed_dictionaries(
                {"field": _WORDS, "value": _WORDS | st.lists(_WORDS, max_size=3)},
                optional={"op": _WORDS},
            ),
            max_size=2,
        ),
        "order": st.lists(st.fixed_dictionaries({"by": _WORDS}), max_size=2),
        "limit": st.integers(-1, 10_001),
    },
)


@tried(max_examples=25, suppress_health_check=list(HealthCheck), deadline=None)
@given(query=_QUERIES)
def test_any_question_is_answered_or_refused_and_tells_of_no_other_company(owner, person, query):
    stranger = _stranger()
    answer = owner.post(REPORTS, {"report_type": "custom", "query": {**DAYS, **query}})
    assert answer.status_code in {200, 202, 422}, answer.text
    if answer.status_code == 422:
        return
    work(answer.json["id"])
    told = owner.get(f"{REPORTS}/{answer.json['id']}").json
    assert told["status"] == "done", told
    # All of this company's figures are naught: whatever else is told is the stranger's.
    kinds = [each["kind"] for each in told["results"]["columns"]]
    numbers = [
        value
        for row in told["results"]["rows"]
        for kind, value in zip(kinds, row, strict=True)
        if kind == "number" and value is not None
    ]
    assert all(Decimal(value) == 0 for value in numbers), (told, stranger)


_strangers: list[Customer] = []


def _stranger() -> Customer:
    """A company of another tenant, to whom much has happened."""
    if not _strangers:
        _strangers.append(make_company())
        happen(_strangers[0])
    return _strangers[0]


def test_reports_can_write_nothing(database, customer):
    with pytest.raises(DBAPIError, match="READ ONLY"), reading(company_id=None) as session:
        session.execute(
            across_companies(update(Company).values(name="x"), because="it is to be refused")
        )


def test_a_question_that_takes_too_long_is_stopped(database, monkeypatch):
    monkeypatch.setenv("REPORTS_TIME_LIMIT_S", "0.2")
    settings.cache_clear()
    reports_engine.cache_clear()
    slow = text("SELECT SLEEP(30)")
    try:
        with pytest.raises(TooLong, match=r"0\.2 s"), reading(company_id=None) as session:
            session.execute(across_companies(slow, because="it sees nothing"))
    finally:
        monkeypatch.undo()
        settings.cache_clear()
        reports_engine().dispose()
        reports_engine.cache_clear()


def due(schedule_id: str, at: datetime) -> None:
    with transaction() as session:
        session.get_one(ReportSchedule, UUID(schedule_id)).next_run_at = at


def test_a_schedule_is_asked_once_for_each_time_and_told_by_mail(owner, person):
    happen(person)
    schedule = owner.post(SCHEDULES, NIGHTLY).json
    assert datetime.fromisoformat(schedule["next_run_at"]).hour == 7
    # It has been down for two weeks: one report is made, for the time that was first due.
    due(schedule["id"], datetime(2026, 3, 9, 7, tzinfo=UTC))
    for _ in range(2):
        sweep()
    path = f"{REPORTS}?schedule_id={schedule['id']}"
    [report] = owner.get(path).json["data"]
    assert report["query_params"]["from"] == "2026-03-02"
    assert report["query_params"]["to"] == "2026-03-08"
    work(report["id"])
    told = owner.get(f"{SCHEDULES}/{schedule['id']}").json
    assert told["runs"] == 1
    assert datetime.fromisoformat(told["next_run_at"]) > now()
    with transaction() as session:
        notices = session.scalars(
            select(Owed).where(
                Owed.task == "notifications.notify", Owed.company_id == person.company_id
            )
        ).all()
    assert [each.arguments["template"] for each in notices] == ["report_ready"]
    assert notices[0].arguments["told"]["report_id"] == report["id"]
    for each in notices:
        ring("notifications.notify", each.id)


def test_a_schedule_is_paused_resumed_and_deleted(owner):
    schedule = owner.post(SCHEDULES, NIGHTLY).json["id"]
    path = f"{SCHEDULES}/{schedule}"
    paused = owner.send("PATCH", path, json={"status": "paused"}).json
    assert (paused["status"], paused["next_run_at"]) == ("paused", None)
    due(schedule, datetime(2026, 3, 9, 7, tzinfo=UTC))
    sweep()
    resumed = owner.send("PATCH", path, json={"status": "active"}).json
    assert datetime.fromisoformat(resumed["next_run_at"]) > now()
    assert owner.send("DELETE", path).status_code == 204
    problem_of(owner.get(path), 404, "not-found")
    assert owner.get(f"{REPORTS}?schedule_id={schedule}").json["data"] == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"cron": "* * * * *"}, "cron"),
        ({"cron": "0 0 31 2 *"}, "cron"),
        ({"query": DAYS}, "query.period"),
        ({"query": {"period": "sometimes"}}, "query.period"),
    ],
)
def test_a_schedule_that_never_comes_or_stands_still_is_refused(owner, change, field):
    problem = problem_of(owner.post(SCHEDULES, {**NIGHTLY, **change}), 422, "invalid")
    assert [each["field"] for each in problem["errors"]] == [field]


def test_a_schedule_keeps_to_the_clock_of_its_company(owner, person):
    with transaction() as session:
        session.get_one(Company, person.company_id).time_zone = "Asia/Kolkata"
    schedule = owner.post(SCHEDULES, NIGHTLY).json
    at = datetime.fromisoformat(schedule["next_run_at"])
    assert (at.hour, at.minute) == (1, 30)


def test_old_reports_are_forgotten(owner):
    report = ask(owner, "usage")["id"]
    with transaction() as session:
        session.get_one(AnalyticsReport, UUID(report)).expires_at = now() - timedelta(days=1)
    sweep()
    problem_of(owner.get(f"{REPORTS}/{report}"), 404, "not-found")


def test_members_read_and_do_not_ask(sign_in_as):
    member = sign_in_as(Role.MEMBER)
    assert member.get(REPORTS).status_code == 200
    problem_of(member.post(REPORTS, {"report_type": "usage", "query": DAYS}), 403, "forbidden")
