"""A PayPal account as a payment method: added by a setup token, charged, replaced, forgotten."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from models.methods import MethodStatus
from models.transactions import Status
from tests.flows.paypal_till import Till
from tests.web.visitor import problem_of

METHODS = "/api/v1/payment-methods"


def add(till: Till, token: str = "sandbox_good", path: str = METHODS) -> dict[str, Any]:
    """Add a method without waiting, do the work, and return it as the API tells it."""
    body = {"type": "paypal", "token": token}
    answer = till.owner.post(path, body, Prefer="respond-async", Idempotency_Key=str(uuid4()))
    assert answer.status_code == 202, answer.text
    till.work()
    shown: dict[str, Any] = till.owner.get(answer.headers["Location"]).json
    return shown


def is_kept(till: Till, provider_id: str) -> bool:
    return till.gateway.retrieve_method(provider_id) is not None


def test_an_account_is_kept_charged_and_forgotten(till: Till) -> None:
    method = add(till)
    assert (method["type"], method["status"], method["is_default"]) == ("paypal", "active", True)
    payment = till.pay(payment_method_id=method["id"], off_session=True)
    assert payment.status == Status.SUCCEEDED
    [row] = till.methods()
    assert row.provider_id is not None
    assert is_kept(till, row.provider_id)
    assert till.owner.send("DELETE", f"{METHODS}/{method['id']}").status_code == 200
    till.settle()
    assert not is_kept(till, row.provider_id)
    assert till.violations() == []


def test_an_account_is_replaced_by_another(till: Till) -> None:
    old = add(till)
    new = add(till, path=f"{METHODS}/{old['id']}/replace")
    assert (new["status"], new["is_default"]) == ("active", True)
    rows = {str(row.id): row for row in till.methods()}
    assert rows[old["id"]].status == MethodStatus.REMOVED
    assert str(rows[old["id"]].replaced_by_id) == new["id"]
    assert not is_kept(till, str(rows[old["id"]].provider_id))
    assert is_kept(till, str(rows[new["id"]].provider_id))


def test_a_token_that_the_payer_has_not_approved_is_refused(till: Till) -> None:
    method = add(till, "9XX99999XX999999X")
    assert (method["status"], bool(method["error"]["code"])) == ("failed", True)


@pytest.mark.parametrize("token", ["4242424242424242", "", "tok en", "x" * 256])
def test_what_is_no_token_of_paypals_is_refused(till: Till, token: str) -> None:
    answer = till.owner.post(METHODS, {"type": "paypal", "token": token})
    problem_of(answer, 422, "invalid")
    assert [error["field"] for error in answer.json["errors"]] == ["token"]


def test_where_paypal_is_not_set_up_its_accounts_are_not_taken(till: Till, monkeypatch) -> None:
    monkeypatch.setattr("worker.settings.Settings.has_paypal", False)
    answer = till.owner.post(METHODS, {"type": "paypal", "token": "sandbox_good"})
    problem_of(answer, 422, "invalid")
    assert [error["field"] for error in answer.json["errors"]] == ["type"]
