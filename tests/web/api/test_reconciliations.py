"""Reconciliations over the API: who may, which days are taken, and what the file tells."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from models.breaks import BreakKind, ReconciliationBreak
from models.clock import now
from models.ids import new_id
from models.reconciliations import ReconciliationRun, RunStatus, end, lock
from models.tenants import Permission, Role, Tenant
from models.transactions import Provider
from tests.factories import make_company
from tests.web.visitor import problem_of
from worker.database import transaction

AT = "/api/v1/reconciliations"
# For the tenant's own staff; `test_tenancy` has them among all.
ROUTES = dict.fromkeys(
    [
        ("GET", AT),
        ("POST", AT),
        ("GET", f"{AT}/{{run_id}}"),
        ("GET", f"{AT}/{{run_id}}/breaks.csv"),
    ],
    Permission.OPERATIONS,
)


@pytest.fixture
def another(staff):
    """The staff's tenant is one of several that the installation serves."""
    with transaction() as session:
        session.get_one(Tenant, staff.tenant_id).is_platform = False


@pytest.fixture
def begun(operator):
    """Begin a run by the API; what it holds is given free afterwards."""
    made = []

    def begin(**body):
        answer = operator.post(AT, {"provider": "stripe", "start_date": "2020-02-01", **body})
        if answer.status_code == 202:
            made.append(answer.json["id"])
        return answer

    yield begin
    with transaction() as session:
        for run_id in made:
            row = lock(session, UUID(run_id))
            if row.is_running:
                end(session, row, RunStatus.FAILED, moment=now())


def test_a_run_is_begun_watched_and_listed(begun, operator):
    answer = begun(end_date="2020-02-03")
    assert answer.status_code == 202, answer.text
    told = answer.json
    assert (told["status"], told["phase"], told["opened"]) == ("running", "charges", 0)
    assert told["starts_at"].startswith("2020-02-01T00:00:00")
    assert told["ends_at"].startswith("2020-02-04T00:00:00")
    assert answer.headers["Location"] == f"{AT}/{told['id']}"
    assert operator.get(answer.headers["Location"]).json == told
    assert [each["id"] for each in operator.get(AT).json["data"]] == [told["id"]]


def test_one_run_of_a_provider_at_a_time(begun):
    assert begun(end_date="2020-02-03").status_code == 202
    problem_of(begun(end_date="2020-02-03"), 409, "conflict")


def test_a_run_without_an_end_goes_as_far_as_the_provider_can_tell(begun):
    yesterday = (now() - timedelta(days=1)).date().isoformat()
    told = begun(start_date=yesterday).json
    reached = datetime.fromisoformat(told["ends_at"])
    assert timedelta(minutes=14) < now() - reached < timedelta(minutes=30)


@pytest.mark.parametrize(
    "body",
    [
        {"provider": "bank_transfer"},
        {"provider": "nobody"},
        {"start_date": "2999-01-01"},
        {"start_date": "2020-02-30"},
        {"start_date": "2018-01-01", "end_date": "2020-01-01"},
        {"end_date": "2020-01-31"},
    ],
)
def test_days_that_cannot_be_compared_are_refused(begun, body):
    assert begun(**body).status_code in (400, 422)


@pytest.mark.usefixtures("another")
def test_operators_of_another_tenant_than_the_installations_may_not_compare(operator):
    make_company()
    asked = {"provider": "stripe", "start_date": "2020-02-01", "end_date": "2020-02-02"}
    problem_of(operator.post(AT, asked), 403, "forbidden")


@pytest.mark.parametrize("role", [Role.OWNER, Role.BILLING_ADMIN, Role.MEMBER])
def test_nobody_but_the_staff_sees_runs(sign_in_as, visitor, role):
    person = sign_in_as(role)
    for method, path in ROUTES:
        where = path.format(run_id=new_id())
        problem_of(person.send(method, where), 403, "forbidden")
        problem_of(visitor.send(method, where), 401, "unauthenticated")


def add_break(run_id, company_id, **columns) -> None:
    with transaction() as session:
        session.add(
            ReconciliationBreak(
                company_id=company_id,
                run_id=run_id,
                provider=Provider.STRIPE,
                kind=BreakKind.AMOUNT,
                subject="charge",
                first_seen=now() - timedelta(days=3),
                last_seen=now(),
                **{"object_id": new_id().hex, "amount": Decimal("12.50"), **columns},
            )
        )


def finished_run(tenant_id):
    with transaction() as session:
        row = ReconciliationRun(
            tenant_id=tenant_id,
            provider=Provider.STRIPE,
            starts_at=datetime(2020, 2, 1, tzinfo=UTC),
            ends_at=datetime(2020, 2, 2, tzinfo=UTC),
            status=RunStatus.DONE,
        )
        session.add(row)
        session.flush()
        return row.id


def lines_of(answer):
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_the_file_has_both_sides_and_no_formulas(operator, staff):
    run_id = finished_run(staff.tenant_id)
    sides = {"ours": {"amount": "10.00"}, "theirs": {"amount": "12.50", "status": "succeeded"}}
    add_break(run_id, None, note="=HYPERLINK(1)", **sides)
    [line] = lines_of(operator.get(f"{AT}/{run_id}/breaks.csv"))
    assert (line["kind"], line["amount"], line["age_days"]) == ("amount", "12.50", "3")
    assert (line["ours"], line["theirs"]) == ("amount: 10.00", "amount: 12.50; status: succeeded")
    assert not line["note"].startswith("=")


@pytest.mark.usefixtures("another")
def test_the_file_has_breaks_of_the_tenants_own_companies_only(operator, staff):
    """Of a run that was the tenant's when it was alone here."""
    other = make_company()
    run_id = finished_run(staff.tenant_id)
    for company_id in (staff.company_id, other.company_id, None):
        add_break(run_id, company_id)
    lines = lines_of(operator.get(f"{AT}/{run_id}/breaks.csv"))
    assert [line["company_id"] for line in lines] == [str(staff.company_id)]


def test_another_tenants_run_is_not_found(operator):
    run_id = finished_run(make_company().tenant_id)
    problem_of(operator.get(f"{AT}/{run_id}"), 404, "not-found")
    problem_of(operator.get(f"{AT}/{run_id}/breaks.csv"), 404, "not-found")
