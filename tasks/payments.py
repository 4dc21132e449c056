"""Charging: claim, call, record.

What became of a call whose answer was lost is found out in `tasks.lookups`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session, selectinload

from models import locks
from models.base import turn_to
from models.clock import now
from models.ids import new_id
from models.outbox import Owed, OwedStatus, enqueue
from models.timeline import Cause, note
from models.transactions import (
    AttemptStatus,
    PaymentAttempt,
    Status,
    Transaction,
    lock,
    lock_existing,
)
from tasks import settlement
from tasks.claims import Claim, CustomerNeeded, Earlier, Refused, claim_attempt, hold_payments
from tasks.customers import customer_at
from tasks.declines import EARLIER_SUCCEEDED, EARLIER_UNDER_WAY
from tasks.handover import hand_over
from worker import crash, replies, telemetry
from worker.app import Debt, calling_task
from worker.database import in_transaction
from worker.gateways import gateway_for
from worker.gateways.base import (
    Gateway,
    GatewayError,
    Intent,
    IntentStatus,
    OutcomeUnknown,
    Rejected,
    Unavailable,
)
from worker.settings import settings
from worker.tally import tally
from worker.together import Together

log = logging.getLogger(__name__)


Outcome = Intent | GatewayError | Earlier
Claimed = Claim | CustomerNeeded | Refused


def review_when_dead(session: Session, owed: Owed, error: str) -> None:
    """When a charge has failed for the last time for a reason of ours, a person must look."""
    if owed.status is not OwedStatus.DEAD:
        return
    payment = lock(session, UUID(owed.arguments["transaction_id"]))
    if payment is not None:
        cause = Cause(why=f"gave up: {error}", request_id=owed.request_id, task_id=owed.id)
        hand_over(session, payment, because=cause)


@calling_task(  # type: ignore[arg-type]  # mypy joins the two kinds of claim to object
    "payments.charge", claim=claim_attempt, hold=hold_payments, on_failure=review_when_dead
)
def charge(debt: Debt, claimed: Claimed) -> None:
    """Charge one transaction. Safe twice: the second run finds nothing to claim."""
    claim: Claim | Refused | None
    if isinstance(claimed, CustomerNeeded):
        customer_at(debt.company_id, claimed.provider)
        claim = in_transaction(_claim_again, debt.company_id, debt)
    else:
        claim = claimed
    if claim is None:
        return
    if isinstance(claim, Refused):
        replies.tell(claim.transaction_id, claim.answer, key=debt.reply)
        return
    crash.point("charge.claimed")
    outcome = _call(claim)
    crash.point("charge.called")
    answer = _recording.run(Answered(debt, claim, outcome))
    crash.point("charge.recorded")
    replies.tell(claim.transaction_id, answer, key=debt.reply)
    crash.point("charge.replied")


def _claim_again(session: Session, debt: Debt) -> Claim | Refused | None:
    claim = claim_attempt(session, debt, **debt.arguments)
    if isinstance(claim, CustomerNeeded):
        raise LookupError(  # noqa: TRY004  a row that is missing
            f"the customer at {claim.provider} was made and is not there"
        )
    return claim


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
        if earlier.is_harmless:
            continue
        # A new key each time: a cancellation may be repeated, a saved 500 would be.
        key = f"cancel-{new_id()}"
        try:
            closing = gateway_for(earlier.provider)
            status = closing.cancel(key=key, provider_id=earlier.intent_id).status
        except OutcomeUnknown as error:
            raise Unavailable(
                message=f"an earlier intent may still be open: {error.message}", code=error.code
            ) from error
        if status is not IntentStatus.CANCELED:
            return replace(earlier, status=status)
    return gateway.charge(claim.request)


@dataclass(frozen=True)
class Answered:
    """A claim with what became of its call."""

    debt: Debt
    claim: Claim
    outcome: Outcome


def _hold_answered(session: Session, answered: Sequence[Answered]) -> None:
    """Lock the payments and the invoices that several answers change."""
    locks.lock_all(
        session,
        Transaction,
        [each.claim.transaction_id for each in answered],
        options=[selectinload(Transaction.attempts)],
        along=Transaction.invoice,
    )


def _record_answered(session: Session, answered: Answered) -> dict[str, object]:
    turn_to(session, answered.debt.company_id, request_id=answered.debt.request_id)
    return record(session, answered.debt, answered.claim, answered.outcome)


_recording = Together(_record_answered, _hold_answered)


def record(session: Session, debt: Debt, claim: Claim, outcome: Outcome) -> dict[str, object]:
    """Record what the provider said and end the debt; return what the caller is told."""
    payment = lock_existing(session, claim.transaction_id)
    attempt = next(each for each in payment.attempts if each.id == claim.attempt_id)
    cause = debt.cause("the provider answered")
    debt.end(session)
    # One flush at the end writes rows of a kind together.
    with session.no_autoflush:
        if isinstance(outcome, Intent):
            _apply(session, payment, attempt, outcome, cause)
        elif not claim.holds(attempt):
            _hear_late(session, payment, attempt, outcome, debt)
        elif isinstance(outcome, Earlier):
            _give_way(session, payment, attempt, outcome, debt)
        elif isinstance(outcome, Unavailable):
            _try_again(session, payment, attempt, outcome, debt)
        elif isinstance(outcome, OutcomeUnknown):
            leave_unknown(session, payment, attempt, outcome, debt)
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
    _refresh_overtaken(session, payment, intent.provider_id)


def _told(payment: Transaction, outcome: Outcome) -> dict[str, object]:
    secret = outcome.client_secret if isinstance(outcome, Intent) else ""
    approve_url = outcome.approve_url if isinstance(outcome, Intent) else ""
    is_open = payment.status in (Status.REQUIRES_ACTION, Status.PROCESSING, Status.PENDING)
    return {
        "transaction_id": str(payment.id),
        "status": str(payment.status),
        "client_secret": secret if is_open or payment.is_settled else None,
        "approve_url": approve_url if is_open else None,
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
        code=EARLIER_SUCCEEDED if is_paid else EARLIER_UNDER_WAY,
    )
    settlement.fail(session, payment, attempt, refusal, cause=debt.cause("gave way"))
    _refresh_earlier(session, earlier)


def _refresh_earlier(session: Session, earlier: Earlier) -> None:
    enqueue(
        session,
        "lookups.refresh",
        transaction_id=earlier.transaction_id,
        intent_id=earlier.intent_id,
        why="it could not be canceled for another payment",
    )


def _hear_late(
    session: Session,
    payment: Transaction,
    attempt: PaymentAttempt,
    outcome: GatewayError | Earlier,
    debt: Debt,
) -> None:
    """Hear what a caller says whose attempt another has taken over, or has ended.

    What was refused to one of two callers may have been charged for the other, so it ends nothing:
    whoever has the attempt in hand will tell.
    """
    told = f"an earlier payment is {outcome.status}" if isinstance(outcome, Earlier) else outcome
    note(session, payment, what="late", because=debt.cause(f"heard too late to count: {told}"))
    if isinstance(outcome, Earlier):
        _refresh_earlier(session, outcome)
    elif attempt.status in _AT_THE_PROVIDER:
        _refresh_overtaken(session, payment, attempt.provider_id)
    elif not isinstance(outcome, OutcomeUnknown):
        return
    elif attempt.status == AttemptStatus.WAITING:
        leave_unknown(session, payment, attempt, outcome, debt)
    elif attempt.finished_at is not None and attempt.status != AttemptStatus.SUCCEEDED:
        owe_another_look(session, attempt)


_AT_THE_PROVIDER = (AttemptStatus.REQUIRES_ACTION, AttemptStatus.PROCESSING)


def _refresh_overtaken(session: Session, payment: Transaction, intent_id: str | None) -> None:
    enqueue(
        session,
        "lookups.refresh",
        transaction_id=payment.id,
        intent_id=intent_id,
        why="its answer was overtaken",
    )


def owe_another_look(session: Session, attempt: PaymentAttempt) -> None:
    """Owe a look for what a call may have done that was open when its attempt ended."""
    enqueue(
        session,
        "lookups.recheck",
        transaction_id=attempt.transaction_id,
        attempt_id=attempt.id,
        due_at=now() + timedelta(seconds=settings().claim_lease_s),
    )


# The specification's minutes between tries of what was surely not executed.
TRIES = 5


def _try_again(
    session: Session,
    payment: Transaction,
    attempt: PaymentAttempt,
    outcome: Unavailable,
    debt: Debt,
) -> None:
    """Owe the same attempt again after 1, 2, 4, 8 minutes; then it has failed, unexecuted."""
    attempt.waits += 1
    if attempt.waits >= TRIES:
        cause = debt.cause("the provider was away too long")
        settlement.fail(session, payment, attempt, outcome, cause=cause)
        return
    put_back(attempt, AttemptStatus.WAITING, outcome)
    due_at = again_at(outcome, tries=attempt.waits)
    enqueue(session, "payments.charge", transaction_id=payment.id, due_at=due_at)
    because = debt.cause(f"not executed: {outcome}")
    because = settlement.caused_by(because, attempt, outcome.provider_request_id)
    note(session, payment, what="wait", because=because)


def put_back(attempt: PaymentAttempt, status: AttemptStatus, error: GatewayError) -> None:
    """Leave an attempt that has no outcome, for somebody else to take up."""
    attempt.error_code, attempt.error_message = error.code[:100], error.message
    attempt.status = status
    attempt.leased_until = None


def again_at(outcome: Unavailable, *, tries: int) -> datetime:
    """Return when to send again what was surely not executed: after 1 minute, 2, 4, 8."""
    wait_s = max(settings().outbox_backoff_s * 2 ** (tries - 1), outcome.retry_after_s or 0)
    return now() + timedelta(seconds=wait_s)


def leave_unknown(
    session: Session,
    payment: Transaction,
    attempt: PaymentAttempt,
    outcome: OutcomeUnknown,
    debt: Debt,
) -> None:
    """Nobody knows whether the charge happened: it is looked up, and never charged anew."""
    put_back(attempt, AttemptStatus.UNKNOWN, outcome)
    tally(session, "payments.unknown", provider=attempt.provider)
    because = debt.cause(f"outcome unknown: {outcome}")
    because = settlement.caused_by(because, attempt, outcome.provider_request_id)
    note(session, payment, what="unknown", because=because)
    enqueue(
        session,
        "lookups.resolve",
        transaction_id=payment.id,
        due_at=now() + timedelta(seconds=settings().resolve_after_s),
    )
