"""A company whose cards are declined: its tasks run in this process, at a stand-in for Stripe.

Time is set forward here alone; the stand-in keeps its own, as a provider does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from models import cards, clock, invoices
from models.base import across_companies
from models.dunning import DECIDED
from models.ids import new_id
from models.invoices import InvoiceStatus
from models.methods import MethodStatus, MethodType, PaymentMethod
from models.notifications import Notification
from models.outbox import Owed, OwedStatus, enqueue
from models.timeline import Cause, history
from models.transactions import (
    AttemptStatus,
    Dunning,
    PaymentAttempt,
    Provider,
    Status,
    Transaction,
    lock_existing,
)
from sandbox.stripe.control import Refused
from tasks import ladder
from tests.bell import ring
from tests.factories import Customer, add_invoice, make_company
from tests.sandbox_fixture import SandboxProcess
from worker.database import PUBLISH, in_transaction, transaction
from worker.gateways import gateway_for
from worker.settings import settings

# What is owed on the way and says nothing about dunning.
ASIDE = (PUBLISH,)


class Shop:
    """One company; `work()` does all that it is owed."""

    def __init__(self, sandbox: SandboxProcess, customer: Customer | None = None) -> None:
        self.sandbox = sandbox
        self.customer = customer or make_company()
        self.company_id = self.customer.company_id

    def session(self):
        return transaction(company_id=self.company_id)

    def card(self, token: str = "pm_card_visa", **columns: Any) -> UUID:
        """Keep a card; `pm_sandbox_decline_<code>` makes one that always declines so."""
        with self.session() as session:
            method = PaymentMethod(
                company_id=self.company_id,
                user_id=self.customer.user_id,
                type=MethodType.CARD,
                provider="stripe",
                token=token,
            )
            session.add(method)
            session.flush()
            enqueue(session, "methods.attach", method_id=method.id)
        self.work()
        with self.session() as session:
            found = session.get_one(PaymentMethod, method.id)
            assert found.status == MethodStatus.ACTIVE, found.error_message
            for name, value in columns.items():
                setattr(found, name, value)
        return method.id

    def invoice(self, amount: str = "100.00") -> UUID:
        with self.session() as session:
            return add_invoice(session, self.company_id, amount)

    def pay(
        self,
        method_id: UUID | None,
        invoice_id: UUID | None = None,
        amount: str = "100.00",
        **columns: Any,
    ) -> UUID:
        """Pay an invoice, a new one unless given, and do the work."""
        payment_id = self.owe(method_id, invoice_id, amount, **columns)
        self.work()
        return payment_id

    def owe(
        self,
        method_id: UUID | None,
        invoice_id: UUID | None = None,
        amount: str = "100.00",
        **columns: Any,
    ) -> UUID:
        invoice_id = invoice_id or self.invoice(amount)
        with self.session() as session:
            payment = Transaction(
                company_id=self.company_id,
                invoice_id=invoice_id,
                amount=Decimal(amount),
                payment_method=Provider.STRIPE,
                payment_method_id=method_id,
                **columns,
            )
            session.add(payment)
            session.flush()
            enqueue(session, "payments.charge", transaction_id=payment.id)
            return payment.id

    def owed(self, *tasks: str) -> list[Owed]:
        with self.session() as session:
            query = select(Owed).where(
                Owed.company_id == self.company_id, Owed.status == OwedStatus.OWED
            )
            rows = list(session.scalars(query.order_by(Owed.id)))
        return [row for row in rows if not tasks or row.task in tasks]

    def forget(self, owed: Owed) -> None:
        """Drop a debt, so that nothing becomes of it."""
        with self.session() as session:
            session.delete(session.get_one(Owed, owed.id))

    def make_default(self, method_id: UUID, *, is_default: bool) -> None:
        with self.session() as session:
            session.get_one(PaymentMethod, method_id).is_default = is_default

    def work(self) -> None:
        """Run what is owed, and what that owes, until nothing new is."""
        done: set[UUID] = set()
        while ran := self.work_once(but=done):
            done |= ran

    def work_once(self, *, but: Collection[UUID] = ()) -> set[UUID]:
        """Run what is owed now; return what that was."""
        due = [row for row in self.owed() if row.task not in ASIDE and row.id not in but]
        for row in due:
            ring(row.task, row.id)
        return {row.id for row in due}

    def advance(self, **by: float) -> None:
        """Set this process's clock forward; the fixture sets it back."""
        ahead = clock._offset() + timedelta(**by)
        clock.advance_by(lambda: ahead)

    def climb(self, payment_id: UUID) -> bool:
        """Have one payment looked at by the ladder, and do the work."""
        has_acted = in_transaction(ladder.climb, self.company_id, payment_id)
        self.work()
        return has_acted

    def climb_when_due(self, payment_id: UUID) -> None:
        """Go on to the date of the next retry and have it made."""
        due_at = self.payment(payment_id).next_retry_at
        assert due_at is not None, self.decided(payment_id)
        self.advance(seconds=max(0.0, (due_at - clock.now()).total_seconds()))
        assert self.climb(payment_id)

    def decline_next(self, code: str, **more: Any) -> None:
        self.sandbox.control.fault("decline", decline_code=code, **more)

    def refresh(self, payment_id: UUID, intent_id: str | None = None) -> None:
        """Have an intent of a payment fetched and believed, as after an event."""
        intent_id = intent_id or self.payment(payment_id).provider_transaction_id
        with self.session() as session:
            enqueue(
                session,
                "lookups.refresh",
                transaction_id=payment_id,
                intent_id=intent_id,
                why="an event",
            )
        self.work()

    def confirm_in_old_tab(self, payment_id: UUID, card: str) -> None:
        """Pay the payment's intent in a browser that has kept its client secret."""
        [secret] = [
            intent["client_secret"]
            for intent in self.sandbox.control.book()["payment_intents"]
            if intent["id"] == self.payment(payment_id).provider_transaction_id
        ]
        with suppress(Refused):
            self.sandbox.control.confirm_in_browser(secret, payment_method=card)

    def move(self, session: Session, invoice_id: UUID, status: InvoiceStatus) -> None:
        """Move an invoice, as whoever bills does."""
        held = invoices.lock(session, invoice_id)
        assert held is not None
        held.move_to(status, because=Cause(why="a test"))

    def settle_as(self, payment_id: UUID, status: Status) -> None:
        """Move a payment, as a task does."""
        with self.session() as session:
            lock_existing(session, payment_id).move_to(status, because=Cause(why="a test"))

    def payment(self, payment_id: UUID) -> Transaction:
        with self.session() as session:
            return session.get_one(Transaction, payment_id)

    def attempts(self, payment_id: UUID) -> list[PaymentAttempt]:
        with self.session() as session:
            return list(session.get_one(Transaction, payment_id).attempts)

    def decided(self, payment_id: UUID) -> list[tuple[str, str]]:
        """The state and the reason of each decision, oldest first."""
        with self.session() as session:
            lines = history(session, [payment_id])
        return [
            (line.detail["state"], line.detail["reason"])
            for line in lines
            if line.what == DECIDED and line.detail
        ]

    def notices(self, payment_id: UUID) -> list[tuple[str, int]]:
        with self.session() as session:
            rows = session.scalars(
                select(Notification)
                .where(Notification.subject_id == payment_id)
                .order_by(Notification.id)
            )
            return [(row.template, row.number) for row in rows]

    def charges(self, payment_id: UUID, status: str = "succeeded") -> int:
        return len(self.sandbox.control.charges(str(payment_id), status=status))


def decline_often(shop: Shop, method_id, number: int, *, ago: timedelta = timedelta(hours=1)):
    """Have the card's history hold so many declines, of another invoice."""
    payment_id = shop.owe(None)
    with shop.session() as session:
        card = cards.card_of(session.get_one(PaymentMethod, method_id))
        session.add_all(
            PaymentAttempt(
                company_id=shop.company_id,
                transaction_id=payment_id,
                number=each + 1,
                provider="stripe",
                status=AttemptStatus.DECLINED,
                idempotency_key=str(new_id()),
                request={"amount": "1.00"},
                fingerprint=card,
                advice="retry",
                created_at=clock.now() - ago,
                finished_at=clock.now() - ago,
            )
            for each in range(number)
        )
    for owed in shop.owed("payments.charge"):
        shop.forget(owed)
    return payment_id


@contextmanager
def opened(
    sandbox: SandboxProcess, monkeypatch: Any, customer: Customer | None = None
) -> Iterator[Shop]:
    """A shop at the stand-in; nothing of other tests is scheduled, and time is set back."""
    forget_schedules()
    monkeypatch.setenv("STRIPE_API_BASE", sandbox.url)
    monkeypatch.setenv("STRIPE_API_KEY", "sk_test_sandbox")
    made = (settings, gateway_for)
    for each in made:
        each.cache_clear()
    yield Shop(sandbox, customer)
    clock.advance_by(timedelta)
    monkeypatch.undo()
    for each in made:
        each.cache_clear()


def forget_schedules() -> None:
    with transaction() as session:
        session.execute(
            across_companies(
                update(Transaction)
                .where(Transaction.next_retry_at.is_not(None))
                .values(next_retry_at=None, dunning=Dunning.NONE),
                because="what other tests have left is swept by none of these",
            )
        )
