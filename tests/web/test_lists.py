from __future__ import annotations

import pytest

from models.transactions import Status
from tests.factories import make_invoice, make_payment
from tests.queries import queries


@pytest.mark.parametrize("path", ["/api/v1/payments", "/api/v1/invoices"])
def test_a_list_asks_the_database_once_however_long_it_is(owner, person, path):
    for _ in range(10):
        make_payment(person, make_invoice(person.company_id), status=Status.FAILED)
    owner.get(path)
    with queries() as sent:
        answer = owner.get(path)
    assert len(answer.json["data"]) == 10
    table = "transactions" if "payments" in path else "invoices"
    asked = [statement for statement in sent if "user_sessions" not in statement]
    assert len(asked) == 1
    assert f"FROM {table}" in asked[0]
