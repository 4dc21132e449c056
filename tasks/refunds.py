"""Refunds: claim, call, record. The provider hears one key a refund, so it gives back once.

A refund that a dispute overtakes before it was sent has failed, and is told so: the bank holds the
money now, and what it decides no refund may anticipate. One that may have been sent already is
followed to its end, as the provider itself refuses to refund what is charged back.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import locks
from models.alerts import Severity
from models.clock import now
from models.money import Money
from models.outbox import Owed, OwedStatus, enqueue
from models.refunds import (
    REASONS,
    Refund,
    RefundReason,
    RefundStatus,
    give,
    left_to_refund,
    take_back,
)
from models.timeline import Cause, note
from models.transactions import Transaction, lock_existing
from tasks import other_money
from tasks.handover import EXPIRED, OUR_ACCESS, hand_over_refund, look_up_after, patiently
from worker import crash, replies
from worker.alerts import alert
from worker.app import Debt, Later, calling_task
from worker.database import in_transaction
from worker.events import announce_refund
from worker.gateways import gateway_for
from worker.gateways.base import (
    GatewayError,
    OutcomeUnknown,
    RefundAnswer,
    RefundRequest,
    RefundState,
    Rejected,
    Unavailable,
)
from worker.settings import settings
from worker.tally import tally

log = logging.getLogger(__name__)

_STATUSES = {
    RefundState.PENDING: RefundStatus.PROCESSING,
    RefundState.REQUIRES_ACTION: RefundStatus.REQUIRES_ACTION,
    RefundState.SUCCEEDED: RefundStatus.SUCCEEDED,
    RefundState.FAILED: RefundStatus.FAILED,
    RefundState.CANCELED: RefundStatus.FAILED,
}


@dataclass(frozen=True)
class Claim:
    """A refund that this task alone may call the provider for."""

    refund_id: UUID
    transaction_id: UUID
    provider: str
    request: RefundRequest
    # Called before: what the provider has must be looked at first.
    called_before: bool
    is_key_alive: bool


# What is not final: the order of two such events cannot be known.
_UNDER_WAY = (RefundState.PENDING, RefundState.REQUIRES_ACTION)


def _claim(session: Session, debt: Debt, *, refund_id: str, **_then: object) -> Claim | None:
    moment = now()
    # The payment first: whoever disputes it, or gives it back, holds it.
    payment = lock_existing(session, session.get_one(Refund, UUID(refund_id)).transaction_id)
    refund = locks.lock_existing(session, Refund, UUID(refund_id))
    if refund.status not in (RefundStatus.PENDING, RefundStatus.PROCESSING):
        debt.end(session)
        return None
    if payment.provider_transaction_id is None:
        raise LookupError(f"refund {refund_id} is of a payment with no intent")
    if refund.first_called_at is None and (why := _why_not(session, payment)):
        debt.end(session)
        fail(session, payment, refund, why, cause=debt.cause("not sent"))
        return None
    if debt.waits_for(session, payment.payment_method):
        return None
    with patiently():
        key_life = timedelta(seconds=gateway_for(payment.payment_method).refund_key_life_s)
    called_before = refund.first_called_at is not None
    refund.first_called_at = refund.first_called_at or moment
    refund.leased_until = moment + timedelta(seconds=settings().claim_lease_s)
    if refund.status == RefundStatus.PENDING:
        refund.move_to(RefundStatus.PROCESSING, because=debt.cause("claimed"))
    return Claim(
        refund_id=refund.id,
        transaction_id=payment.id,
        provider=payment.payment_method,
        called_before=called_before,
        is_key_alive=moment < refund.first_called_at + key_life,
        request=RefundRequest(
            key=f"refund-{refund.id}",
            provider_id=payment.provider_transaction_id,
            money=Money(refund.amount, payment.currency),
            reason=str(refund.reason),
            metadata={
                "refund_id": str(refund.id),
                "transaction_id": str(payment.id),
                "company_id": str(payment.company_id),
            },
        ),
    )


def _why_not(session: Session, payment: Transaction) -> str:
    """Return why a refund that was never sent must not be sent any more; empty if it may."""
    if payment.is_disputed:
        return "The payment is disputed; nothing was sent."
    # Its own amount is among what is taken; another was made at the provider since.
    if left_to_refund(session, payment) < 0:
        return "Less than that is left of the payment; nothing was sent."
    return ""


def _review_when_dead(session: Session, owed: Owed, error: str) -> None:
    """When a refund has failed for the last time for a reason of ours, a person must look."""
    if owed.status is not OwedStatus.DEAD:
        return
    refund = locks.lock(session, Refund, UUID(owed.arguments["refund_id"]))
    if refund is not None and refund.status in (RefundStatus.PENDING, RefundStatus.PROCESSING):
        cause = Cause(why=f"gave up: {error}", request_id=owed.request_id, task_id=owed.id)
        hand_over_refund(session, refund, because=cause)


@calling_task("refunds.send", claim=_claim, on_failure=_review_when_dead)
def send(debt: Debt, claim: Claim) -> None:
    """Ask the provider for one refund. Safe twice: a second run finds it sent, or looks it up."""
    crash.point("refund.claimed")
    outcome = _call(claim)
    crash.point("refund.called")
    in_transaction(_record, debt.company_id, debt, claim, outcome)
    crash.point("refund.recorded")
    replies.tell(claim.refund_id, {"refund_id": str(claim.refund_id)}, key=debt.reply)


def _call(claim: Claim) -> RefundAnswer | GatewayError:
    gateway = gateway_for(claim.provider)
    try:
        if claim.called_before:
            wanted = str(claim.refund_id)
            for found in gateway.find_refunds(provider_id=claim.request.provider_id):
                if found.metadata.get("refund_id") == wanted:
                    return found
            if not claim.is_key_alive:
                return OutcomeUnknown(message="not found, and its key has expired", code=EXPIRED)
        return gateway.refund(claim.request)
    except GatewayError as error:
        return error


def _record(
    session: Session, debt: Debt, claim: Claim, outcome: RefundAnswer | GatewayError
) -> None:
    payment = lock_existing(session, claim.transaction_id)
    refund = locks.lock_existing(session, Refund, claim.refund_id)
    refund.leased_until = None
    cause = debt.cause("the provider answered")
    debt.end(session)
    if isinstance(outcome, GatewayError) and _is_open(debt, claim, outcome):
        refund.error_message = str(outcome)
        if outcome.code == EXPIRED:
            hand_over_refund(session, refund, because=cause.but(str(outcome)))
        else:
            _look_later(session, debt, refund, outcome)
        return
    if isinstance(outcome, GatewayError):
        refund.error_message = outcome.message
        if refund.status == RefundStatus.PROCESSING:
            fail(session, payment, refund, outcome.message, cause=cause.but(str(outcome)))
        return
    _believe(session, payment, refund, outcome, cause)


def _is_open(debt: Debt, claim: Claim, outcome: GatewayError) -> bool:
    """Whether a refund may have been made, or may yet be, in spite of an answer.

    A refusal of our access says nothing of a call before, and after such a call any refusal must
    be heard twice, with a look in between.
    """
    if isinstance(outcome, Unavailable | OutcomeUnknown) or outcome.http_status in OUR_ACCESS:
        return True
    return claim.called_before and not debt.arguments.get("was_refused")


def _look_later(session: Session, debt: Debt, refund: Refund, outcome: GatewayError) -> None:
    """Owe the same key again, or a look-up once it has been called: never a second refund."""
    look_ups: int = debt.arguments.get("look_ups", 0)
    enqueue(
        session,
        "refunds.send",
        refund_id=refund.id,
        look_ups=look_ups + 1,
        was_refused=debt.arguments.get("was_refused", False) or isinstance(outcome, Rejected),
        due_at=now() + look_up_after(look_ups),
    )


def apply(
    session: Session, payment: Transaction, refund: Refund, answer: RefundAnswer, *, cause: Cause
) -> None:
    """Bring a refund and its locked payment to what the provider says. Safe in any order."""
    refund.provider_refund_id = answer.provider_id
    refund.provider_request_id = answer.provider_request_id or refund.provider_request_id
    status = _STATUSES[answer.state]
    if status != refund.status and not refund.can_move_to(status):
        return  # older news: what failed keeps its reason
    if answer.failure_reason or status != RefundStatus.FAILED:
        refund.error_message = answer.failure_reason or None
    if status == refund.status:
        return
    had_succeeded = refund.status == RefundStatus.SUCCEEDED
    refund.review_since = None
    cause = cause.but(f"the provider says {answer.state}")
    if status == RefundStatus.FAILED:
        if had_succeeded:
            take_back(session, payment, refund, because=cause)
        why = answer.failure_reason or f"The provider says {answer.state}."
        fail(session, payment, refund, why, cause=cause)
        return
    refund.move_to(status, because=cause)
    if status == RefundStatus.SUCCEEDED:
        give(session, payment, refund, because=cause)
        tally(session, "payments.refunded", provider=payment.payment_method, outcome="succeeded")
    announce_refund(session, payment, refund)


def fail(session: Session, payment: Transaction, refund: Refund, why: str, *, cause: Cause) -> None:
    """Fail a refund and have somebody see to it: the customer waits for the money."""
    refund.error_message = why
    refund.move_to(RefundStatus.FAILED, because=cause)
    tally(session, "payments.refunded", provider=payment.payment_method, outcome="failed")
    money = Money(refund.amount, payment.currency)
    alert(
        session,
        "refund_failed",
        severity=Severity.WARNING,
        subject=refund,
        message=f"A refund of {money} has failed: {why}",
    )
    announce_refund(session, payment, refund)


def behind(session: Session, answer: RefundAnswer) -> Refund | None:
    """Return our refund that `answer` tells of, locked: by their id, else by ours in it."""
    query = select(Refund.id).where(Refund.provider_refund_id == answer.provider_id)
    found = session.scalar(query) or _uuid(answer.metadata.get("refund_id"))
    return locks.lock(session, Refund, found) if found else None


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


def known(
    session: Session, payment: Transaction, answer: RefundAnswer, *, cause: Cause
) -> Refund | None:
    """Return our refund that `answer` tells of; one that was made in the dashboard is adopted.

    None where it gives back what no row of ours has: a second charge of a payment, or one that
    came after the payment was canceled. A person was told to give that back.
    """
    refund = behind(session, answer)
    if refund is None and other_money.is_other(payment, answer):
        other_money.hear_of_refund(session, payment, answer, cause)
        return None
    return refund or _adopt(session, payment, answer, cause)


def _adopt(session: Session, payment: Transaction, answer: RefundAnswer, cause: Cause) -> Refund:
    """Keep a refund that was made in the provider's dashboard, so that our book agrees."""
    refund = Refund(
        company_id=payment.company_id,
        transaction_id=payment.id,
        amount=answer.money.amount,
        reason=REASONS.get(answer.reason, RefundReason.REFUND),
        status=RefundStatus.PROCESSING,
        provider_refund_id=answer.provider_id,
        notes="made at the provider",
    )
    session.add(refund)
    session.flush()
    note(session, refund, what="adopted", because=cause.but("made at the provider"))
    return refund


def hear(session: Session, payment: Transaction, answer: RefundAnswer, *, cause: Cause) -> None:
    """Apply what an event tells of a refund; adopt one that was made at the provider.

    What is not final may be older than what is known, and so may word of a success be of one that
    has failed: then the provider is asked.
    """
    refund = known(session, payment, answer, cause=cause)
    if refund is None:
        return
    status = _STATUSES[answer.state]
    is_news = refund.status != status and refund.can_move_to(status)
    is_doubted = refund.status == RefundStatus.FAILED and answer.state is RefundState.SUCCEEDED
    is_older = answer.state in _UNDER_WAY and refund.status != RefundStatus.PENDING
    if is_doubted or (is_news and is_older):
        enqueue(session, "refunds.collect", transaction_id=payment.id)
        return
    apply(session, payment, refund, answer, cause=cause)


def _payment_to_collect(session: Session, debt: Debt, *, transaction_id: str) -> Transaction | None:
    payment = session.get_one(Transaction, UUID(transaction_id))
    if payment.provider_transaction_id is None:
        # The charge's answer was lost; the look-up will tell.
        raise Later("its intent is not known yet", after_s=settings().resolve_after_s)
    return None if debt.waits_for(session, payment.payment_method) else payment


@calling_task("refunds.collect", claim=_payment_to_collect)
def collect(debt: Debt, payment: Transaction) -> None:
    """Bring a payment's refunds to what the provider has. Safe twice: it applies what is so."""
    with patiently():
        found = gateway_for(payment.payment_method).find_refunds(
            provider_id=payment.provider_transaction_id or ""
        )
    in_transaction(_record_collected, debt.company_id, debt, payment.id, found)


def _record_collected(
    session: Session, debt: Debt, transaction_id: UUID, found: list[RefundAnswer]
) -> None:
    debt.end(session)
    payment = lock_existing(session, transaction_id)
    believe_all(session, payment, found, cause=debt.cause("the provider's list of refunds"))


def believe_all(
    session: Session, payment: Transaction, found: list[RefundAnswer], *, cause: Cause
) -> None:
    """Bring a locked payment's refunds to what the provider lists; what we lack is adopted."""
    for answer in found:
        refund = known(session, payment, answer, cause=cause)
        if refund is not None:
            _believe(session, payment, refund, answer, cause)


def _believe(
    session: Session, payment: Transaction, refund: Refund, answer: RefundAnswer, cause: Cause
) -> None:
    """Apply what the provider has just answered; what no move allows is for a person."""
    apply(session, payment, refund, answer, cause=cause)
    if refund.status != RefundStatus.FAILED or answer.state not in _GOES_OUT:
        return
    money = Money(refund.amount, payment.currency)
    alert(
        session,
        "refund_gone_out",
        severity=Severity.CRITICAL,
        subject=refund,
        message=f"A refund of {money} has failed here, and the provider says that it is "
        f"{answer.state} ({answer.provider_id}): do not give it back again.",
    )


_GOES_OUT = (*_UNDER_WAY, RefundState.SUCCEEDED)
