"""What a tenant sells, what a company takes of it, and how its use is counted and told."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import delete, select, update

from models.base import across_companies
from models.clock import now
from models.ids import new_id
from models.modules import CompanyModule, Module, lock_active
from models.notifications import Notification
from models.outbox import Owed
from models.timeline import history
from models.usage import ModuleUsage, UsageTotal, used
from tests.bell import ring
from tests.factories import make_company, make_module
from tests.queries import queries
from tests.web.visitor import problem_of
from worker.cache import shared
from worker.database import PUBLISH, transaction

MODULES = "/api/v1/modules"


@pytest.fixture
def owner(visitor, person):
    """In this process: no worker has anything to do here."""
    return visitor.sign_in(person.email)


@pytest.fixture
def module_id(person):
    return make_module(person, unit="call", warning_at=80, critical_at=90, hard_limit=100)


def heard(company_id, kind: str) -> list[dict]:
    """The events of this type that the company is to hear, oldest first."""
    with transaction() as session:
        rows = session.scalars(
            select(Owed)
            .where(Owed.task == PUBLISH, Owed.company_id == company_id)
            .order_by(Owed.id)
        ).all()
    events = [event for row in rows for event in row.arguments["events"]]
    return [event["data"] for event in events if event["type"] == kind]


def notices(company_id) -> list[Notification]:
    """Write down what is owed to the company's people, and return it."""
    with transaction() as session:
        owed = session.scalars(
            select(Owed.id).where(
                Owed.task == "notifications.notify", Owed.company_id == company_id
            )
        ).all()
    for owed_id in owed:
        ring("notifications.notify", owed_id)
    with transaction(company_id=company_id) as session:
        return list(session.scalars(select(Notification).order_by(Notification.id)))


def use(owner, module_id, quantity: int, key: str | None = None, **more):
    body = {"idempotency_key": key or new_id().hex, "quantity": quantity, **more}
    return owner.post(f"{MODULES}/{module_id}/usage", body)


def test_operators_keep_the_catalogue(operator, staff, ours):
    new = {"code": "api", "name": "API", "unit": "call", "details": {"colour": "blue"}}
    made = operator.post(MODULES, new)
    assert made.status_code == 201, made.text
    assert made.json["taken"] is None
    read = operator.get(made.headers["Location"])
    assert read.json == made.json
    problem_of(operator.post(MODULES, new), 409, "conflict")
    changed = operator.send(
        "PATCH", made.headers["Location"], json={"name": "Calls", "details": None, "warning_at": 5}
    )
    assert changed.status_code == 200
    assert operator.get(made.headers["Location"]).json == changed.json
    expected = {**made.json, "name": "Calls", "details": None}
    expected["limits"] = {"warning_at": 5, "critical_at": None, "hard_limit": None}
    assert changed.json | {"updated_at": None} == expected | {"updated_at": None}
    problem_of(operator.send("PATCH", f"{MODULES}/{new_id()}", json={}), 404, "not-found")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"code": "Not A Code"}, "code"),
        ({"name": ""}, "name"),
        ({"warning_at": 0}, "warning_at"),
        ({"warning_at": "many"}, "warning_at"),
        ({"warning_at": 10, "critical_at": 9}, "critical_at"),
        ({"warning_at": 10, "hard_limit": 9}, "hard_limit"),
        ({"details": {"a": 1}}, "details.a"),
        ({"price": 1}, "price"),
    ],
)
def test_a_module_that_makes_no_sense_is_refused(operator, staff, body, field):
    body = {"code": f"a-{new_id().hex}", "name": "A module", **body}
    problem = problem_of(operator.post(MODULES, body), 422, "invalid")
    assert [each["field"] for each in problem["errors"]] == [field]


def test_a_change_that_makes_no_sense_is_refused(operator, staff):
    module_id = make_module(staff, is_taken=False, warning_at=10)
    for body, field in (
        ({"name": None}, "name"),
        ({"is_active": None}, "is_active"),
        ({"critical_at": 9}, "critical_at"),
    ):
        answer = operator.send("PATCH", f"{MODULES}/{module_id}", json=body)
        assert problem_of(answer, 422, "invalid")["errors"][0]["field"] == field
    assert operator.get(f"{MODULES}/{module_id}").json["limits"]["critical_at"] is None


def test_the_catalogue_is_listed_by_pages_with_what_the_company_has(owner, person):
    make_module(make_company())
    made = [make_module(person, is_taken=number % 2 == 0) for number in range(5)]
    retired = make_module(person, is_active=False, is_taken=False)
    first = owner.get(f"{MODULES}?limit=4").json
    second = owner.get(f"{MODULES}?limit=4&cursor={first['next_cursor']}").json
    listed = [*first["data"], *second["data"]]
    assert [each["id"] for each in listed] == [str(each) for each in (retired, *reversed(made))]
    assert [each["taken"] is not None for each in listed] == [False, True, False, True, False, True]
    assert second["next_cursor"] is None
    active = owner.get(f"{MODULES}?is_active=true").json["data"]
    assert str(retired) not in {each["id"] for each in active}


def test_what_the_catalogue_says_is_kept(owner, person):
    """Written past what makes it stale, it is seen to be old."""
    module_id = make_module(person, name="First")
    path = f"{MODULES}/{module_id}"
    for look in (path, MODULES, f"{path}/usage"):
        owner.get(look)
    with transaction() as session:
        session.execute(update(Module).where(Module.id == module_id).values(name="Second"))
    assert owner.get(path).json["name"] == "First"
    assert owner.get(MODULES).json["data"][0]["name"] == "First"
    with queries() as sent:
        owner.get(path)
    assert not [each for each in sent if " FROM modules" in each]
    left_s = shared().do(lambda r: r.ttl(f"module_meta:{person.tenant_id}:{module_id}"))
    assert 5 * 3600 < left_s <= 6 * 3600


def test_subscribing_is_told_once_and_written_down(owner, person):
    module_id = make_module(person, is_taken=False, name="Reports", code="reports")
    path = f"{MODULES}/{module_id}"
    answers = [owner.post(f"{path}/subscribe") for _ in range(2)]
    assert [each.status_code for each in answers] == [200, 200]
    assert answers[0].json == answers[1].json == owner.get(path).json
    assert answers[0].json["taken"]["subscription_id"] is None
    for _ in range(2):
        assert owner.post(f"{path}/unsubscribe").json["taken"] is None
    told = {
        "company_id": str(person.company_id),
        "module_id": str(module_id),
        "code": "reports",
        "name": "Reports",
        "subscription_id": None,
    }
    assert heard(person.company_id, "module.subscribed") == [told]
    assert heard(person.company_id, "module.unsubscribed") == [told]
    with transaction(company_id=person.company_id) as session:
        [row] = session.scalars(select(CompanyModule))
        lines = history(session, [row.id])
    assert [line.what for line in lines] == ["subscribed", "unsubscribed"]
    assert all(line.user_id == person.user_id for line in lines)


def test_what_is_no_longer_sold_is_taken_by_nobody_new_and_kept_by_who_has_it(owner, person):
    kept, gone = make_module(person), make_module(person, is_taken=False)
    with transaction() as session:
        for module_id in (kept, gone):
            session.get_one(Module, module_id).is_active = False
    assert owner.post(f"{MODULES}/{kept}/subscribe").status_code == 200
    problem_of(owner.post(f"{MODULES}/{gone}/subscribe"), 409, "conflict")


def test_what_comes_with_a_subscription_is_not_given_up_alone(owner, person, module_id):
    subscription_id = new_id()
    with transaction(company_id=person.company_id) as session:
        lock_active(session, module_id).subscription_id = subscription_id
    answer = owner.post(f"{MODULES}/{module_id}/unsubscribe")
    assert problem_of(answer, 409, "conflict")["subscription_id"] == str(subscription_id)
    assert owner.get(f"{MODULES}/{module_id}").json["taken"] is not None


def test_a_company_is_told_by_limits_of_its_own_but_sets_no_hard_one(owner, module_id):
    path = f"{MODULES}/{module_id}/limits"
    changed = owner.send("PATCH", path, json={"warning_at": 10})
    assert changed.json["taken"]["limits"] == {
        "warning_at": 10,
        "critical_at": 90,
        "hard_limit": 100,
    }
    problem_of(owner.send("PATCH", path, json={"hard_limit": 10**6}), 403, "forbidden")
    problem_of(owner.send("PATCH", path, json={"warning_at": 91}), 422, "invalid")
    back = owner.send("PATCH", path, json={"warning_at": None})
    assert back.json["taken"]["limits"]["warning_at"] == 80


def test_an_operator_sets_a_companys_hard_limit(operator, ours):
    module_id = make_module(ours)
    headers = {"X-Company-Id": str(ours.company_id)}
    path = f"{MODULES}/{module_id}/limits"
    answer = operator.send("PATCH", path, json={"hard_limit": 7}, headers=headers)
    assert answer.json["taken"]["limits"]["hard_limit"] == 7
    problem_of(operator.send("PATCH", path, json={"hard_limit": 7}), 400, "bad-request")


def test_use_is_recorded_once_a_key_and_answered_alike(owner, person, module_id):
    first = use(owner, module_id, 5, "one", user_id=str(person.user_id))
    again = use(owner, module_id, 5, "one", user_id=str(person.user_id))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json == again.json
    assert first.json["at"] <= first.json["recorded_at"]
    problem_of(use(owner, module_id, 6, "one"), 409, "key-reused")
    assert owner.get(f"{MODULES}/{module_id}/usage").json["period"]["used"] == 5


def test_beyond_the_hard_limit_use_is_refused_and_says_by_how_much(owner, module_id):
    assert use(owner, module_id, 98).status_code == 201
    problem = problem_of(use(owner, module_id, 3), 409, "usage-limit")
    assert (problem["limit"], problem["used"], problem["quantity"]) == (100, 98, 3)
    read = owner.get(f"{MODULES}/{module_id}/usage").json
    assert problem["period_end"] == read["period"]["end"].replace("Z", "+00:00")
    assert (read["period"]["used"], read["period"]["remaining"]) == (98, 2)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"quantity": 0}, "quantity"),
        ({"quantity": 1.5}, "quantity"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"at": (now() + timedelta(days=2)).isoformat()}, "at"),
        ({"at": (now() - timedelta(days=450)).isoformat()}, "at"),
        ({"user_id": str(new_id())}, "user_id"),
    ],
)
def test_use_that_makes_no_sense_is_refused_with_its_field(owner, module_id, more, field):
    body = {"idempotency_key": "one", "quantity": 1, **more}
    answer = owner.post(f"{MODULES}/{module_id}/usage", body)
    assert problem_of(answer, 422, "invalid")["errors"][0]["field"] == field
    assert owner.get(f"{MODULES}/{module_id}/usage").json["period"]["used"] == 0


def test_who_has_no_module_uses_none(owner, person):
    problem_of(use(owner, make_module(person, is_taken=False), 1), 409, "conflict")
    problem_of(use(owner, make_module(make_company()), 1), 404, "not-found")


def test_each_of_a_thousand_records_is_counted_refused_or_known(owner, person, module_id):
    other = make_module(person, hard_limit=10)
    use(owner, module_id, 1, "known")
    records = [
        {"module_id": str(other), "idempotency_key": f"key-{number}", "quantity": 1}
        for number in range(996)
    ]
    records += [
        {"module_id": str(module_id), "idempotency_key": "known", "quantity": 1},
        {"module_id": str(module_id), "idempotency_key": "known", "quantity": 2},
        {"module_id": str(new_id()), "idempotency_key": "nobodys", "quantity": 1},
        {"module_id": str(module_id), "idempotency_key": "new", "quantity": 4},
    ]
    with queries() as sent:
        answer = owner.post(f"{MODULES}/usage", {"records": records})
    assert answer.status_code == 200, answer.text
    assert len(sent) < 20
    body = answer.json
    assert (body["recorded"], body["duplicates"], body["refused"]) == (11, 1, 988)
    results = body["results"]
    assert [each["idempotency_key"] for each in results] == [
        each["idempotency_key"] for each in records
    ]
    assert {each["reason"] for each in results[10:996]} == {"limit_reached"}
    assert [(each["status"], each["reason"]) for each in results[996:]] == [
        ("duplicate", None),
        ("refused", "key_reused"),
        ("refused", "not_subscribed"),
        ("recorded", None),
    ]
    again = owner.post(f"{MODULES}/usage", {"records": records}).json
    assert (again["recorded"], again["duplicates"]) == (0, 12)
    assert owner.get(f"{MODULES}/{other}/usage").json["period"]["used"] == 10
    too_many = {"records": records[:1] * 1001}
    problem_of(owner.post(f"{MODULES}/usage", too_many), 422, "invalid")


def test_thresholds_are_told_to_programs_and_people_once_a_period(owner, person, module_id):
    for quantity in (79, 1, 1, 9, 1):
        assert use(owner, module_id, quantity).status_code == 201
    told = heard(person.company_id, "module.usage_alert")
    of_module = {"company_id": str(person.company_id), "module_id": str(module_id)}
    assert [each | of_module for each in told] == told
    assert [(each["alert_type"], each["usage"], each["threshold"]) for each in told] == [
        ("warning", 80, 80),
        ("critical", 90, 90),
    ]
    found = notices(person.company_id)
    assert [(each.template, each.number) for each in found] == [
        ("usage_alert", 1),
        ("usage_alert", 2),
    ]
    assert found[0].arguments["usage"] == "80"
    assert found[0].arguments["unit"] == "call"


def test_who_passes_both_thresholds_at_once_gets_one_letter(owner, person, module_id):
    use(owner, module_id, 95)
    told = heard(person.company_id, "module.usage_alert")
    assert [each["alert_type"] for each in told] == ["warning", "critical"]
    assert [each.number for each in notices(person.company_id)] == [2]


def test_what_ends_before_its_commit_has_counted_and_told_nothing(
    owner, person, module_id, monkeypatch
):
    def dies(*_, **__):
        raise SystemExit

    with monkeypatch.context() as killed:
        killed.setattr("worker.usage.owe_notice", dies)
        with pytest.raises(SystemExit):
            use(owner, module_id, 80, "one")
    assert heard(person.company_id, "module.usage_alert") == []
    assert use(owner, module_id, 80, "one").status_code == 201
    assert [each["usage"] for each in heard(person.company_id, "module.usage_alert")] == [80]
    assert [each.number for each in notices(person.company_id)] == [1]


def test_use_is_read_back_by_period_and_by_day(owner, person, module_id):
    month = now().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    before = month - timedelta(days=3)
    use(owner, module_id, 3, at=before.isoformat())
    use(owner, module_id, 5, at=month.isoformat())
    use(owner, module_id, 7)
    read = owner.get(f"{MODULES}/{module_id}/usage").json
    assert (read["period"]["used"], read["time_zone"], read["unit"]) == (12, "UTC", "call")
    assert [each["used"] for each in read["history"]] == [3]
    assert read["history"][0]["end"] == read["period"]["start"]
    days = {each["day"]: each["used"] for each in read["days"]}
    assert next(iter(days)) == month.date().isoformat()
    assert sum(days.values()) == 12
    assert days[month.date().isoformat()] in (5, 12)


def test_what_is_used_is_counted_by_its_rows_and_nothing_else(owner, person, module_id):
    """Billing asks for the rows: a total that was lost takes no use along."""
    use(owner, module_id, 5)
    with transaction(company_id=person.company_id) as session:
        session.execute(
            across_companies(
                delete(UsageTotal).where(UsageTotal.company_id == person.company_id),
                because="a test loses them",
            )
        )
        [row] = session.scalars(select(ModuleUsage))
        start, end = row.at, row.at + timedelta(seconds=1)
        assert used(session, person.company_id, module_id, start, end) == 5
        assert used(session, person.company_id, module_id, start - timedelta(days=9), start) == 0
        session.rollback()
