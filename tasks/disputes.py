"""Disputes: heard of and followed, the money that they move booked, what we answer sent.

disputes.refresh   an event and our row disagree: fetch the dispute and believe it
disputes.trace     an event named an intent that we do not know: look whose payment it is
disputes.send      evidence, or that we give in
disputes.remind    tell, while there is time, that evidence is due

A dispute takes money by movements that each have an id of the provider's. Each is posted once
under it, whatever the order in which events and answers tell of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import locks
from models.alerts import Alert, Severity
from models.base import across_companies
from models.clock import now
from models.disputes import (
    CLOSED_DISPUTE,
    NEEDING_RESPONSE,
    Dispute,
    DisputeAction,
    DisputeActionKind,
    DisputeActionStatus,
)
from models.notifications import owe_notice
from models.outbox import Owed, OwedStatus, enqueue
from models.timeline import Cause, note
from models.transactions import Transaction, lock_existing
from models.webhooks import PaymentWebhook, WebhookStatus
from tasks.dispute_states import adopt, apply, book, locked
from tasks.handover import OUR_ACCESS, patiently
from worker import crash, replies
from worker.alerts import alert, resolve
from worker.app import Debt, calling_task, periodic
from worker.database import in_transaction, transaction
from worker.gateways import disputes_at
from worker.gateways.base import (
    DisputeAnswer,
    DisputeGateway,
    GatewayError,
    OutcomeUnknown,
    Rejected,
    Unavailable,
)
from worker.settings import settings

# How long before the evidence is due somebody is told.
WARN_BEFORE = timedelta(days=3)
DUE_SOON = "dispute_due_soon"
# Waits between tries of what had no answer grow by this, up to an hour.
GROWTH = 5
LONGEST = timedelta(hours=1)


def hear(session: Session, payment: Transaction, answer: DisputeAnswer, *, cause: Cause) -> None:
    """Act on what an event tells of a dispute of a locked payment.

    Money that moved has moved, and what is final is final. Other states may be older than what is
    known: then the provider is asked.
    """
    dispute = locked(session, payment, answer.provider_id)
    if dispute is None:
        adopt(session, payment, answer, cause=cause)
        return
    book(session, payment, dispute, answer, cause=cause)
    if answer.state in CLOSED_DISPUTE:
        apply(session, payment, dispute, answer, cause=cause)
    elif answer.state != dispute.status or dispute.evidence_due_at != answer.evidence_due_at:
        _owe_refresh(session, dispute, cause)


def _owe_refresh(session: Session, dispute: Dispute, cause: Cause) -> None:
    enqueue(
        session,
        "disputes.refresh",
        dispute_id=dispute.id,
        why=cause.why,
        event_id=cause.event_id,
    )


def _dispute_to_fetch(
    session: Session, debt: Debt, *, dispute_id: str, **_of: object
) -> Dispute | None:
    dispute = session.get_one(Dispute, UUID(dispute_id))
    if debt.waits_for(session, dispute.provider):
        return None
    return dispute


@calling_task("disputes.refresh", claim=_dispute_to_fetch)
def refresh(debt: Debt, dispute: Dispute) -> None:
    """Fetch the dispute and believe it. Safe twice: applying the same state changes nothing."""
    with patiently():
        answer = disputes_at(dispute.provider).retrieve_dispute(dispute.provider_dispute_id)
    in_transaction(_record_fetched, debt.company_id, debt, dispute, answer)


def _record_fetched(session: Session, debt: Debt, seen: Dispute, answer: DisputeAnswer) -> None:
    debt.end(session)
    cause = replace(debt.cause(debt.arguments["why"]), event_id=debt.arguments.get("event_id"))
    payment = lock_existing(session, seen.transaction_id)
    dispute = locks.lock_existing(session, Dispute, seen.id)
    _believe(session, payment, dispute, answer, seen_version=seen.version, cause=cause)


def _believe(
    session: Session,
    payment: Transaction,
    dispute: Dispute,
    answer: DisputeAnswer,
    *,
    seen_version: int,
    cause: Cause,
) -> None:
    """Apply an answer, unless something else was recorded since it was asked for."""
    if dispute.version == seen_version or answer.state in CLOSED_DISPUTE:
        apply(session, payment, dispute, answer, cause=cause)
        return
    book(session, payment, dispute, answer, cause=cause)
    _owe_refresh(session, dispute, cause)


@dataclass(frozen=True)
class Stray:
    """A dispute of an intent that is in no row of ours, yet."""

    provider: str
    dispute_id: str
    intent_id: str


def _stray(
    session: Session, debt: Debt, *, provider: str, dispute_id: str, intent_id: str, **_of: object
) -> Stray | None:
    return None if debt.waits_for(session, provider) else Stray(provider, dispute_id, intent_id)


@calling_task("disputes.trace", claim=_stray)
def trace(debt: Debt, stray: Stray) -> None:
    """Find whose a dispute is by our ids in the intent. Safe twice: what is kept is kept once.

    A charge whose answer was lost can be disputed before it is looked up.
    """
    try:
        with patiently():
            gateway = disputes_at(stray.provider)
            about = gateway.retrieve(stray.intent_id).metadata
        company_id, payment_id = UUID(about["company_id"]), UUID(about["transaction_id"])
    except (Rejected, KeyError, ValueError) as error:
        if isinstance(error, Rejected) and error.http_status in OUR_ACCESS:
            raise
        in_transaction(debt.end, debt.company_id)  # it is somebody else's
        return
    with patiently():
        answer = gateway.retrieve_dispute(stray.dispute_id)
    in_transaction(_record_traced, company_id, debt, payment_id, answer)


def _record_traced(session: Session, debt: Debt, payment_id: UUID, answer: DisputeAnswer) -> None:
    debt.end(session)
    said = debt.arguments
    event = _lock_ignored(session, said["provider"], said.get("event_id"))
    payment = lock_existing(session, payment_id)
    cause = replace(debt.cause("found by its intent"), event_id=said.get("event_id"))
    if event is not None:
        event.status = WebhookStatus.COMPLETED
        event.company_id, event.transaction_id = payment.company_id, payment.id
        event.handled_at = now()
        note(session, payment, what="event", because=cause)
    hear(session, payment, answer, cause=cause)


def _lock_ignored(session: Session, provider: str, event_id: str | None) -> PaymentWebhook | None:
    """Return the event that asked for a trace, locked, unless it was handled meanwhile."""
    return session.scalars(
        select(PaymentWebhook)
        .where(
            PaymentWebhook.provider == provider,
            # Our own: nobody can ask for the intent of an event of a connected account's.
            PaymentWebhook.account == "",
            PaymentWebhook.provider_event_id == event_id,
            PaymentWebhook.status == WebhookStatus.IGNORED,
        )
        .with_for_update()
    ).one_or_none()


@dataclass(frozen=True)
class Claim:
    """Something to tell the provider about a dispute, which this task alone tells now."""

    action: DisputeAction
    dispute: Dispute
    version: int
    # Called before: whether it came must be looked at first.
    called_before: bool
    is_key_alive: bool


def _claim(session: Session, debt: Debt, *, action_id: str, **_then: object) -> Claim | None:
    moment = now()
    action = session.get_one(DisputeAction, UUID(action_id))
    dispute = locks.lock_existing(session, Dispute, action.dispute_id)
    session.refresh(action)
    if action.status != DisputeActionStatus.PENDING:
        debt.end(session)
        return None
    if debt.waits_for(session, dispute.provider):
        return None
    with patiently():
        key_life = timedelta(seconds=disputes_at(dispute.provider).key_life_s)
    called_before = action.first_called_at is not None
    action.first_called_at = action.first_called_at or moment
    return Claim(
        action=action,
        dispute=dispute,
        version=dispute.version,
        called_before=called_before,
        is_key_alive=moment < action.first_called_at + key_life,
    )


def _fail_when_dead(session: Session, owed: Owed, error: str) -> None:
    """When it has failed for the last time for a reason of ours, it stands in the way no more."""
    if owed.status is not OwedStatus.DEAD:
        return
    action = session.get_one(DisputeAction, UUID(owed.arguments["action_id"]))
    dispute = locks.lock_existing(session, Dispute, action.dispute_id)
    session.refresh(action)
    if action.status == DisputeActionStatus.PENDING:
        cause = Cause(why="gave up", request_id=owed.request_id, task_id=owed.id)
        _fail(session, dispute, action, f"It was given up: {error}", cause=cause)


@calling_task("disputes.send", claim=_claim, on_failure=_fail_when_dead)
def send(debt: Debt, claim: Claim) -> None:
    """Tell the provider. Safe twice: a second run finds it told, or looks whether it came."""
    crash.point("dispute.claimed")
    outcome = _call(claim)
    crash.point("dispute.called")
    in_transaction(_record, debt.company_id, debt, claim, outcome)
    replies.tell(claim.action.id, {"action_id": str(claim.action.id)}, key=debt.reply)


def _call(claim: Claim) -> DisputeAnswer | GatewayError | None:
    """Return the answer; None if it did not come and its key is no longer known."""
    gateway = disputes_at(claim.dispute.provider)
    try:
        if claim.called_before:
            seen = gateway.retrieve_dispute(claim.dispute.provider_dispute_id)
            if _is_done(claim, seen):
                return seen
            if not claim.is_key_alive:
                return None
        return _tell(gateway, claim)
    except GatewayError as error:
        return error


def _is_done(claim: Claim, seen: DisputeAnswer) -> bool:
    if claim.action.kind == DisputeActionKind.ACCEPT:
        return seen.state in CLOSED_DISPUTE
    return seen.metadata.get("dispute_action_id") == str(claim.action.id)


def _tell(gateway: DisputeGateway, claim: Claim) -> DisputeAnswer:
    key = f"dispute-action-{claim.action.id}"
    provider_id = claim.dispute.provider_dispute_id
    if claim.action.kind == DisputeActionKind.ACCEPT:
        return gateway.accept_dispute(key=key, provider_id=provider_id)
    asked = claim.action.request
    return gateway.submit_evidence(
        key=key,
        provider_id=provider_id,
        evidence=asked["evidence"],
        submit=asked["submit"],
        action_id=str(claim.action.id),
    )


def _record(
    session: Session, debt: Debt, claim: Claim, outcome: DisputeAnswer | GatewayError | None
) -> None:
    payment = lock_existing(session, claim.dispute.transaction_id)
    dispute = locks.lock_existing(session, Dispute, claim.dispute.id)
    action = session.get_one(DisputeAction, claim.action.id)
    debt.end(session)
    if action.status != DisputeActionStatus.PENDING:
        return
    if isinstance(outcome, GatewayError) and _may_yet_be(outcome):
        _try_again(session, debt, action, outcome)
        return
    cause = replace(
        debt.cause(f"{action.kind} told to the provider"),
        provider_request_id=outcome.provider_request_id or None if outcome else None,
    )
    if isinstance(outcome, DisputeAnswer):
        action.status = DisputeActionStatus.SENT
        action.error_message = None
        action.provider_request_id = outcome.provider_request_id or None
        note(session, dispute, what=str(action.kind), because=cause)
        _believe(session, payment, dispute, outcome, seen_version=claim.version, cause=cause)
        return
    why = outcome.message if outcome else "It did not reach the provider within a day."
    _fail(session, dispute, action, why, cause=cause)


def _may_yet_be(outcome: GatewayError) -> bool:
    """Whether it may have been done, or may yet be; a refusal of our access says neither."""
    return isinstance(outcome, Unavailable | OutcomeUnknown) or outcome.http_status in OUR_ACCESS


def _try_again(session: Session, debt: Debt, action: DisputeAction, error: GatewayError) -> None:
    """Owe it again: with the same key, or looked up once it may have been executed."""
    action.error_message = str(error)
    tries: int = debt.arguments.get("tries", 0)
    wait = min(timedelta(seconds=settings().resolve_after_s) * GROWTH**tries, LONGEST)
    enqueue(session, "disputes.send", action_id=action.id, tries=tries + 1, due_at=now() + wait)


def _fail(
    session: Session, dispute: Dispute, action: DisputeAction, why: str, *, cause: Cause
) -> None:
    action.status = DisputeActionStatus.FAILED
    action.error_message = why
    note(session, dispute, what=f"{action.kind}_refused", because=cause.but(why))
    alert(
        session,
        "dispute_action_failed",
        severity=Severity.CRITICAL,
        subject=dispute,
        message=f"The provider did not take our {action.kind} for a dispute: {why}",
    )
    # It may have refused because the dispute has gone on without us.
    _owe_refresh(session, dispute, cause)


@periodic("disputes.remind")
def remind() -> None:
    """Tell that evidence is due soon, and end that once its day is past.

    Safe in any number of copies: each row says that it told.
    """
    moment = now()
    ids = select(Dispute.id, Dispute.company_id)
    due = ids.where(
        Dispute.status.in_(NEEDING_RESPONSE),
        Dispute.evidence_due_at > moment,
        Dispute.evidence_due_at <= moment + WARN_BEFORE,
        Dispute.due_told_at.is_(None),
    )
    past = ids.join(Alert, Alert.subject_id == Dispute.id).where(
        Alert.open_key.startswith(f"{DUE_SOON}:", autoescape=True),
        Dispute.evidence_due_at <= moment,
    )
    for found, act in ((past, _end_reminder), (due, _remind)):
        with transaction() as session:
            query = across_companies(found.limit(500), because="any company's may be due")
            rows = session.execute(query).all()
        for dispute_id, company_id in rows:
            in_transaction(act, company_id, dispute_id, moment)


def _end_reminder(session: Session, dispute_id: UUID, moment: datetime) -> None:
    due_at = locks.lock_existing(session, Dispute, dispute_id).evidence_due_at
    if due_at is not None and due_at <= moment:
        why = f"The evidence was due at {due_at:%Y-%m-%d %H:%M} UTC: its day is past."
        resolve(session, f"{DUE_SOON}:{dispute_id}", why=why)


def _remind(session: Session, dispute_id: UUID, moment: datetime) -> None:
    dispute = locks.lock_existing(session, Dispute, dispute_id)
    due_at = dispute.evidence_due_at
    is_told = dispute.due_told_at is not None
    if is_told or due_at is None or dispute.status not in NEEDING_RESPONSE:
        return
    if not moment < due_at <= moment + WARN_BEFORE:
        return
    dispute.due_told_at = now()
    note(session, dispute, what="due_soon", because=Cause(why=f"evidence is due at {due_at}"))
    alert(
        session,
        DUE_SOON,
        severity=Severity.CRITICAL,
        subject=dispute,
        message=f"Evidence for a dispute of {dispute.money} is due at {due_at:%Y-%m-%d %H:%M} UTC.",
    )
    owe_notice(session, "dispute_due_soon", dispute, evidence_due_at=due_at.isoformat())
