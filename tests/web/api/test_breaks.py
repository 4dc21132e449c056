"""Breaks over the API: who sees which, and what may be done with one."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import select

from models.breaks import BreakKind, BreakStatus, ReconciliationBreak
from models.clock import now
from models.ids import new_id
from models.operations import OperatorAct
from models.outbox import Owed
from models.tenants import Permission, Role, Tenant
from models.transactions import Provider
from tests.factories import make_company
from tests.web.visitor import problem_of
from worker.database import transaction

AT = "/api/v1/breaks"
ONE = f"{AT}/{{break_id}}"
BODIES = {"repair": None, "resolve": {"note": "mine"}, "assign": {"user_id": None}}
# For operators; `test_tenancy` has them among all.
ROUTES = dict.fromkeys(
    [("GET", AT), ("GET", ONE), *(("POST", f"{ONE}/{act}") for act in BODIES)],
    Permission.OPERATIONS,
)
SAFE = {
    "kind": BreakKind.STATUS,
    "ours": {"status": "processing"},
    "theirs": {"status": "succeeded", "intent": "pi_1"},
}


@pytest.fixture
def another(staff):
    """The staff's tenant is one of several that the installation serves."""
    with transaction() as session:
        session.get_one(Tenant, staff.tenant_id).is_platform = False


def add(company_id: UUID | None, **columns: object) -> str:
    told = {
        "kind": BreakKind.AMOUNT,
        "run_id": new_id(),
        "object_id": new_id().hex,
        "amount": Decimal("12.50"),
        "currency": "INR",
        "ours": {"amount": "10.00"},
        "theirs": {"amount": "12.50"},
    }
    with transaction() as session:
        row = ReconciliationBreak(
            company_id=company_id,
            provider=Provider.STRIPE,
            subject="charge",
            first_seen=now() - timedelta(days=3),
            last_seen=now(),
            **(told | columns),
        )
        session.add(row)
        session.flush()
        return str(row.id)


def read(break_id: str) -> ReconciliationBreak:
    with transaction() as session:
        return session.get_one(ReconciliationBreak, UUID(break_id))


def test_a_break_is_told_with_both_sides(operator, staff):
    told = operator.get(f"{AT}/{add(staff.company_id)}").json
    assert (told["kind"], told["status"], told["amount"]) == ("amount", "open", "12.50")
    assert (told["ours"], told["theirs"]) == ({"amount": "10.00"}, {"amount": "12.50"})
    assert told["is_repairable"] is False
    assert operator.get(f"{AT}/{add(staff.company_id, **SAFE)}").json["is_repairable"] is True


def test_breaks_are_found_by_what_they_are(operator, staff):
    run_id = new_id()
    first = add(staff.company_id, run_id=run_id)
    second = add(staff.company_id, run_id=run_id, kind=BreakKind.FEE, status=BreakStatus.REPAIRED)

    def ids(query: str) -> list[str]:
        answer = operator.get(f"{AT}?run_id={run_id}&{query}")
        return [each["id"] for each in answer.json["data"]]

    assert ids("") == [second, first]
    assert ids("status=open") == [first]
    assert ids("kind=fee") == [second]
    assert ids("provider=paypal") == []
    page = operator.get(f"{AT}?run_id={run_id}&limit=1").json
    assert [each["id"] for each in page["data"]] == [second]
    assert ids(f"cursor={page['next_cursor']}") == [first]
    assert operator.get(f"{AT}?kind=nothing").status_code == 422


def test_a_safe_break_is_owed_to_a_worker(operator, staff):
    break_id = add(staff.company_id, repair_error="it was not so", **SAFE)
    answer = operator.post(f"{AT}/{break_id}/repair")
    assert answer.status_code == 202, answer.text
    assert answer.json["repair_error"] is None
    with transaction() as session:
        owed = list(session.scalars(select(Owed).where(Owed.task == "repairs.mend")))
        assert [each for each in owed if each.arguments["break_id"] == break_id]


def test_what_is_not_safe_is_not_repaired(operator, staff):
    problem_of(operator.post(f"{AT}/{add(staff.company_id)}/repair"), 409, "conflict")


def test_a_resolution_needs_a_note_and_is_written_down(operator, staff):
    break_id = add(staff.company_id)
    for body in ({}, {"note": ""}, {"note": "  "}, {"note": None}):
        assert operator.post(f"{AT}/{break_id}/resolve", body).status_code == 422, body
    answer = operator.post(f"{AT}/{break_id}/resolve", {"note": "Agreed by telephone."})
    assert answer.status_code == 200, answer.text
    told = answer.json
    assert (told["status"], told["resolution"]) == ("resolved", "accepted")
    assert (told["note"], told["resolved_by"]) == ("Agreed by telephone.", str(staff.user_id))
    with transaction() as session:
        query = select(OperatorAct).where(OperatorAct.subject_id == UUID(break_id))
        [act] = session.scalars(query)
        assert (act.action, act.note) == ("resolve", "Agreed by telephone.")
    problem_of(operator.post(f"{AT}/{break_id}/resolve", {"note": "again"}), 409, "conflict")


def test_a_break_is_taken_and_given_up(operator, staff):
    break_id = add(staff.company_id)
    mine = {"user_id": str(staff.user_id)}
    assert operator.post(f"{AT}/{break_id}/assign", mine).json["owner_id"] == str(staff.user_id)
    assert operator.post(f"{AT}/{break_id}/assign", {"user_id": None}).json["owner_id"] is None
    assert operator.post(f"{AT}/{break_id}/assign", {}).status_code == 422
    stranger = make_company(role=Role.OPERATOR)
    for user_id in (stranger.user_id, new_id()):
        answer = operator.post(f"{AT}/{break_id}/assign", {"user_id": str(user_id)})
        assert answer.status_code == 422
    assert read(break_id).owner_id is None


def test_the_platforms_operators_see_what_is_nobodys_and_everybodys(operator):
    for company_id in (None, make_company().company_id):
        assert operator.get(f"{AT}/{add(company_id)}").status_code == 200


@pytest.mark.usefixtures("another")
@pytest.mark.parametrize("is_somebodys", [True, False])
def test_what_is_not_the_tenants_is_not_found(operator, staff, is_somebodys):
    own = add(staff.company_id)
    assert operator.get(f"{AT}/{own}").status_code == 200
    other = add(make_company().company_id if is_somebodys else None, **SAFE)
    problem_of(operator.get(f"{AT}/{other}"), 404, "not-found")
    for act, body in BODIES.items():
        problem_of(operator.post(f"{AT}/{other}/{act}", body), 404, "not-found")
    listed = {each["id"] for each in operator.get(AT).json["data"]}
    assert own in listed
    assert other not in listed
    assert read(other).status == BreakStatus.OPEN


@pytest.mark.parametrize("role", [Role.OWNER, Role.BILLING_ADMIN, Role.MEMBER])
def test_nobody_but_operators_sees_breaks(sign_in_as, visitor, role):
    person = sign_in_as(role)
    for method, path in ROUTES:
        body = BODIES.get(path.rpartition("/")[2])
        where = path.format(break_id=new_id())
        problem_of(person.send(method, where, json=body), 403, "forbidden")
        problem_of(visitor.send(method, where, json=body), 401, "unauthenticated")
