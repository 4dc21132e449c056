"""Looking things up at the provider: lost answers, doubted states, secrets asked for again.

lookups.resolve    an attempt whose outcome is unknown: look, and only within the life of its
                   key send it again
lookups.recheck    an attempt ended while a call for it was open: look once more
lookups.refresh    an event and our row disagree: fetch the intent and believe it
lookups.reveal     the caller asks again for the client secret, which no row holds
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from models.clock import now
from models.outbox import enqueue
from models.timeline import note
from models.transactions import (
    SETTLED,
    AttemptStatus,
    PaymentAttempt,
    Status,
    Transaction,
    lock,
    lock_existing,
)
from tasks import settlement
from tasks.claims import (
    PAID_OTHERWISE,
    Claim,
    Earlier,
    capture_key,
    is_due,
    request_of,
    superseded_by,
)
from tasks.handover import EXPIRED, OUR_ACCESS, hand_over, look_up_after, patiently
from tasks.payments import Outcome, charge_alone, owe_another_look, record, review_when_dead
from worker import replies
from worker.app import Debt, calling_task
from worker.database import in_transaction
from worker.gateways import gateway_for, is_set_up
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

# How long after the end of a key a provider may leave look-ups unanswered.
PATIENCE = timedelta(days=1)
KEY_REUSED = "idempotency_error"
NOT_FOUND = 404
# Neither can be cleared up by asking again.
FOR_A_PERSON = (EXPIRED, KEY_REUSED)


@dataclass(frozen=True)
class Unknown:
    """An attempt whose outcome nobody knows, taken under a lease."""

    claim: Claim
    key_ends: datetime
    # The provider's id, where something has told it.
    intent_id: str | None
    # Whether what was not made may yet be: not what the invoice no longer lacks.
    is_due: bool
    # Whether the same intent was declined to an earlier attempt, which it may still show.
    was_declined: bool = False


def _claim_unknown(
    session: Session, debt: Debt, *, transaction_id: str, **_then: object
) -> Unknown | None:
    moment = now()
    payment = lock(session, UUID(transaction_id))
    attempt = payment.open_attempt if payment else None
    if (
        payment is None
        or attempt is None
        or attempt.status not in (AttemptStatus.UNKNOWN, AttemptStatus.CALLING)
    ):
        debt.end(session)
        return None
    if attempt.is_leased(moment):
        debt.defer(session, until=attempt.leased_until or moment, why="somebody is calling")
        return None
    if debt.waits_for(session, attempt.provider):
        return None
    attempt.lease(moment, for_s=settings().claim_lease_s)
    # Where nobody can be asked nothing is sent, and a person is asked as after a long outage.
    is_there = is_set_up(attempt.provider)
    key_life = timedelta(seconds=gateway_for(attempt.provider).key_life_s if is_there else 0)
    is_still_due = is_due(session, payment)
    return Unknown(
        Claim(
            attempt.id,
            payment.id,
            attempt.provider,
            request_of(attempt),
            superseded_by(payment),
            attempt.leased_until,
        ),
        key_ends=(attempt.first_called_at or attempt.created_at) + key_life,
        intent_id=attempt.provider_id,
        is_due=is_still_due,
        was_declined=_was_declined(payment, attempt),
    )


def _was_declined(payment: Transaction, attempt: PaymentAttempt) -> bool:
    return any(
        each.number < attempt.number
        and each.provider_id == attempt.provider_id
        and each.status == AttemptStatus.DECLINED
        for each in payment.attempts
    )


@calling_task("lookups.resolve", claim=_claim_unknown, on_failure=review_when_dead)
def resolve(debt: Debt, unknown: Unknown) -> None:
    """Find out what became of a lost answer. Safe twice: an outcome that is known is left alone.

    Looks up first. Only what the provider does not know, within the life of the attempt's key,
    is sent again, under that same key and with the same parameters.
    """
    claim = unknown.claim
    outcome = _find_out(unknown)
    in_transaction(_record_resolved, debt.company_id, debt, claim, outcome)


def _find_out(unknown: Unknown) -> Outcome:
    claim, is_key_alive = unknown.claim, now() < unknown.key_ends
    try:
        gateway = gateway_for(claim.provider)
        if unknown.intent_id is not None:
            intent = gateway.retrieve(unknown.intent_id)
            is_stale = intent.status is IntentStatus.DECLINED and unknown.was_declined
            is_asked_again = is_key_alive and (is_stale or intent.is_approved)
            return _capture_again(gateway, unknown) if is_asked_again else intent
        if is_key_alive and unknown.is_due and not gateway.finds_at_once:
            # There the key itself is the look-up: it is answered with what it has made.
            return _send_again(gateway, unknown)
        found = gateway.find(
            transaction_id=claim.transaction_id,
            customer=claim.request.customer,
            key=claim.request.key,
            until=min(now(), unknown.key_ends),
        )
    except GatewayError as error:
        # Whatever is wrong with the look-up, also its refusal, says nothing of the charge.
        is_hopeless = now() >= unknown.key_ends + PATIENCE
        return OutcomeUnknown(message=error.message, code=EXPIRED if is_hopeless else error.code)
    if found:
        return found[0]
    if is_key_alive:
        return _send_again(gateway, unknown)
    return OutcomeUnknown(message="not found, and its key has expired", code=EXPIRED)


def _capture_again(gateway: Gateway, unknown: Unknown) -> Outcome:
    """Ask by the capture's own key: what is declined may be the one before it, of the same order.

    The one that is asked about may still be under way, and take the money after all.
    """
    if not unknown.is_due:
        # To ask might be to take it.
        return OutcomeUnknown(message="its own capture may still be under way", code="not_due")
    try:
        key = capture_key(unknown.claim.attempt_id)
        return gateway.capture(key=key, provider_id=unknown.intent_id or "")
    except GatewayError as error:
        return error


def _send_again(gateway: Gateway, unknown: Unknown) -> Outcome:
    if not unknown.is_due:
        return Rejected(message=PAID_OTHERWISE.message, code=PAID_OTHERWISE.code)
    try:
        return charge_alone(gateway, unknown.claim)
    except GatewayError as error:
        if isinstance(error, Rejected) and error.code == KEY_REUSED:
            # The provider saw this key with other parameters: that call may have charged.
            return OutcomeUnknown(message=error.message, code=KEY_REUSED)
        if isinstance(error, Rejected) and error.http_status in OUR_ACCESS:
            # It says who we are not, and nothing of the call before.
            return OutcomeUnknown(message=error.message, code=error.code)
        return error


def _record_resolved(session: Session, debt: Debt, claim: Claim, outcome: Outcome) -> None:
    payment = lock_existing(session, claim.transaction_id)
    attempt = next(each for each in payment.attempts if each.id == claim.attempt_id)
    # The call before was never answered and may still be executed: a refusal must be heard twice,
    # with a look in between.
    is_first_refusal = isinstance(outcome, Rejected) and not debt.arguments.get("was_refused")
    is_open = isinstance(outcome, OutcomeUnknown | Unavailable) or is_first_refusal
    if not (is_open and claim.holds(attempt)):
        record(session, debt, claim, outcome)
        if isinstance(outcome, Earlier):
            owe_another_look(session, attempt)
        return
    debt.end(session)
    attempt.status = AttemptStatus.UNKNOWN
    attempt.leased_until = None
    if isinstance(outcome, OutcomeUnknown) and outcome.code in FOR_A_PERSON:
        hand_over(session, payment, because=debt.cause(str(outcome)))
        return
    look_ups: int = debt.arguments.get("look_ups", 0)
    enqueue(
        session,
        "lookups.resolve",
        transaction_id=payment.id,
        look_ups=look_ups + 1,
        was_refused=is_first_refusal or debt.arguments.get("was_refused", False),
        due_at=now() + look_up_after(look_ups + 1),
    )
    because = debt.cause(f"still unknown: {outcome}")
    request_id = getattr(outcome, "provider_request_id", "")
    because = settlement.caused_by(because, attempt, request_id)
    note(session, payment, what="unknown", because=because)


@dataclass(frozen=True)
class Ended:
    """An attempt that has ended while a call for it was open."""

    claim: Claim
    # After this no call for it can have been executed.
    until: datetime


def _claim_ended(
    session: Session, debt: Debt, *, transaction_id: str, attempt_id: str
) -> Ended | None:
    payment = session.get_one(Transaction, UUID(transaction_id))
    attempt = next(each for each in payment.attempts if str(each.id) == attempt_id)
    if attempt.finished_at is None or attempt.status == AttemptStatus.SUCCEEDED:
        debt.end(session)
        return None
    if debt.waits_for(session, attempt.provider):
        return None
    return Ended(
        Claim(attempt.id, payment.id, attempt.provider, request_of(attempt)),
        until=attempt.finished_at + timedelta(seconds=settings().claim_lease_s),
    )


@calling_task("lookups.recheck", claim=_claim_ended)
def recheck(debt: Debt, ended: Ended) -> None:
    """Look whether an attempt that was refused has charged after all. Safe twice: it only looks.

    A provider's list may be hours behind; until then it is asked again.
    """
    claim = ended.claim
    with patiently():
        found = gateway_for(claim.provider).find(
            transaction_id=claim.transaction_id,
            customer=claim.request.customer,
            key=claim.request.key,
            until=ended.until,
        )
    in_transaction(_record_rechecked, debt.company_id, debt, claim, found)


def _record_rechecked(session: Session, debt: Debt, claim: Claim, found: list[Intent]) -> None:
    debt.end(session)
    payment = lock_existing(session, claim.transaction_id)
    attempt = next(each for each in payment.attempts if each.id == claim.attempt_id)
    for intent in found[:1]:
        # Of what was declined or canceled the end is known already.
        if intent.status not in (IntentStatus.DECLINED, IntentStatus.CANCELED):
            cause = debt.cause("it was refused, and there all the same")
            # Where the list knows no attempts it may be another's.
            behind = settlement.attempt_behind(payment, intent) or attempt
            settlement.apply(session, payment, behind, intent, cause=cause)


def _payment_to_look_up(
    session: Session, debt: Debt, *, transaction_id: str, **_of: str
) -> Transaction | None:
    payment = session.get(Transaction, UUID(transaction_id))
    if payment is None:
        debt.end(session)
        return None
    return None if debt.waits_for(session, payment.payment_method) else payment


@calling_task("lookups.refresh", claim=_payment_to_look_up)
def refresh(debt: Debt, payment: Transaction) -> None:
    """Fetch the intent and believe it, unless the payment has changed since it was asked for.

    Safe twice: applying the same state changes nothing.
    """
    with patiently():
        intent = gateway_for(payment.payment_method).retrieve(debt.arguments["intent_id"])
    in_transaction(_record_refreshed, debt.company_id, debt, payment, intent)


def _record_refreshed(session: Session, debt: Debt, seen: Transaction, intent: Intent) -> None:
    why: str = debt.arguments["why"]
    debt.end(session)
    payment = lock_existing(session, seen.id)
    if payment.version != seen.version and intent.status not in settlement.FINAL:
        # Another answer was recorded meanwhile, and nobody knows which of the two is newer.
        enqueue(
            session,
            "lookups.refresh",
            transaction_id=payment.id,
            intent_id=intent.provider_id,
            why=why,
            event_id=debt.arguments.get("event_id"),
        )
        return
    attempt = settlement.attempt_behind(payment, intent)
    cause = replace(debt.cause(why), event_id=debt.arguments.get("event_id"))
    if attempt is not None and _is_in_hand(payment, attempt, intent):
        note(session, payment, what="in_hand", because=cause.but(f"it was {intent.status}"))
        return
    settlement.apply(session, payment, attempt, intent, cause=cause)


def _is_in_hand(payment: Transaction, attempt: PaymentAttempt, intent: Intent) -> bool:
    """Whether who is calling for an attempt, or finds out what became of it, will tell.

    What is seen during a call may be of before it; and a decline, of an earlier attempt at the same
    order.
    """
    if intent.status in settlement.FINAL:
        return False
    in_hand = (AttemptStatus.CALLING, AttemptStatus.UNKNOWN)
    is_declined = intent.status is IntentStatus.DECLINED and attempt.status in in_hand
    is_asked_for = intent.is_approved and attempt.status in in_hand
    return (
        attempt.is_leased(now())
        or is_asked_for
        or (is_declined and _was_declined(payment, attempt))
    )


@calling_task("lookups.reveal", claim=_payment_to_look_up)
def reveal(debt: Debt, payment: Transaction) -> None:
    """Fetch the client secret for those who asked again with the same key, who have joined.

    Where the customer approves at the provider's pages, their address. `is_over` says that there
    is nothing to go on with. Safe twice: it only reads.
    """
    answer: dict[str, object] = {"transaction_id": str(payment.id), "status": payment.status}
    intent = None
    if payment.provider_transaction_id is not None:
        with patiently():
            intent = _kept_by(gateway_for(payment.payment_method), payment.provider_transaction_id)
        answer["is_over"] = intent is None or not _can_go_on(intent)
    if intent is not None:
        answer |= {"client_secret": intent.client_secret, "approve_url": intent.approve_url}
    in_transaction(_end_revealed, debt.company_id, debt, payment, intent)
    replies.tell(payment.id, answer)


def _kept_by(gateway: Gateway, intent_id: str) -> Intent | None:
    """Return an intent; None once the provider has forgotten it."""
    try:
        return gateway.retrieve(intent_id)
    except Rejected as refusal:
        if refusal.http_status != NOT_FOUND:
            raise
    return None


def _can_go_on(intent: Intent) -> bool:
    """Whether the customer can still pay it, with what the provider hands out for that."""
    is_declined = intent.status is IntentStatus.DECLINED
    is_open = is_declined and bool(intent.client_secret or intent.approve_url)
    return is_open or intent.status is IntentStatus.REQUIRES_ACTION


def _end_revealed(
    session: Session, debt: Debt, payment: Transaction, intent: Intent | None
) -> None:
    debt.end(session)
    ended = (*SETTLED, Status.CANCELED)
    if intent is not None and intent.status in settlement.FINAL and payment.status not in ended:
        enqueue(
            session,
            "lookups.refresh",
            transaction_id=payment.id,
            intent_id=intent.provider_id,
            why="it was asked for and had ended",
        )
