"""A tenant with modules and plans, and companies that subscribe; its tasks run in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import select

from models import clock, locks
from models.bank_transfers import record as record_transfer
from models.customer_credit import balance
from models.ids import new_id
from models.invoices import Invoice, InvoiceLine
from models.modules import Module, active
from models.notifications import Notification
from models.outbox import Owed, OwedStatus
from models.plans import Plan, PlanPrice, sold_in
from models.prices import PriceKind, Tier, TiersMode, tier_as_json
from models.subscriptions import (
    Subscription,
    SubscriptionPeriod,
    SubscriptionStatus,
    lock_existing,
)
from models.tenants import Company
from models.timeline import Cause
from models.usage import Reading, record
from schedules.periods import Interval
from tasks import subscriptions
from tests.bell import ring
from tests.factories import Customer, make_company
from worker import subscribing
from worker.database import in_transaction, transaction
from worker.subscribing import Terms

CAUSE = Cause(why="a test")
OURS = ("subscriptions.", "invoicing.", "notifications.")


@contextmanager
def time_goes_back() -> Iterator[None]:
    """Whatever the time was set to in here, it is set back."""
    try:
        yield
    finally:
        clock.advance_by(timedelta)


def set_clock(moment: datetime) -> None:
    """Have it be `moment` in this process and stay so, to the second, however long that takes."""
    within = moment + timedelta(milliseconds=250)
    clock.advance_by(lambda: within - clock.wall())


def add_module(tenant_id: UUID, name: str, *, unit: str | None = None) -> UUID:
    with transaction() as session:
        module = Module(tenant_id=tenant_id, code=new_id().hex, name=name, unit=unit)
        session.add(module)
        session.flush()
        return module.id


def add_plan(
    tenant_id: UUID,
    prices: Sequence[dict[str, Any]],
    *,
    every: tuple[Interval, int] = (Interval.MONTH, 1),
    trial_days: int = 0,
    name: str = "Plan",
) -> UUID:
    """A plan of `price(...)`s."""
    with transaction() as session:
        plan = Plan(
            tenant_id=tenant_id,
            code=new_id().hex,
            name=name,
            interval=every[0],
            interval_count=every[1],
            trial_days=trial_days,
        )
        session.add(plan)
        session.flush()
        session.add_all(PlanPrice(plan_id=plan.id, **each) for each in prices)
        return plan.id


def price(
    module_id: UUID,
    amount: str = "0",
    kind: str = "flat",
    *,
    currency: str = "EUR",
    tiers: Sequence[Tier] = (),
    mode: TiersMode | None = None,
    included: int = 0,
) -> dict[str, Any]:
    return {
        "module_id": module_id,
        "currency": currency,
        "kind": PriceKind(kind),
        "unit_amount": Decimal(amount),
        "tiers": [tier_as_json(tier) for tier in tiers] or None,
        "tiers_mode": mode,
        "included": included,
    }


class Subscriber:
    """One company; `work()` does what it is owed about subscriptions."""

    def __init__(
        self,
        tenant_id: UUID | None = None,
        *,
        zone: str = "UTC",
        currency: str = "EUR",
        customer: Customer | None = None,
    ) -> None:
        self.customer = customer or make_company(tenant_id=tenant_id)
        self.tenant_id = self.customer.tenant_id
        self.company_id = self.customer.company_id
        self.currency = currency
        with transaction() as session:
            session.get_one(Company, self.company_id).time_zone = zone

    def session(self):
        return transaction(company_id=self.company_id)

    def start(self, plan_id: UUID, **terms: Any) -> UUID:
        return in_transaction(self._start, self.company_id, plan_id, terms)

    def _start(self, session, plan_id: UUID, terms: dict[str, Any]) -> UUID:
        made = Terms(
            plan=session.get_one(Plan, plan_id),
            prices=sold_in(session, plan_id, self.currency),
            currency=self.currency,
            **terms,
        )
        company = session.get_one(Company, self.company_id)
        return subscribing.start(session, company, made, because=CAUSE).id

    def act(self, what: str, subscription_id: UUID, *args: Any, **kwargs: Any) -> Any:
        """Do one of the acts of worker.subscribing."""
        with self.session() as session:
            held = lock_existing(session, subscription_id)
            return getattr(subscribing, what)(session, held, *args, because=CAUSE, **kwargs)

    def change_plan(self, subscription_id: UUID, plan_id: UUID) -> None:
        with self.session() as session:
            plan = session.get_one(Plan, plan_id)
            prices = sold_in(session, plan_id, self.currency)
        self.act("change", subscription_id, subscribing.Change(plan=plan, prices=prices))

    def credit(self) -> Decimal:
        with self.session() as session:
            return balance(session, self.company_id, self.currency)

    def has(self, module_id: UUID) -> bool:
        with self.session() as session:
            return module_id in active(session, [module_id])

    def told(self) -> list[str]:
        """The events that its browsers are to hear, of modules."""
        events = [event for row in self.owed("events.") for event in row.arguments["events"]]
        return [event["type"] for event in events if event["type"].startswith("module.")]

    def use(self, module_id: UUID, quantity: int, at: datetime | None = None) -> None:
        with self.session() as session:
            reading = Reading(module_id=module_id, key=new_id().hex, quantity=quantity, at=at)
            [outcome] = record(session, self.company_id, [reading], moment=clock.now()).outcomes
            assert outcome.verdict == "recorded", outcome

    def owed(self, *tasks: str) -> list[Owed]:
        with self.session() as session:
            query = select(Owed).where(
                Owed.company_id == self.company_id, Owed.status == OwedStatus.OWED
            )
            rows = list(session.scalars(query.order_by(Owed.id)))
        return [row for row in rows if row.task.startswith(tasks or OURS)]

    def work(self) -> None:
        """Run what is owed of ours, and what that owes, until nothing new is."""
        done: set[UUID] = set()
        while due := [row for row in self.owed() if row.id not in done]:
            for row in due:
                ring(row.task, row.id)
                done.add(row.id)

    def go_on(self) -> None:
        """Bring on all of the company's subscriptions that are due, and do the work."""
        with self.session() as session:
            ids = list(session.scalars(select(Subscription.id).order_by(Subscription.id)))
        for identity in ids:
            subscriptions.bring_on(self.company_id, identity, clock.now())
        self.work()

    def go_to(self, moment: datetime) -> None:
        set_clock(moment)
        self.go_on()

    def subscription(self, subscription_id: UUID) -> Subscription:
        with self.session() as session:
            return session.get_one(Subscription, subscription_id)

    def status(self, subscription_id: UUID) -> SubscriptionStatus:
        return self.subscription(subscription_id).status

    def periods(self, subscription_id: UUID) -> list[SubscriptionPeriod]:
        with self.session() as session:
            return list(
                session.scalars(
                    select(SubscriptionPeriod)
                    .where(SubscriptionPeriod.subscription_id == subscription_id)
                    .order_by(SubscriptionPeriod.starts_at)
                )
            )

    def invoices(self) -> list[Invoice]:
        with self.session() as session:
            return list(session.scalars(select(Invoice).order_by(Invoice.number)))

    def amounts(self) -> list[Decimal]:
        return [invoice.amount for invoice in self.invoices()]

    def lines(self, invoice_id: UUID) -> list[tuple[str, Decimal]]:
        with self.session() as session:
            rows = session.scalars(
                select(InvoiceLine)
                .where(InvoiceLine.invoice_id == invoice_id)
                .order_by(InvoiceLine.position)
            )
            return [(line.description, line.total) for line in rows]

    def notices(self, template: str) -> list[Notification]:
        with self.session() as session:
            query = select(Notification).where(Notification.template == template)
            return list(session.scalars(query))

    def pay(self, invoice_id: UUID) -> None:
        """Pay an invoice by a bank transfer."""
        with self.session() as session:
            invoice = locks.lock_existing(session, Invoice, invoice_id)
            record_transfer(
                session,
                invoice,
                invoice.due,
                reference=str(invoice_id),
                received_on=clock.now().date(),
                because=CAUSE,
            )
        self.work()


def at(*when: int) -> datetime:
    return datetime(*when, tzinfo=UTC)  # type: ignore[misc,arg-type]
