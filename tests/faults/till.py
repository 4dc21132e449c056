"""A company at a running system that pays invoices, and what must be true once all is quiet.

Payments are owed by their rows, as a view writes them, and rung for; so a test may look at one
fault at a time. The doors are tried in `test_servers_away` and `test_load`.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import select

from models import outbox
from models.methods import MethodStatus, MethodType, PaymentMethod
from models.outbox import Owed, OwedStatus
from models.refunds import Refund, RefundReason
from models.timeline import history
from models.transactions import PaymentAttempt, Provider, Transaction
from tests.factories import add_invoice
from tests.system import System
from worker.dispatch import message_for


class Till:
    """One company with a card on file."""

    def __init__(self, system: System, card: str = "pm_card_visa") -> None:
        self.system = system
        self.company_id = system.company()
        self.user_id = self.company_id
        self.method_id = self.attach(card)

    def ring(self, owed: Sequence[Owed]) -> None:
        for row in owed:
            self.system.redis.lpush(*message_for(row))

    def enqueue(self, session: Any, task: str, **arguments: Any) -> None:
        resend = float(self.system.environ["OUTBOX_RESEND_AFTER_S"])
        session.info["resend_after_s"] = resend
        outbox.enqueue(session, task, **arguments)

    def attach(self, token: str) -> UUID:
        method_id = self.add(token)
        self.system.wait_until(lambda: self.method(method_id).status == MethodStatus.ACTIVE)
        return method_id

    def replace(self, method_id: UUID, token: str) -> UUID:
        """Owe a method in the place of another and ring for it."""
        return self.add(token, replaces=method_id)

    def add(self, token: str, *, replaces: UUID | None = None) -> UUID:
        with self.system.session(self.company_id) as session:
            method = PaymentMethod(
                company_id=self.company_id,
                user_id=self.user_id,
                type=MethodType.CARD,
                provider="stripe",
                token=token,
                replaces_id=replaces,
            )
            session.add(method)
            session.flush()
            self.enqueue(session, "methods.attach", method_id=method.id)
        self.ring(session.info["owed"])
        return method.id

    def method(self, method_id: UUID) -> PaymentMethod:
        with self.system.session(self.company_id) as session:
            return session.get_one(PaymentMethod, method_id)

    def invoice(self, amount: str = "100.00") -> UUID:
        with self.system.session(self.company_id) as session:
            return add_invoice(session, self.company_id, amount)

    def pay(self, amount: str = "100.00", *, method_id: UUID | None = None, **columns: Any) -> UUID:
        """Owe a payment of a new invoice and ring for it."""
        payment_id, owed = self.owe(amount, method_id=method_id, **columns)
        self.ring(owed)
        return payment_id

    def owe(
        self, amount: str = "100.00", *, method_id: UUID | None = None, **columns: Any
    ) -> tuple[UUID, Sequence[Owed]]:
        """Owe a payment of a new invoice without ringing for it."""
        invoice_id = self.invoice(amount)
        with self.system.session(self.company_id) as session:
            payment = Transaction(
                company_id=self.company_id,
                invoice_id=invoice_id,
                amount=Decimal(amount),
                payment_method=Provider.STRIPE,
                payment_method_id=method_id or self.method_id,
                **columns,
            )
            session.add(payment)
            session.flush()
            self.enqueue(session, "payments.charge", transaction_id=payment.id)
        return payment.id, session.info["owed"]

    def refund(self, payment_id: UUID, amount: str) -> UUID:
        with self.system.session(self.company_id) as session:
            refund = Refund(
                company_id=self.company_id,
                transaction_id=payment_id,
                amount=Decimal(amount),
                reason=RefundReason.REQUESTED,
            )
            session.add(refund)
            session.flush()
            self.enqueue(session, "refunds.send", refund_id=refund.id)
        self.ring(session.info["owed"])
        return refund.id

    def payment(self, payment_id: UUID) -> Transaction:
        with self.system.session(self.company_id) as session:
            return session.get_one(Transaction, payment_id)

    def attempts(self, payment_id: UUID) -> list[PaymentAttempt]:
        with self.system.session(self.company_id) as session:
            return list(session.get_one(Transaction, payment_id).attempts)

    def told(self, payment_id: UUID) -> list[str]:
        """The payment's timeline, a line each."""
        with self.system.session(self.company_id) as session:
            return [
                f"{line.what} {line.was or ''}>{line.became or ''} {line.why}"
                for line in history(session, [payment_id])
            ]

    def wait_for(self, payment_id: UUID, *statuses: str) -> Transaction:
        self.system.wait_until(lambda: self.payment(payment_id).status in statuses)
        return self.payment(payment_id)


def owed(system: System, status: OwedStatus = OwedStatus.OWED) -> list[Owed]:
    with system.session() as session:
        return list(session.scalars(select(Owed).where(Owed.status == status)))
