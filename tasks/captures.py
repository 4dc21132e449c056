"""Capturing what the customer has approved at the provider's own pages: claim, call, record.

An order can be captured once, whatever the key: so a capture may always be tried again, and one
whose outcome is unknown is looked up by the order's id.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from models import locks
from models.clock import now
from models.invoices import Invoice, InvoiceStatus
from models.outbox import Owed, enqueue
from models.timeline import note
from models.transactions import (
    AttemptStatus,
    PaymentAttempt,
    Status,
    Transaction,
    lock,
    lock_existing,
    open_of_invoice,
    start_attempt,
)
from tasks import kept_methods, settlement
from tasks.claims import capture_key
from tasks.payments import TRIES, again_at, leave_unknown, put_back
from worker import crash, replies, telemetry
from worker.app import Debt, Later, calling_task
from worker.database import in_transaction
from worker.gateways import gateway_for
from worker.gateways.base import (
    Advice,
    Declined,
    GatewayError,
    Intent,
    IntentStatus,
    OutcomeUnknown,
    Rejected,
    Unavailable,
)
from worker.settings import settings

# In which an attempt may be captured: it waits for the customer, or nobody knows what a capture
# did, or its caller has died.
CAPTURABLE = (AttemptStatus.REQUIRES_ACTION, AttemptStatus.UNKNOWN, AttemptStatus.CALLING)
# In which a payment can still be paid: open, or declined and approved anew.
PAYABLE = (Status.REQUIRES_ACTION, Status.PROCESSING, Status.PENDING, Status.FAILED)
NOT_FOUND = 404


@dataclass(frozen=True)
class Capture:
    """An approved order that this task alone may capture."""

    attempt_id: UUID
    transaction_id: UUID
    provider: str
    order_id: str
    leased_until: datetime | None
    # Whether a call before may have taken the money, or may yet.
    was_called: bool

    @property
    def key(self) -> str:
        """The idempotency key, one an attempt."""
        return capture_key(self.attempt_id)

    def holds(self, attempt: PaymentAttempt) -> bool:
        """Whether nobody has taken the attempt over since."""
        return attempt.status == AttemptStatus.CALLING and attempt.leased_until == self.leased_until


@dataclass(frozen=True)
class Again:
    """An order that was declined, and may have been approved anew: the provider knows."""

    transaction_id: UUID
    provider: str
    order_id: str


@dataclass(frozen=True)
class Nothing:
    """There is nothing to capture; whoever waits is told where the payment stands."""

    answer: dict[str, object]


Claimed = Capture | Again | Nothing


def _claim(
    session: Session,
    debt: Debt,
    *,
    transaction_id: str,
    order_id: str = "",
    is_approved: bool = False,
    **_then: object,
) -> Claimed | None:
    """Take an attempt under a lease.

    Args:
        is_approved: whether the provider has just said so of an order that was declined before.
    """
    moment = now()
    payment = lock(session, UUID(transaction_id))
    if payment is None:
        debt.end(session)
        return None
    attempt = _attempt_of(payment, order_id or payment.provider_transaction_id)
    if attempt is not None and attempt.is_leased(moment):
        debt.defer(session, until=attempt.leased_until or moment, why="somebody is calling")
        return None
    if (
        attempt is None
        or _has_answered(session, debt, attempt)
        or not _may_capture(session, debt, payment, attempt)
    ):
        debt.end(session)
        return Nothing(_told(payment))
    if debt.waits_for(session, attempt.provider):
        return None
    if attempt.status not in CAPTURABLE:
        if not is_approved:
            return Again(payment.id, attempt.provider, attempt.provider_id or "")
        # The same order again; the payment's own may be that of a later attempt.
        approved = attempt.provider_id
        attempt = start_attempt(payment, attempt.request)
        attempt.provider_id = approved
        was_called = False
    else:
        was_called = attempt.status != AttemptStatus.REQUIRES_ACTION
    attempt.lease(moment, for_s=settings().claim_lease_s)
    payment.move_if_allowed(Status.PROCESSING, because=debt.cause("claimed for a capture"))
    return Capture(
        attempt_id=attempt.id,
        transaction_id=payment.id,
        provider=attempt.provider,
        order_id=attempt.provider_id or "",
        leased_until=attempt.leased_until,
        was_called=was_called,
    )


def _attempt_of(payment: Transaction, order_id: str | None) -> PaymentAttempt | None:
    """Return the newest attempt at an order; one whose answer was lost learns its id here."""
    if not order_id:
        return None
    for attempt in reversed(payment.attempts):
        if attempt.provider_id == order_id:
            return attempt
    waiting = payment.open_attempt
    if waiting is None or waiting.provider_id is not None or waiting.request["method"] is not None:
        return None
    waiting.provider_id = payment.provider_transaction_id = order_id
    return waiting


def _has_answered(session: Session, debt: Debt, attempt: PaymentAttempt) -> bool:
    """Whether an attempt has ended since the capture was asked for: its end is the answer.

    The customer's return and the provider's event both ask; what was declined to the first is not
    tried again for the second. Who approves anew after a decline asks anew; what was refused for
    good, or is for a person, is not for whoever pays to approve again.
    """
    if attempt.finished_at is None:
        return False
    asked = session.get_one(Owed, debt.id)
    return asked.created_at <= attempt.finished_at or attempt.advice in _FOR_GOOD


def _may_capture(
    session: Session, debt: Debt, payment: Transaction, attempt: PaymentAttempt
) -> bool:
    """Whether the money may be taken: what was given up, or is paid otherwise, never is."""
    if payment.status not in PAYABLE or attempt.status in _DONE_WITH:
        return False
    if payment.open_attempt not in (None, attempt):
        note(session, payment, what="not_captured", because=debt.cause("another attempt is open"))
        return False
    # Held, so that nothing else is entered as paid before this is under way.
    invoice = locks.lock_existing(session, Invoice, payment.invoice_id)
    other = open_of_invoice(session, payment.invoice_id)
    # What the order asks for: the payment may have been reduced since.
    amount = settlement.exact(attempt.request["amount"])
    if other in (None, payment.id) and (
        invoice.status is InvoiceStatus.OPEN and amount <= invoice.due.amount
    ):
        return True
    because = debt.cause("the invoice is paid, or being paid, otherwise")
    note(session, payment, what="not_captured", because=because)
    return False


_FOR_GOOD = (Advice.STOP, Advice.STOP_AND_REVIEW, Advice.LOOK_UP)
_DONE_WITH = (AttemptStatus.PROCESSING, AttemptStatus.SUCCEEDED, AttemptStatus.CANCELED)


@calling_task("payments.capture", claim=_claim)  # type: ignore[arg-type]  # mypy joins the two kinds of claim to object
def capture(debt: Debt, claimed: Claimed) -> None:
    """Capture an approved order. Safe twice: the second run finds it captured, here or there."""
    if isinstance(claimed, Again):
        seen = _look(debt, claimed)
        if seen is None:
            return
        claimed = seen
    if isinstance(claimed, Nothing):
        answer = claimed.answer
        subject = UUID(debt.arguments["transaction_id"])
    else:
        crash.point("capture.claimed")
        outcome = _call(claimed)
        crash.point("capture.called")
        answer = in_transaction(_record, debt.company_id, debt, claimed, outcome)
        crash.point("capture.recorded")
        subject = claimed.transaction_id
    replies.tell(subject, answer, key=debt.reply)


def _look(debt: Debt, again: Again) -> Capture | Nothing | None:
    """Claim an order that was declined, if its payer has approved it anew.

    The event of the approval that was declined may come long after, and a payer may come back from
    the page without having approved: neither reopens the payment.
    """
    order: Intent | None
    try:
        order = gateway_for(again.provider).retrieve(again.order_id)
    except Unavailable as error:
        raise Later(str(error), after_s=settings().resolve_after_s) from None
    except Rejected as refusal:
        if refusal.http_status != NOT_FOUND:
            raise
        order = None
    if order is not None and order.is_approved:
        return in_transaction(_claim_approved, debt.company_id, debt)
    return in_transaction(_record_look, debt.company_id, debt, again, order)


def _claim_approved(session: Session, debt: Debt) -> Capture | Nothing | None:
    claimed = _claim(session, debt, **{**debt.arguments, "is_approved": True})
    if isinstance(claimed, Again):
        raise TypeError("an order that is approved is captured or left")
    return claimed


def _record_look(session: Session, debt: Debt, again: Again, order: Intent | None) -> Nothing:
    debt.end(session)
    payment = lock_existing(session, again.transaction_id)
    cause = debt.cause("it was declined, and is not approved anew")
    has_ended = (*settlement.FINAL, IntentStatus.PROCESSING)
    if order is not None and order.status in has_ended:
        attempt = settlement.attempt_behind(payment, order)
        settlement.apply(session, payment, attempt, order, cause=cause)
    else:
        note(session, payment, what="not_captured", because=cause)
    return Nothing(_told(payment, order))


def _call(claim: Capture) -> Intent | GatewayError:
    with telemetry.bind(attempt=claim.attempt_id):
        try:
            return gateway_for(claim.provider).capture(key=claim.key, provider_id=claim.order_id)
        except GatewayError as error:
            return error


def _record(
    session: Session, debt: Debt, claim: Capture, outcome: Intent | GatewayError
) -> dict[str, object]:
    payment = lock_existing(session, claim.transaction_id)
    attempt = next(each for each in payment.attempts if each.id == claim.attempt_id)
    cause = debt.cause("the provider answered")
    debt.end(session)
    if isinstance(outcome, Intent):
        note(
            session,
            payment,
            what="answer",
            because=settlement.caused_by(cause, attempt, outcome.provider_request_id),
            detail={"intent": outcome.provider_id, "status": str(outcome.status)},
        )
        if claim.holds(attempt) or outcome.status in settlement.FINAL:
            settlement.apply(session, payment, attempt, outcome, cause=cause)
            kept_methods.keep(session, payment, outcome.kept_method, cause=cause)
    elif not claim.holds(attempt):
        note(session, payment, what="late", because=cause.but(f"heard too late: {outcome}"))
    elif claim.was_called and isinstance(outcome, Unavailable | Rejected):
        # It says nothing of the call before.
        unknown = OutcomeUnknown(message=outcome.message, code=outcome.code)
        leave_unknown(session, payment, attempt, unknown, debt)
    elif isinstance(outcome, Unavailable):
        _try_again(session, payment, attempt, outcome, debt)
    elif isinstance(outcome, OutcomeUnknown):
        leave_unknown(session, payment, attempt, outcome, debt)
    elif isinstance(outcome, Declined | Rejected):
        settlement.fail(session, payment, attempt, outcome, cause=cause)
    return _told(payment, outcome)


def _try_again(
    session: Session,
    payment: Transaction,
    attempt: PaymentAttempt,
    outcome: Unavailable,
    debt: Debt,
) -> None:
    """Leave it to the customer and to us: it was not executed, and stays approved."""
    put_back(attempt, AttemptStatus.REQUIRES_ACTION, outcome)
    payment.move_if_allowed(Status.REQUIRES_ACTION, because=debt.cause(f"not executed: {outcome}"))
    tries: int = debt.arguments.get("tries", 0) + 1
    if tries < TRIES:  # an approval lasts hours
        enqueue(
            session,
            "payments.capture",
            transaction_id=payment.id,
            order_id=attempt.provider_id,
            tries=tries,
            due_at=again_at(outcome, tries=tries),
        )


def _told(payment: Transaction, outcome: Intent | GatewayError | None = None) -> dict[str, object]:
    link = outcome.approve_url if isinstance(outcome, Intent) else ""
    return {
        "transaction_id": str(payment.id),
        "status": str(payment.status),
        "client_secret": None,
        "approve_url": link or None,
    }
