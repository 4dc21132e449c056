"""Charging: claim, call, record.

What became of a call whose answer was lost is found out in `tasks.lookups`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.clock import now
from models.ids import new_id
from models.methods import PaymentMethod, customer_of
from models.money import Money
from models.outbox import Owed, OwedStatus, enqueue
from models.timeline import Cause, note
from models.transactions import (
    AttemptStatus,
    PaymentAttempt,
    Status,
    Transaction,
    lock,
    lock_existing,
    open_attempt,
    start_attempt,
)
from tasks import settlement
from tasks.customers import customer_at
from worker import crash, replies, telemetry
from worker.app import Debt, calling_task
from worker.database import in_transaction
from worker.events import announce
from worker.gateways import gateway_for
from worker.gateways.base import (
    ChargeRequest,
    Gateway,
    GatewayError,
    Intent,
    IntentStatus,
    OutcomeUnknown,
    Rejected,
    Unavailable,
)
from worker.settings import settings

log = logging.getLogger(__name__)


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


Outcome = Intent | GatewayError | Earlier


def review_when_dead(session: Session, owed: Owed, error: str) -> None:
    """When a charge has failed for the last time for a reason of ours, a person must look."""
    if owed.status is not OwedStatus.DEAD:
        return
    payment = lock(session, UUID(owed.arguments["transaction_id"]))
    if payment is not None:
        cause = Debt(owed.id, owed.company_id, owed.request_id).cause(f"gave up: {error}")
        payment.move_if_allowed(Status.NEEDS_REVIEW, because=cause)


@calling_task("payments.charge", on_failure=review_when_dead)
def charge(debt: Debt, *, transaction_id: str, reply: str | None = None) -> None:
    """Charge one transaction. Safe twice: the second run finds nothing to claim."""
    crash.point("charge.before_claim")
    customer_id = _customer(debt.company_id, UUID(transaction_id))
    claim = in_transaction(_claim, debt.company_id, debt, UUID(transaction_id), customer_id)
    if claim is None:
        return
    crash.point("charge.claimed")
    outcome = _call(claim)
    crash.point("charge.called")
    answer = in_transaction(record, debt.company_id, debt, claim, outcome)
    crash.point("charge.recorded")
    replies.tell(claim.transaction_id, answer, key=reply)
    crash.point("charge.replied")


def _customer(company_id: UUID | None, transaction_id: UUID) -> str:
    """Return the company's customer id at the provider, made if need be; "" if nothing is due."""
    needed = in_transaction(_customer_needed, company_id, transaction_id)
    if needed is None:
        return ""
    provider, customer_id = needed
    return customer_id or customer_at(company_id, provider)


def _customer_needed(session: Session, transaction_id: UUID) -> tuple[str, str | None] | None:
    """Return the provider and, where it is known, the company's customer id there."""
    payment = session.get(Transaction, transaction_id)
    if payment is None or payment.status not in _CHARGEABLE:
        return None
    customer = customer_of(session, payment.company_id, payment.payment_method)
    return payment.payment_method, customer.provider_id if customer else None


_CHARGEABLE = (Status.PENDING, Status.PROCESSING)


def _claim(session: Session, debt: Debt, transaction_id: UUID, customer_id: str) -> Claim | None:
    """Take the debt and an attempt under a lease; None if there is nothing to do."""
    moment = now()
    if not debt.claim(session, moment):
        return None
    payment = lock(session, transaction_id)
    attempt = open_attempt(session, transaction_id) if payment else None
    if payment is None or (attempt is None and payment.status not in _CHARGEABLE):
        debt.end(session)
        return None
    if attempt is None:
        attempt = _start(session, debt, payment, customer_id)
    elif attempt.is_leased(moment):
        debt.defer(session, until=attempt.leased_until or moment, why="somebody is calling")
        return None
    elif attempt.status != AttemptStatus.WAITING:
        _look_up(session, debt, payment, attempt)
        return None
    attempt.lease(moment, for_s=settings().claim_lease_s)
    return Claim(
        attempt_id=attempt.id,
        transaction_id=payment.id,
        provider=attempt.provider,
        request=request_of(attempt),
        superseded=superseded_by(session, payment),
    )


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
    method = (
        session.get(PaymentMethod, payment.payment_method_id) if payment.payment_method_id else None
    )
    attempt = start_attempt(
        session,
        payment,
        {
            "amount": str(payment.amount),
            "currency": payment.currency,
            "customer": customer_id,
            "method": method.provider_id if method else None,
            "off_session": payment.off_session,
        },
    )
    session.flush()
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


def superseded_by(session: Session, payment: Transaction) -> tuple[Earlier, ...]:
    """Return the declined intents of the same invoice, which must be closed before a charge."""
    found = session.execute(
        select(Transaction.id, Transaction.provider_transaction_id).where(
            Transaction.invoice_id == payment.invoice_id,
            Transaction.id != payment.id,
            Transaction.status == Status.FAILED,
            Transaction.provider_transaction_id.is_not(None),
        )
    )
    return tuple(Earlier(earlier_id, intent_id) for earlier_id, intent_id in found if intent_id)


def _call(claim: Claim) -> Outcome:
    """Ask the provider, with no transaction open."""
    with telemetry.bind(attempt=claim.attempt_id):
        try:
            return charge_alone(gateway_for(claim.provider), claim)
        except GatewayError as error:
            return error


def charge_alone(gateway: Gateway, claim: Claim) -> Intent | Earlier:
    """Charge once no earlier intent of the invoice can be paid; return one that may have been.

    Raises:
        GatewayError: of the charge; of a cancellation it is never `OutcomeUnknown`, because then
            the charge was surely not sent.
    """
    for earlier in claim.superseded:
        # A new key each time: a cancellation may be repeated, a saved 500 would be.
        key = f"cancel-{new_id()}"
        try:
            status = gateway.cancel(key=key, provider_id=earlier.intent_id).status
        except OutcomeUnknown as error:
            raise Unavailable(
                message=f"an earlier intent may still be open: {error.message}", code=error.code
            ) from error
        if status is not IntentStatus.CANCELED:
            return replace(earlier, status=status)
    return gateway.charge(claim.request)


def record(session: Session, debt: Debt, claim: Claim, outcome: Outcome) -> dict[str, object]:
    """Record what the provider said and end the debt; return what the caller is told."""
    payment = lock_existing(session, claim.transaction_id)
    attempt = session.get_one(PaymentAttempt, claim.attempt_id, with_for_update=True)
    cause = debt.cause("the provider answered")
    debt.end(session)
    # One flush at the end writes rows of a kind together.
    with session.no_autoflush:
        if isinstance(outcome, Intent):
            _apply(session, payment, attempt, outcome, cause)
        elif isinstance(outcome, Earlier):
            _give_way(session, payment, attempt, outcome, debt)
        elif isinstance(outcome, Unavailable):
            _try_again(session, payment, attempt, outcome, debt)
        elif isinstance(outcome, OutcomeUnknown):
            _leave_unknown(session, payment, attempt, outcome, debt)
        else:
            settlement.fail(session, payment, attempt, outcome, cause=cause)
    return _told(payment, outcome)


def _apply(
    session: Session, payment: Transaction, attempt: PaymentAttempt, intent: Intent, cause: Cause
) -> None:
    note(
        session,
        payment,
        what="answer",
        because=settlement.caused_by(cause, attempt, intent.provider_request_id),
        detail={"intent": intent.provider_id, "status": str(intent.status)},
    )
    if attempt.finished_at is None or intent.status in settlement.FINAL:
        settlement.apply(session, payment, attempt, intent, cause=cause)
        return
    # Something that came later has ended the attempt meanwhile.
    enqueue(
        session,
        "lookups.refresh",
        transaction_id=payment.id,
        intent_id=intent.provider_id,
        why="its answer was overtaken",
    )


def _told(payment: Transaction, outcome: Outcome) -> dict[str, object]:
    secret = outcome.client_secret if isinstance(outcome, Intent) else ""
    is_open = payment.status in (Status.REQUIRES_ACTION, Status.PROCESSING, Status.PENDING)
    return {
        "transaction_id": str(payment.id),
        "status": str(payment.status),
        "client_secret": secret if is_open or payment.is_settled else None,
    }


def _give_way(
    session: Session,
    payment: Transaction,
    attempt: PaymentAttempt,
    earlier: Earlier,
    debt: Debt,
) -> None:
    """End a payment that was not sent, as an earlier one of its invoice is paid or may yet be."""
    is_paid = earlier.status is IntentStatus.SUCCEEDED
    refusal = Rejected(
        message="An earlier payment of the invoice "
        + ("has succeeded." if is_paid else "is still under way."),
        code="earlier_payment_succeeded" if is_paid else "earlier_payment_under_way",
    )
    settlement.fail(session, payment, attempt, refusal, cause=debt.cause("gave way"))
    enqueue(
        session,
        "lookups.refresh",
        transaction_id=earlier.transaction_id,
        intent_id=earlier.intent_id,
        why="it could not be canceled for another payment",
    )


# The specification's minutes between tries of what was surely not executed.
_TRIES = 5


def _try_again(
    session: Session,
    payment: Transaction,
    attempt: PaymentAttempt,
    outcome: Unavailable,
    debt: Debt,
) -> None:
    """Owe the same attempt again after 1, 2, 4, 8 minutes; then it has failed, unexecuted."""
    attempt.error_code, attempt.error_message = outcome.code[:100], outcome.message
    attempt.leased_until = None
    attempt.waits += 1
    if attempt.waits >= _TRIES:
        settlement.fail(
            session, payment, attempt, outcome, cause=debt.cause("the provider was away too long")
        )
        return
    attempt.status = AttemptStatus.WAITING
    wait_s = max(settings().outbox_backoff_s * 2 ** (attempt.waits - 1), outcome.retry_after_s or 0)
    enqueue(
        session,
        "payments.charge",
        transaction_id=payment.id,
        due_at=now() + timedelta(seconds=wait_s),
    )
    note(session, payment, what="wait", because=debt.cause(f"not executed: {outcome}"))


def _leave_unknown(
    session: Session,
    payment: Transaction,
    attempt: PaymentAttempt,
    outcome: OutcomeUnknown,
    debt: Debt,
) -> None:
    """Nobody knows whether the charge happened: it is looked up, and never charged anew."""
    if attempt.finished_at is not None:
        return  # a webhook told meanwhile
    attempt.error_code, attempt.error_message = outcome.code[:100], outcome.message
    attempt.status = AttemptStatus.UNKNOWN
    attempt.leased_until = None
    telemetry.count("payments.unknown", provider=attempt.provider)
    note(session, payment, what="unknown", because=debt.cause(f"outcome unknown: {outcome}"))
    enqueue(
        session,
        "lookups.resolve",
        transaction_id=payment.id,
        due_at=now() + timedelta(seconds=settings().resolve_after_s),
    )
