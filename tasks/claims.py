"""Claiming: an attempt with its idempotency key, committed under a lease before the call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session, selectinload

from models import locks
from models.clock import now
from models.money import Money
from models.outbox import Owed, enqueue
from models.timeline import note
from models.transactions import (
    AttemptStatus,
    PaymentAttempt,
    Status,
    Transaction,
    lock,
    start_attempt,
)
from tasks import settlement
from worker import crash
from worker.app import Debt
from worker.events import announce
from worker.gateways.base import ChargeRequest, IntentStatus
from worker.settings import settings


@dataclass(frozen=True)
class Earlier:
    """The intent of an earlier payment of the same invoice, which was declined."""

    transaction_id: UUID
    intent_id: str
    # Where it was found to stand when it could not be canceled.
    status: IntentStatus | None = None


@dataclass(frozen=True)
class Claim:
    """An attempt that this task alone may call the provider for."""

    attempt_id: UUID
    transaction_id: UUID
    provider: str
    request: ChargeRequest
    # A customer could still pay one of these in an old tab.
    superseded: tuple[Earlier, ...] = ()
    # Until when it holds; whoever takes the attempt over sets another time.
    leased_until: datetime | None = None

    def holds(self, attempt: PaymentAttempt) -> bool:
        """Whether nobody has taken the attempt over since, however late it is."""
        return attempt.status == AttemptStatus.CALLING and attempt.leased_until == self.leased_until


@dataclass(frozen=True)
class CustomerNeeded:
    """The company is not yet a customer at the provider; it must be made one before a charge."""

    provider: str


def hold_payments(session: Session, owed: Sequence[Owed]) -> None:
    """Lock the payments of several claims, and load what each is charged with."""
    locks.lock_all(
        session,
        Transaction,
        [UUID(each.arguments["transaction_id"]) for each in owed],
        options=[selectinload(column) for column in _CHARGED_WITH],
    )


_CHARGED_WITH = (
    Transaction.attempts,
    Transaction.method,
    Transaction.customer,
    Transaction.superseded,
)


def claim_attempt(
    session: Session, debt: Debt, *, transaction_id: str, **_then: object
) -> Claim | CustomerNeeded | None:
    """Take an attempt under a lease; None if there is nothing to do."""
    crash.point("charge.before_claim")
    moment = now()
    payment = lock(session, UUID(transaction_id))
    attempt = payment.open_attempt if payment else None
    if payment is None or (attempt is None and payment.status not in _CHARGEABLE):
        debt.end(session)
        return None
    if attempt is not None and attempt.is_leased(moment):
        debt.defer(session, until=attempt.leased_until or moment, why="somebody is calling")
        return None
    if attempt is not None and attempt.status != AttemptStatus.WAITING:
        _look_up(session, debt, payment, attempt)
        return None
    if debt.waits_for(session, payment.payment_method):
        return None
    if attempt is None:
        if payment.customer is None or payment.customer.provider_id is None:
            return CustomerNeeded(payment.payment_method)
        attempt = _start(session, debt, payment, payment.customer.provider_id)
    attempt.lease(moment, for_s=settings().claim_lease_s)
    return Claim(
        attempt_id=attempt.id,
        transaction_id=payment.id,
        provider=attempt.provider,
        request=request_of(attempt),
        superseded=superseded_by(payment),
        leased_until=attempt.leased_until,
    )


_CHARGEABLE = (Status.PENDING, Status.PROCESSING)


def _look_up(session: Session, debt: Debt, payment: Transaction, attempt: PaymentAttempt) -> None:
    """Hand an attempt over whose caller died; others wait for the customer or are looked up."""
    debt.end(session)
    if attempt.status != AttemptStatus.CALLING:
        return
    attempt.status = AttemptStatus.UNKNOWN
    attempt.leased_until = None
    note(session, payment, what="unknown", because=debt.cause("its worker died during the call"))
    enqueue(session, "lookups.resolve", transaction_id=payment.id)


def _start(session: Session, debt: Debt, payment: Transaction, customer_id: str) -> PaymentAttempt:
    attempt = start_attempt(
        payment,
        {
            "amount": str(payment.amount),
            "currency": payment.currency,
            "customer": customer_id,
            "method": payment.method.provider_id if payment.method else None,
            "off_session": payment.off_session,
        },
    )
    if payment.status == Status.PENDING:
        payment.move_to(Status.PROCESSING, because=debt.cause("claimed for a charge"))
        announce(
            session,
            "payment.started",
            payment,
            transaction_id=payment.id,
            invoice_id=payment.invoice_id,
            amount=payment.amount,
            currency=payment.currency,
        )
    return attempt


def request_of(attempt: PaymentAttempt) -> ChargeRequest:
    """Return the request of an attempt, the same each time: the key demands it."""
    asked = attempt.request
    return ChargeRequest(
        key=attempt.idempotency_key,
        money=Money(settlement.exact(asked["amount"]), asked["currency"]),
        customer=asked["customer"],
        method=asked["method"],
        off_session=asked["off_session"],
        metadata={
            "transaction_id": str(attempt.transaction_id),
            "company_id": str(attempt.company_id),
            "attempt_id": str(attempt.id),
        },
    )


def superseded_by(payment: Transaction) -> tuple[Earlier, ...]:
    """Return the declined intents of the same invoice, which must be closed before a charge."""
    return tuple(
        Earlier(earlier.id, intent_id)
        for earlier in payment.superseded
        if (intent_id := earlier.provider_transaction_id)
    )
