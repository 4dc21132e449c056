"""Imports over the API: who may, what is taken, and what the report tells."""

from __future__ import annotations

import io
from uuid import UUID

import pytest

from models.ids import new_id
from models.invoice_sheets import MOST_BYTES
from models.tenants import Permission, Role
from tests.bell import ring
from tests.tasks.import_desk import Desk, csv_of
from tests.web.visitor import problem_of

IMPORTS = "/api/v1/imports"
# For the tenant's own staff; `test_tenancy` has them among all.
ROUTES = dict.fromkeys(
    [
        ("GET", IMPORTS),
        ("POST", IMPORTS),
        ("GET", f"{IMPORTS}/template.csv"),
        ("POST", f"{IMPORTS}/files"),
        ("GET", f"{IMPORTS}/{{import_id}}"),
        ("POST", f"{IMPORTS}/{{import_id}}/cancel"),
        ("GET", f"{IMPORTS}/{{import_id}}/refusals"),
        ("GET", f"{IMPORTS}/{{import_id}}/refusals.csv"),
    ],
    Permission.OPERATIONS,
)


@pytest.fixture
def desk(staff) -> Desk:
    return Desk(staff)


def send(operator, text: str | bytes, **options) -> UUID:
    answer = operator.send(
        "POST", f"{IMPORTS}/files", data=text, content_type="text/csv", **options
    )
    assert answer.status_code == 201, answer.text
    return answer.json["id"]


def begin(operator, file_id, key: str | None = None, **more):
    body = {"kind": "invoices_csv", "file_id": str(file_id), **more}
    return operator.post(IMPORTS, body, **({"Idempotency-Key": key} if key else {}))


def test_a_dry_run_tells_what_a_real_run_of_its_file_then_does(operator, desk):
    text = csv_of(desk, {"number": "1"}, {"number": "2", "unit_amount": "=1+1"})
    tried = begin(operator, send(operator, text), dry_run=True)
    assert tried.status_code == 201
    desk.work(UUID(tried.json["id"]))
    told = operator.get(f"{IMPORTS}/{tried.json['id']}").json
    assert (told["status"], told["dry_run"], told["total"]) == ("done", True, 2)
    assert desk.invoices() == []
    real = operator.post(IMPORTS, {"kind": "invoices_csv", "dry_run_id": tried.json["id"]})
    assert real.status_code == 201, real.text
    desk.work(UUID(real.json["id"]))
    again = operator.get(f"{IMPORTS}/{real.json['id']}").json
    assert again["counts"] == told["counts"]
    assert [invoice.number for invoice in desk.invoices()] == ["1"]
    reports = [
        operator.get(f"{IMPORTS}/{each.json['id']}/refusals").json["data"] for each in (tried, real)
    ]
    assert reports[0] == reports[1]
    [refused] = reports[0]
    assert (refused["line"], refused["column"], refused["value"]) == (3, "unit_amount", "=1+1")
    listed = operator.get(IMPORTS).json["data"]
    assert [each["id"] for each in listed] == [real.json["id"], tried.json["id"]]


def test_the_report_as_a_file_holds_no_formula(operator, desk):
    text = csv_of(desk, *({"number": f"{n}", "unit_amount": "=HYPERLINK()"} for n in range(120)))
    begun = begin(operator, send(operator, text)).json["id"]
    desk.work(UUID(begun))
    exported = operator.get(f"{IMPORTS}/{begun}/refusals.csv")
    assert exported.content_type == "text/csv; charset=utf-8"
    lines = exported.text.splitlines()
    assert lines[0] == "line,subject,column,value,reason"
    assert len(lines) == 121
    assert all(",'=HYPERLINK()," in line for line in lines[1:])
    first = operator.get(f"{IMPORTS}/{begun}/refusals?limit=100").json
    rest = operator.get(f"{IMPORTS}/{begun}/refusals?cursor={first['next_cursor']}").json
    assert [row["line"] for row in first["data"] + rest["data"]] == list(range(2, 122))
    assert rest["next_cursor"] is None


def test_one_import_of_a_kind_runs_at_a_time_until_it_is_cancelled(operator, desk):
    file_id = send(operator, csv_of(desk, number="1"))
    running = begin(operator, file_id).json["id"]
    refused = problem_of(begin(operator, file_id), 409, "conflict")
    assert running in refused["detail"]
    [owed] = desk.owed(UUID(running))
    for _ in range(2):
        answer = operator.post(f"{IMPORTS}/{running}/cancel")
        assert (answer.status_code, answer.json["status"]) == (200, "canceled")
    ring(owed.task, owed.id)
    assert desk.invoices() == []
    done = begin(operator, file_id).json["id"]
    desk.work(UUID(done))
    problem_of(operator.post(f"{IMPORTS}/{done}/cancel"), 409, "conflict")


def test_a_key_begins_one_import_however_often_it_is_sent(operator, desk):
    file_id = send(operator, csv_of(desk, number="1"))
    first = begin(operator, file_id, key="once")
    second = begin(operator, file_id, key="once")
    assert second.json["id"] == first.json["id"]
    assert second.headers["Idempotent-Replayed"] == "true"
    problem_of(begin(operator, file_id, key="once", dry_run=True), 422, "key-reused")


def test_a_file_may_be_the_part_of_a_form(operator, desk):
    part = (io.BytesIO(csv_of(desk, number="1").encode()), "book.csv")
    answer = operator.send("POST", f"{IMPORTS}/files", data={"file": part})
    assert (answer.status_code, answer.json["name"]) == (201, "book.csv")
    assert (answer.json["lines"], answer.json["invoices"]) == (1, 1)


def test_what_cannot_be_read_is_refused_and_not_kept(operator, desk):
    def refused(data, content_type="text/csv"):
        return operator.send("POST", f"{IMPORTS}/files", data=data, content_type=content_type)

    problem_of(refused(b"x" * (MOST_BYTES + 1)), 413, "too-large")
    problem_of(refused(b"x" * (MOST_BYTES + 100_000)), 413, "too-large")
    problem_of(refused(b"number\n1\n"), 422, "invalid")
    problem_of(refused(b"{}", "application/json"), 415, "unsupported-media-type")
    problem_of(begin(operator, new_id()), 404, "not-found")
    before = desk.rows()
    problem_of(operator.post(IMPORTS, {"kind": "invoices_csv"}), 422, "invalid")
    assert desk.rows() == before


def test_the_template_is_a_file_that_can_be_sent(operator):
    template = operator.get(f"{IMPORTS}/template.csv")
    assert template.status_code == 200
    send(operator, template.data)


def test_another_tenants_imports_and_files_are_not_there(operator, desk):
    other = Desk()
    file_id = other.file(csv_of(other, number="1"))
    import_id = other.begin("invoices_csv", file_id)
    for path in ("", "/refusals", "/refusals.csv"):
        problem_of(operator.get(f"{IMPORTS}/{import_id}{path}"), 404, "not-found")
    problem_of(operator.post(f"{IMPORTS}/{import_id}/cancel"), 404, "not-found")
    problem_of(begin(operator, file_id), 404, "not-found")
    assert operator.get(IMPORTS).json["data"] == []


def test_only_the_installations_own_operators_list_who_is_at_stripe(operator, desk):
    desk.set_platform(is_platform=False)
    problem_of(operator.post(IMPORTS, {"kind": "stripe_customers"}), 403, "forbidden")
    desk.set_platform(is_platform=True)
    begun = operator.post(IMPORTS, {"kind": "stripe_customers"})
    assert begun.status_code == 201, begun.text


@pytest.mark.parametrize("role", [Role.OWNER, Role.BILLING_ADMIN, Role.MEMBER])
def test_nobody_but_the_tenants_staff_imports(sign_in_as, visitor, role):
    person = sign_in_as(role)
    for method, path in ROUTES:
        where = path.format(import_id=new_id())
        problem_of(person.send(method, where), 403, "forbidden")
        problem_of(visitor.send(method, where), 401, "unauthenticated")
