"""Payouts over the API: what each is made up of, and for whom."""

from __future__ import annotations

import csv
import io
from datetime import date
from decimal import Decimal
from uuid import UUID

import pytest

from models.clock import now
from models.ids import new_id
from models.payouts import Payout
from models.tenants import Permission, Role
from models.transactions import Provider
from tests.factories import make_company
from tests.web.visitor import problem_of
from worker.database import transaction

AT = "/api/v1/payouts"
# For the tenant's own staff; `test_tenancy` has them among all.
ROUTES = dict.fromkeys(
    [("GET", AT), ("GET", f"{AT}/{{payout_id}}"), ("GET", f"{AT}/{{payout_id}}.csv")],
    Permission.OPERATIONS,
)
PART = {"type": "charge", "count": 10, "gross": "1000", "fee": "30.5", "net": "969.5"}


def add(tenant_id: UUID, **columns: object) -> str:
    told = {
        "provider_payout_id": f"po_{new_id().hex}",
        "amount": Decimal("969.50"),
        "is_balanced": True,
        "parts": [PART],
    }
    with transaction() as session:
        row = Payout(
            tenant_id=tenant_id,
            provider=Provider.STRIPE,
            currency="INR",
            status="paid",
            arrival_date=date(2026, 11, 23),
            made_at=now(),
            **(told | columns),
        )
        session.add(row)
        session.flush()
        return str(row.id)


def test_a_payout_is_told_with_its_parts(operator, staff):
    payout_id = add(staff.tenant_id)
    told = operator.get(f"{AT}/{payout_id}").json
    assert (told["amount"], told["currency"], told["arrival_date"]) == (
        "969.50",
        "INR",
        "2026-11-23",
    )
    assert told["is_balanced"] is True
    assert told["parts"] == [{**PART, "gross": "1000.00", "fee": "30.50", "net": "969.50"}]
    assert [each["id"] for each in operator.get(AT).json["data"]] == [payout_id]


def test_what_is_not_known_yet_is_told_as_such(operator, staff):
    payout_id = add(staff.tenant_id, is_balanced=None, parts=None)
    told = operator.get(f"{AT}/{payout_id}").json
    assert (told["is_balanced"], told["parts"]) == (None, [])
    answer = operator.get(f"{AT}/{payout_id}.csv")
    assert len(answer.text.splitlines()) == 2


def test_the_file_has_a_line_a_type_and_no_formulas(operator, staff):
    payout_id = add(staff.tenant_id, parts=[PART, {**PART, "type": "=HYPERLINK(1)"}])
    answer = operator.get(f"{AT}/{payout_id}.csv")
    assert answer.content_type == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="payout-{payout_id}.csv"'
    charge, other = csv.DictReader(io.StringIO(answer.text))
    assert (charge["type"], charge["count"], charge["net"]) == ("charge", "10", "969.50")
    assert (charge["amount"], charge["arrival_date"]) == ("969.50", "2026-11-23")
    assert not other["type"].startswith("=")


def test_another_tenants_payout_is_not_found(operator):
    payout_id = add(make_company().tenant_id)
    problem_of(operator.get(f"{AT}/{payout_id}"), 404, "not-found")
    problem_of(operator.get(f"{AT}/{payout_id}.csv"), 404, "not-found")
    assert operator.get(AT).json["data"] == []


@pytest.mark.parametrize("role", [Role.OWNER, Role.BILLING_ADMIN, Role.MEMBER])
def test_nobody_but_the_staff_sees_payouts(sign_in_as, visitor, role):
    person = sign_in_as(role)
    for method, path in ROUTES:
        where = path.format(payout_id=new_id())
        problem_of(person.send(method, where), 403, "forbidden")
        problem_of(visitor.send(method, where), 401, "unauthenticated")
