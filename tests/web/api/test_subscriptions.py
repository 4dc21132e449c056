"""Plans and subscriptions over the wire; what they come to is tried in tests/tasks."""

from __future__ import annotations

from decimal import Decimal
from uuid import uuid4

import orjson
import pymysql
import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from models.tenants import Role
from tests.factories import make_company
from tests.tasks.subscription_shop import Subscriber, add_module
from tests.web.visitor import problem_of
from worker.database import engine

PLANS = "/api/v1/plans"
SUBSCRIPTIONS = "/api/v1/subscriptions"


class Shelf:
    """An operator and an owner of the same tenant, and a module that is sold."""

    def __init__(self, visitor, password_hash):
        customer = make_company(password_hash=password_hash)
        staff = make_company(
            role=Role.OPERATOR, tenant_id=customer.tenant_id, password_hash=password_hash
        )
        self.customer = customer
        self.operator = visitor.sign_in(staff.email)
        self.owner = visitor.sign_in(customer.email)
        self.module_id = add_module(customer.tenant_id, "Reports", unit="report")

    @property
    def code(self):
        from models.modules import Module
        from worker.database import transaction

        with transaction() as session:
            return session.get_one(Module, self.module_id).code

    def price(self, **more):
        return {
            "module": self.code,
            "currency": "INR",
            "kind": "flat",
            "unit_amount": "500",
            **more,
        }

    def plan(self, *prices, **more):
        body = {
            "code": uuid4().hex,
            "name": "Team",
            "prices": list(prices) or [self.price()],
            **more,
        }
        return self.operator.post(PLANS, body)

    def subscribe(self, plan, **more):
        return self.owner.post(SUBSCRIPTIONS, {"plan": plan["code"], **more})


@pytest.fixture
def shelf(visitor, password_hash):
    return Shelf(visitor, password_hash)


def exact(answer):
    return orjson.loads(answer.data)


def test_an_operator_makes_a_plan_once_and_everybody_of_the_tenant_reads_it(shelf):
    answer = shelf.plan(
        shelf.price(),
        shelf.price(kind="per_seat", unit_amount="99.50", included=2),
        shelf.price(
            kind="usage",
            unit_amount="0",
            tiers=[{"up_to": 100, "unit_amount": "0.125"}, {"unit_amount": "0.1"}],
        ),
        interval="year",
        trial_days=14,
    )
    assert answer.status_code == 201, answer.text
    plan = exact(answer)
    assert [price["kind"] for price in plan["prices"]] == ["flat", "per_seat", "usage"]
    assert plan["prices"][2]["tiers"][0] == {"up_to": 100, "unit_amount": 0.125, "flat_amount": 0}
    body = {"code": plan["code"], "name": "Another", "prices": [shelf.price()]}
    problem_of(shelf.operator.post(PLANS, body), 409, "conflict")
    assert exact(shelf.owner.get(f"{PLANS}/{plan['id']}")) == plan
    assert plan["id"] in [each["id"] for each in exact(shelf.owner.get(PLANS))["data"]]
    problem_of(shelf.owner.post(PLANS, body | {"code": "mine"}), 403, "forbidden")


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("prices.0", {"kind": "flat", "included": 1}),
        ("prices.0", {"unit_amount": "0.001"}),
        ("prices.0", {"kind": "usage", "unit_amount": "1", "tiers": [{"unit_amount": "1"}]}),
        ("prices.0", {"kind": "usage", "unit_amount": "0", "tiers": [{"up_to": 5}]}),
        ("prices.0.unit_amount", {"unit_amount": "-1"}),
        ("prices.0.unit_amount", {"kind": "usage", "unit_amount": "0.0000001"}),
        ("prices.0.currency", {"currency": "XXX"}),
        ("prices.0.module", {"module": "nobody-has-it"}),
    ],
)
def test_a_price_that_makes_no_sense_is_refused_by_name(shelf, field, wrong):
    problem = problem_of(shelf.plan(shelf.price(**wrong)), 422, "invalid")
    assert [error["field"] for error in problem["errors"]] == [field]


def test_a_subscription_is_started_changed_paused_resumed_and_canceled(shelf):
    plan = exact(shelf.plan(shelf.price(kind="per_seat", unit_amount="100")))
    answer = shelf.subscribe(plan, seats=2)
    assert answer.status_code == 201, answer.text
    made = exact(answer)
    assert (made["status"], made["seats"], made["plan"]) == ("active", 2, plan["code"])
    path = answer.headers["Location"]
    coming = exact(shelf.owner.get(f"{path}/upcoming"))
    assert (coming["amount"], coming["currency"]) == (200, "INR")

    preview = exact(shelf.owner.post(f"{path}/change/preview", {"seats": 5}))
    # Of a month hardly a minute is over.
    assert 299 < preview["change_total"] <= 300
    assert exact(shelf.owner.get(path)) == made

    assert exact(shelf.owner.post(f"{path}/change", {"seats": 5}))["seats"] == 5
    assert exact(shelf.owner.post(f"{path}/pause"))["status"] == "paused"
    problem_of(shelf.owner.post(f"{path}/pause"), 409, "conflict")
    assert exact(shelf.owner.post(f"{path}/resume"))["status"] == "active"
    assert exact(shelf.owner.post(f"{path}/cancel"))["cancel_at_period_end"] is True
    assert exact(shelf.owner.post(f"{path}/keep"))["cancel_at_period_end"] is False
    ended = exact(shelf.owner.post(f"{path}/cancel", {"at": "now"}))
    assert ended["status"] == "canceled"
    problem_of(shelf.owner.post(f"{path}/resume"), 409, "conflict")
    Subscriber(customer=shelf.customer).work()
    problem_of(shelf.owner.get(f"{path}/upcoming"), 409, "conflict")


def test_the_same_key_starts_one_subscription(shelf):
    plan = exact(shelf.plan())
    body = {"plan": plan["code"]}
    first, again = (shelf.owner.post(SUBSCRIPTIONS, body, Idempotency_Key="once") for _ in range(2))
    assert first.data == again.data
    assert len(exact(shelf.owner.get(SUBSCRIPTIONS))["data"]) == 1


def test_nobody_gives_themselves_a_discount_or_a_second_trial(shelf):
    plan = exact(shelf.plan(trial_days=10))
    for name, value in (
        ("discount_percent", "50"),
        ("start", "2026-01-01T00:00:00Z"),
        ("taxes", [{"name": "VAT", "percent": "0.1"}]),
    ):
        problem_of(shelf.subscribe(plan, **{name: value}), 403, "forbidden")
    made = shelf.subscribe(plan)
    assert exact(made)["status"] == "trialing"
    # The module comes with that one.
    problem_of(shelf.subscribe(plan), 409, "conflict")
    for again in (plan, exact(shelf.plan(trial_days=10))):
        assert shelf.owner.post(f"{made.headers['Location']}/cancel", {"at": "now"}).json
        made = shelf.subscribe(again)
        assert exact(made)["status"] == "active"
    shelf.owner.post(f"{made.headers['Location']}/cancel", {"at": "now"})
    company = {"X_Company_Id": str(shelf.customer.company_id)}
    body = {"plan": plan["code"], "discount_percent": "12.5", "trial": False}
    answer = shelf.operator.post(SUBSCRIPTIONS, body, **company)
    assert exact(answer)["discount_percent"] == 12.5


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seats", 0),
        ("seats", 1_000_001),
        ("currency", "USD"),
        ("payment_method_id", "00000000-0000-7000-8000-000000000001"),
    ],
)
def test_a_subscription_that_makes_no_sense_is_refused_by_name(shelf, field, value):
    plan = exact(shelf.plan())
    problem = problem_of(shelf.subscribe(plan, **{field: value}), 422, "invalid")
    assert [error["field"] for error in problem["errors"]] == [field]


def test_what_is_sold_in_a_plan_is_not_taken_for_nothing(shelf):
    path = f"/api/v1/modules/{shelf.module_id}"
    plan = exact(shelf.plan())
    told = problem_of(shelf.owner.post(f"{path}/subscribe"), 409, "conflict")
    assert plan["code"] in told["detail"]
    company = {"X_Company_Id": str(shelf.customer.company_id)}
    assert exact(shelf.operator.post(f"{path}/subscribe", **company))["taken"]
    assert shelf.owner.post(f"{path}/subscribe").status_code == 200  # it has it already
    assert exact(shelf.owner.post(f"{path}/unsubscribe"))["taken"] is None
    shelf.operator.send("PATCH", f"{PLANS}/{plan['id']}", json={"is_active": False})
    assert shelf.owner.post(f"{path}/subscribe").status_code == 200


def test_a_preview_that_meets_a_deadlock_is_tried_again(shelf):
    path = shelf.subscribe(exact(shelf.plan())).headers["Location"]
    failed = []

    def fail_once(_connection, _cursor, statement, *_more):
        if not failed and "FROM subscriptions" in statement and "FOR UPDATE" in statement:
            failed.append(statement)
            raise OperationalError(statement, {}, pymysql.OperationalError(1213, "Deadlock"))

    event.listen(engine(), "before_cursor_execute", fail_once)
    try:
        answer = shelf.owner.post(f"{path}/change/preview", {"seats": 5})
    finally:
        event.remove(engine(), "before_cursor_execute", fail_once)
    assert failed
    assert answer.status_code == 200


def test_a_plan_that_is_not_sold_any_more_is_kept_by_who_has_it(shelf):
    plan = exact(shelf.plan())
    had = shelf.subscribe(plan)
    path = f"{PLANS}/{plan['id']}"
    assert (
        exact(shelf.operator.send("PATCH", path, json={"is_active": False}))["is_active"] is False
    )
    problem_of(shelf.subscribe(plan), 422, "invalid")
    problem_of(shelf.subscribe({"code": "nobody-has-it"}), 404, "not-found")
    assert exact(shelf.owner.get(f"{had.headers['Location']}/upcoming"))["amount"] == Decimal(500)
