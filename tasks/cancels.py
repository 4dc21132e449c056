"""Canceling what its customer could still pay: one task, whoever wants it.

Success wins: what was paid meanwhile is believed, what is being paid is left alone. PayPal has no
call that cancels an order: what is canceled with us is never captured, and only we capture.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from models.clock import now
from models.outbox import enqueue
from models.timeline import Cause, note
from models.transactions import CancelReason, Status, Transaction, lock, lock_existing
from tasks import settlement
from tasks.claims import is_due
from tasks.handover import hand_over, look_up_after
from worker import replies
from worker.app import Debt, calling_task
from worker.database import in_transaction
from worker.events import announce_payment
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

# Tries of what is not answered: the first within minutes, then each hour, for three days.
TRIES = 75
# What is told of a payment that has ended so.
TOLD = {
    CancelReason.ABANDONED: "The payment was not confirmed in time.",
    CancelReason.BY_CUSTOMER: "The payment was given up by who was to confirm it.",
    CancelReason.NOT_DUE: "So much of the invoice is not due any more.",
}
STILL_OPEN = (IntentStatus.REQUIRES_ACTION, IntentStatus.DECLINED)


@dataclass(frozen=True)
class Unpaid:
    """A payment that is to be canceled, and the key to do it with."""

    transaction_id: UUID
    provider: str
    intent_id: str
    key: str
    # Whether what the customer has tried or approved counts no more.
    is_given_up: bool


@dataclass(frozen=True)
class Nothing:
    """There is nothing to cancel by now; whoever waits is told to look."""

    transaction_id: UUID


def _claim(
    session: Session,
    debt: Debt,
    *,
    transaction_id: str,
    reason: str = CancelReason.ABANDONED,
    **_then: object,
) -> Unpaid | Nothing | None:
    payment = lock(session, UUID(transaction_id))
    if payment is None or not _may_cancel(payment, CancelReason(reason)):
        debt.end(session)
        return Nothing(UUID(transaction_id))
    if payment.provider_transaction_id is None:
        debt.end(session)
        hand_over(session, payment, because=debt.cause("it waits for its customer nowhere"))
        return None
    if debt.waits_for(session, payment.payment_method):
        return None
    is_still_due = is_due(session, payment)
    if is_still_due and reason == CancelReason.NOT_DUE:
        debt.end(session)
        return None
    return Unpaid(
        payment.id,
        payment.payment_method,
        payment.provider_transaction_id,
        # A debt a try, and so a key a try: a saved 500 would be answered again and again.
        key=f"cancel-{debt.id}",
        is_given_up=reason != CancelReason.ABANDONED or not is_still_due,
    )


def _may_cancel(payment: Transaction, reason: CancelReason) -> bool:
    """Whether a payment waits for its customer; a declined one can yet be paid in an old tab."""
    if payment.status == Status.FAILED and payment.provider_transaction_id is not None:
        return reason is CancelReason.NOT_DUE
    return payment.status == Status.REQUIRES_ACTION


@calling_task("payments.cancel", claim=_claim)  # type: ignore[arg-type]  # mypy joins the two kinds of claim to object
def cancel(debt: Debt, unpaid: Unpaid | Nothing) -> None:
    """Cancel what may not be paid any more. Safe twice: what is canceled or paid stays as it is.

    Looks first: one that is being paid is left alone, though the provider might cancel it.
    """
    if isinstance(unpaid, Unpaid):
        outcome = _call(unpaid)
        in_transaction(_record, debt.company_id, debt, unpaid.transaction_id, outcome)
    replies.tell(unpaid.transaction_id, {}, key=debt.reply)


def _call(unpaid: Unpaid) -> Intent | GatewayError:
    try:
        return _close(gateway_for(unpaid.provider), unpaid)
    except GatewayError as error:
        return error


def _close(gateway: Gateway, unpaid: Unpaid) -> Intent:
    try:
        intent = gateway.retrieve(unpaid.intent_id)
    except Rejected:
        pass  # where what is left expires by itself, canceling it knows that
    else:
        is_tried = intent.is_approved or intent.status is IntentStatus.DECLINED
        if intent.status not in STILL_OPEN or (is_tried and not unpaid.is_given_up):
            return intent
    return gateway.cancel(key=unpaid.key, provider_id=unpaid.intent_id)


def _record(
    session: Session, debt: Debt, transaction_id: UUID, outcome: Intent | GatewayError
) -> None:
    debt.end(session)
    payment = lock_existing(session, transaction_id)
    reason = _reason_of(debt)
    cause = debt.cause(TOLD[reason])
    if not _may_cancel(payment, reason):
        _hear_late(session, payment, outcome, reason)
    elif isinstance(outcome, Intent) and (
        outcome.status is not IntentStatus.REQUIRES_ACTION or outcome.is_approved
    ):
        had_failed = payment.status == Status.FAILED
        attempt = settlement.attempt_behind(payment, outcome)
        settlement.apply(session, payment, attempt, outcome, cause=cause)
        if payment.status == Status.CANCELED and not had_failed:
            _tell(session, payment, reason)
    else:
        _try_later(session, payment, outcome, debt, cause)


def _reason_of(debt: Debt) -> CancelReason:
    return CancelReason(debt.arguments.get("reason", CancelReason.ABANDONED))


def _try_later(
    session: Session,
    payment: Transaction,
    outcome: Intent | GatewayError,
    debt: Debt,
    cause: Cause,
) -> None:
    tries: int = debt.arguments.get("tries", 0) + 1
    is_final = isinstance(outcome, GatewayError) and not isinstance(
        outcome, OutcomeUnknown | Unavailable
    )
    told = outcome if isinstance(outcome, GatewayError) else "it is still open there"
    has_ended = payment.status == Status.FAILED  # nothing waits for it, so no person need look
    if tries >= TRIES or (is_final and not has_ended):
        if not has_ended:
            hand_over(session, payment, because=cause.but(f"it cannot be canceled: {told}"))
        return
    note(session, payment, what="wait", because=cause.but(f"not canceled: {told}"))
    enqueue(
        session,
        "payments.cancel",
        transaction_id=payment.id,
        reason=str(_reason_of(debt)),
        tries=tries,
        due_at=now() + look_up_after(tries - 1),
    )


def _hear_late(
    session: Session, payment: Transaction, outcome: Intent | GatewayError, reason: CancelReason
) -> None:
    """Hear what the provider says of a payment that has moved on while it was asked."""
    if payment.status == Status.CANCELED:
        if reason is not CancelReason.NOT_DUE and payment.error_code not in TOLD:
            _tell(session, payment, reason)  # its own event was faster, and does not know why
    elif isinstance(outcome, Intent):
        # Believe neither: the customer came back while we canceled, and the provider knows more.
        enqueue(
            session,
            "lookups.refresh",
            transaction_id=payment.id,
            intent_id=outcome.provider_id,
            why="its customer came back while it was canceled",
        )


def _tell(session: Session, payment: Transaction, reason: CancelReason) -> None:
    payment.error_code, payment.error_message = str(reason), TOLD[reason]
    announce_payment(session, "payment.failed", payment, code=reason, reason=TOLD[reason])
