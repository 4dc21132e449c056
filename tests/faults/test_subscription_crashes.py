"""kill -9 while invoices of subscriptions are made: no number is missing, and none comes twice."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select

from models.clock import now
from models.ids import new_id
from models.invoices import Invoice, InvoiceStatus
from models.modules import Module
from models.plans import Plan, PlanPrice, sold_in
from models.prices import PriceKind
from models.subscriptions import PeriodStatus, SubscriptionPeriod
from models.tenants import Company
from models.timeline import Cause
from schedules.periods import Interval
from tests.invariants import judge
from worker.crash import POINTS
from worker.subscribing import Terms, start

pytestmark = pytest.mark.xdist_group("tests/faults")
OURS = [point for point in POINTS if point.startswith(("subscriptions", "invoicing"))]


def subscribe(system, till):
    """Owe the periods of three months: the first invoice at once, the others by the sweep."""
    with system.session(till.company_id) as session:
        # What is owed here is rung for by the sweeper alone.
        session.info["resend_after_s"] = float(system.environ["OUTBOX_RESEND_AFTER_S"])
        company = session.get_one(Company, till.company_id)
        module = Module(tenant_id=company.tenant_id, code=new_id().hex, name="Team")
        plan = Plan(
            tenant_id=company.tenant_id, code=new_id().hex, name="Plan", interval=Interval.MONTH
        )
        session.add_all([module, plan])
        session.flush()
        session.add(
            PlanPrice(
                plan_id=plan.id,
                module_id=module.id,
                currency="INR",
                kind=PriceKind.FLAT,
                unit_amount=Decimal(50),
            )
        )
        session.flush()
        prices = sold_in(session, plan.id, "INR")
        long_ago = now() - timedelta(days=62)
        terms = Terms(plan=plan, prices=prices, currency="INR", starts_at=long_ago)
        start(session, company, terms, because=Cause(why="a test"))


def invoices(system, till):
    with system.session(till.company_id) as session:
        return list(session.scalars(select(Invoice).order_by(Invoice.number)))


def is_all_paid(system, till) -> bool:
    found = invoices(system, till)
    return len(found) == 3 and {each.status for each in found} == {InvoiceStatus.PAID}


@pytest.mark.parametrize("point", OURS)
def test_a_subscription_outlives_its_worker(system, till, marks, point):
    (marks / point).touch()
    subscribe(system, till)
    system.worker.wait_dead()
    assert not (marks / point).exists()
    system.worker.start()
    system.wait_until(lambda: is_all_paid(system, till))
    judge(system)
    found = invoices(system, till)
    assert [each.number for each in found] == [f"INV-{number:06d}" for number in (1, 2, 3)]
    with system.session(till.company_id) as session:
        periods = list(
            session.scalars(select(SubscriptionPeriod).order_by(SubscriptionPeriod.starts_at))
        )
    assert [each.status for each in periods] == [PeriodStatus.INVOICED] * 3
    # In their order, too.
    assert [each.invoice_id for each in periods] == [each.id for each in found]
