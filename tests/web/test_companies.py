"""For which companies somebody may act, and the numbers of the queues that all share."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import delete

from models.clock import now
from models.outbox import Owed, OwedStatus
from models.tenants import Company, Role, User
from tests.factories import make_company
from tests.web.visitor import problem_of
from worker import dispatch
from worker.database import transaction
from worker.queues import SUBJECTS

COMPANIES = "/api/v1/companies"
QUEUES = "/api/v1/operations/queues"


def named(name: str, tenant_id=None):
    customer = make_company(tenant_id=tenant_id)
    with transaction() as session:
        session.get_one(Company, customer.company_id).name = name
    return customer


@pytest.fixture
def operator(visitor, use, password_hash):
    """Signed in for the whole of a tenant, with the company that it has."""
    found = make_company(role=Role.OPERATOR, password_hash=password_hash)
    with transaction() as session:
        session.get_one(User, found.user_id).company_id = None
        session.get_one(Company, found.company_id).name = "Zed"
    return found, visitor.sign_in(found.email)


def test_an_operator_sees_their_tenants_companies_newest_first_by_pages(operator):
    staff, who = operator
    made = [named(name, staff.tenant_id) for name in ("Acme", "Acme Two", "Beta")]
    named("Acme Elsewhere")
    ids = [str(each.company_id) for each in reversed(made)] + [str(staff.company_id)]
    first = who.get(f"{COMPANIES}?limit=3").json
    assert [each["id"] for each in first["data"]] == ids[:3]
    second = who.get(f"{COMPANIES}?limit=3&cursor={first['next_cursor']}").json
    assert [each["id"] for each in second["data"]] == ids[3:]
    # Also while they act for one of them: it is how they turn to another.
    acting = who.get(COMPANIES, X_Company_Id=ids[0])
    assert [each["id"] for each in acting.json["data"]] == ids


@pytest.mark.parametrize(
    ("search", "names"),
    [("acme", ["Acme Two", "Acme"]), ("100%", ["100% Sure"]), ("%", [])],
)
def test_companies_are_found_by_how_their_name_begins(operator, search, names):
    staff, who = operator
    for name in ("Acme", "Acme Two", "100% Sure", "1000 Acmes"):
        named(name, staff.tenant_id)
    found = who.send("GET", COMPANIES, query_string={"search": search})
    assert [each["name"] for each in found.json["data"]] == names


def test_a_member_sees_their_own_company_and_no_other(visitor, person, use):
    who = visitor.sign_in(person.email)
    neighbour = make_company(tenant_id=person.tenant_id)
    [own] = who.get(COMPANIES).json["data"]
    assert own["id"] == str(person.company_id)
    assert who.get(f"{COMPANIES}/{person.company_id}").json == own
    problem_of(who.get(f"{COMPANIES}/{neighbour.company_id}"), 404, "not-found")


def test_an_operator_reads_a_company_of_their_tenant_only(operator):
    staff, who = operator
    ours, theirs = named("Ours", staff.tenant_id), make_company()
    assert who.get(f"{COMPANIES}/{ours.company_id}").json["name"] == "Ours"
    problem_of(who.get(f"{COMPANIES}/{theirs.company_id}"), 404, "not-found")


def test_a_name_that_cannot_be_is_refused(operator):
    _, who = operator
    for search in ("", "a" * 256, "a\x00"):
        answer = who.send("GET", COMPANIES, query_string={"search": search})
        problem_of(answer, 422, "invalid")


@pytest.fixture
def late():
    """Work that is two minutes late, some for later, and some that was given up an hour ago."""
    redis = dispatch.doorbell().client
    # What other tests of this process left there counts too.
    redis.delete("refunds")
    with transaction() as session:
        session.execute(delete(Owed))
        for late_s, status in ((120, "owed"), (60, "owed"), (-60, "owed"), (3600, "dead")):
            session.add(
                Owed(
                    task="refunds.nothing",
                    queue="refunds",
                    arguments={},
                    status=OwedStatus(status),
                    due_at=now() - timedelta(seconds=late_s),
                )
            )
    redis.lpush("refunds", "a message")
    yield
    redis.delete("refunds")
    with transaction() as session:
        session.execute(delete(Owed))


def test_the_queues_tell_what_is_late_and_what_was_given_up(operator, late):
    _, who = operator
    queues = {each["queue"]: each for each in who.get(QUEUES).json["data"]}
    assert list(queues) == list(SUBJECTS)
    refunds = queues["refunds"]
    assert (refunds["owed"], refunds["due"], refunds["dead"]) == (3, 2, 1)
    assert refunds["waiting"] == 1
    assert refunds["oldest_due_s"] >= 120
    assert refunds["oldest_dead_s"] >= 3600
    assert queues["methods"]["owed"] == 0


def test_the_queues_are_told_without_redis_too(operator, late, use):
    _, who = operator
    use(broker_url="redis://127.0.0.1:1/0")
    dispatch.doorbell.cache_clear()
    try:
        [refunds] = [each for each in who.get(QUEUES).json["data"] if each["queue"] == "refunds"]
    finally:
        dispatch.doorbell.cache_clear()
    assert (refunds["owed"], refunds["waiting"]) == (3, None)
