"""What a decline leads to: the next step of the ladder, a question, a stop; and who is told.

`schedules.ladder` decides; here the rows are asked and the decision is written down. Called by
`tasks.settlement`, the one place where payments fail and succeed, with the payment locked.
"""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from sqlalchemy.orm import Session, object_session

from models import cards, dunning
from models.alerts import Severity
from models.clock import now
from models.methods import PaymentMethod
from models.money import Money
from models.notifications import owe_notice
from models.outbox import enqueue
from models.policies import policy_of
from models.timeline import Cause, last_line, note
from models.tracking import track
from models.transactions import AttemptStatus, Dunning, PaymentAttempt, Transaction, Trigger
from schedules.declines import Advice, CustomerAction, action_for, told_code
from schedules.ladder import Decision, Reason, Step, decide, decide_in_browser
from worker.alerts import alert, resolve
from worker.gateways.base import Declined, GatewayError, Rejected, Unavailable

# Codes of our own refusals, which no provider has heard of.
CARD_SPENT = "card_attempts_exhausted"
EARLIER_SUCCEEDED = "earlier_payment_succeeded"
EARLIER_UNDER_WAY = "earlier_payment_under_way"
# A person has said that it failed, and goes on with it by hand.
SETTLED_BY_HAND = "settled_by_hand"
# How long a retry waits for another payment of its invoice before it looks again.
WAIT_FOR_ANOTHER = timedelta(hours=1)
POSTPONED = "postponed"
# In place of a step or a code, where there is none.
OTHER = "other"
_ANSWERS = {
    AttemptStatus.SUCCEEDED: "payment.attempted",
    AttemptStatus.DECLINED: "payment.attempted",
    AttemptStatus.REJECTED: "error.rejected",
}
# Said by a gateway of ours where it could not even ask.
NOT_TAKEN = "currency_not_supported"


def follow(
    session: Session,
    payment: Transaction,
    attempt: PaymentAttempt | None,
    error: GatewayError,
    *,
    cause: Cause,
) -> None:
    """Decide what becomes of a locked payment that has just failed, and tell its company."""
    if isinstance(error, Rejected) and error.code in (EARLIER_SUCCEEDED, EARLIER_UNDER_WAY):
        wait_for_another(session, payment, cause=cause)
        return
    was = payment.dunning
    if isinstance(error, Rejected) and error.code == SETTLED_BY_HAND:
        dunning.clear(session, payment, because=cause)
        end_review(session, payment, was, why="The payment was settled by hand.")
        return
    # What was set on the attempt is counted by queries.
    session.flush()
    decision, action = _decide(session, payment, attempt, error)
    dunning.keep(session, payment, decision, because=cause, action=action)
    if decision.reason is not Reason.IN_BROWSER:  # they were told there
        _tell(session, payment, attempt, _Told(decision, action))
    if decision.step is not Step.IN_REVIEW:
        end_review(session, payment, was, why="It was tried again, and declined otherwise.")
    if decision.reason is Reason.POSSIBLE_DUPLICATE:
        _look_up_all(session, payment)


def wait_for_another(session: Session, payment: Transaction, *, cause: Cause) -> None:
    """Put a retry off, as another payment of the invoice is under way or has just ended."""
    if payment.dunning != Dunning.SCHEDULED:
        return
    payment.next_retry_at = now() + WAIT_FOR_ANOTHER
    # A dispute lasts for weeks: the first of many waits in a row is told.
    if last_line(session, payment.id) != POSTPONED:
        note(session, payment, what=POSTPONED, because=cause)


def _decide(
    session: Session, payment: Transaction, attempt: PaymentAttempt | None, error: GatewayError
) -> tuple[Decision, CustomerAction]:
    advice = _advice_of(error)
    if advice is None:
        spent = error.code == CARD_SPENT
        if spent:
            decision = Decision(step=Step.EXHAUSTED, reason=Reason.CARD_SPENT)
            return decision, CustomerAction.USE_ANOTHER_METHOD
        return Decision(step=Step.IN_REVIEW, reason=Reason.REFUSED_REQUEST), CustomerAction.NONE
    code = getattr(error, "decline_code", "") or error.code
    if payment.payment_method_id is None:
        decision, action = decide_in_browser(advice), action_for(advice, code)
        is_asked = decision.step is Step.ASKED and action is CustomerAction.NONE
        return decision, CustomerAction.PAY_IN_BROWSER if is_asked else action
    method = session.get_one(PaymentMethod, payment.payment_method_id)
    card = (attempt.fingerprint if attempt else None) or cards.card_of(method)
    attempts = dunning.attempts_of(session, payment.invoice_id)
    moment = now()
    is_same_card = any(each.fingerprint == card for each in attempts if each is not attempt)
    is_by_hand = attempt is not None and attempt.trigger is Trigger.MANUAL
    standing = dunning.standing_of(
        attempts,
        cards.declines_of(session, card, moment=moment),
        card=card,
        advice=advice,
        declined_at=(attempt.finished_at if attempt else None) or moment,
        kept=payment.next_retry_at if is_by_hand and is_same_card else None,
    )
    decision = decide(standing, policy_of(session))
    if decision.step is Step.EXHAUSTED:
        return decision, CustomerAction.USE_ANOTHER_METHOD
    return decision, action_for(advice, code)


def _advice_of(error: GatewayError) -> Advice | None:
    """Return what an error asks of us; None for a request that was refused as wrong."""
    if isinstance(error, Declined):
        return error.advice
    if isinstance(error, Rejected) and error.code == NOT_TAKEN:
        return Advice.ASK
    # Surely not executed, so no decline; but neither a reason to hammer on.
    return Advice.RETRY if isinstance(error, Unavailable) else None


class _Told(NamedTuple):
    decision: Decision
    action: CustomerAction


_TEMPLATES = {
    Step.SCHEDULED: "retry_scheduled",
    Step.ASKED: "payment_failed",
    Step.STOPPED: "payment_failed",
    Step.EXHAUSTED: "retries_exhausted",
    Step.IN_REVIEW: "payment_failed",
}


def _tell(
    session: Session, payment: Transaction, attempt: PaymentAttempt | None, told: _Told
) -> None:
    decision, action = told
    template = _TEMPLATES[decision.step]
    if decision.step is Step.ASKED and action is CustomerAction.UPDATE_CARD:
        template = "card_needs_update"
    retry_at = decision.retry_at
    owe_notice(
        session,
        template,
        payment,
        number=attempt.number if attempt else len(payment.attempts),
        invoice_id=str(payment.invoice_id),
        amount=f"{payment.amount:.2f}",
        currency=payment.currency,
        action=str(action),
        retry_at=retry_at.isoformat() if retry_at else None,
    )
    if decision.step is Step.IN_REVIEW:
        alert(
            session,
            dunning.DECLINE_IN_REVIEW,
            severity=Severity.WARNING,
            subject=payment,
            message=f"The payment {payment.id} was refused and is not tried again unseen. "
            "Look at its timeline; then retry it by hand, or have the invoice paid otherwise.",
        )


def _look_up_all(session: Session, payment: Transaction) -> None:
    """Have every intent of the invoice fetched: one of them may be what this is a duplicate of."""
    for attempt in dunning.attempts_of(session, payment.invoice_id):
        if attempt.provider_id is not None:
            enqueue(
                session,
                "lookups.refresh",
                transaction_id=attempt.transaction_id,
                intent_id=attempt.provider_id,
                why="another was declined as its duplicate",
            )


def recover(session: Session, payment: Transaction, *, cause: Cause) -> bool:
    """End the dunning of a locked payment that has been paid after all, and tell its company.

    Returns:
        Whether they are told: who hears that it was paid after all needs no receipt.
    """
    was = payment.dunning
    if not dunning.clear(session, payment, because=cause.but("paid")):
        return False
    end_review(session, payment, was, why="The payment has been paid.")
    if was == Dunning.ASKED and payment.payment_method_id is None:
        return False  # of its decline nobody was told either but who paid it now
    track(
        session,
        "payment.recovered",
        payment,
        money=Money(payment.amount_captured, payment.currency),
        dimension=_step_of(payment),
    )
    owe_notice(
        session,
        "payment_recovered",
        payment,
        number=len(payment.attempts),
        invoice_id=str(payment.invoice_id),
        amount=f"{payment.amount_captured:.2f}",
        currency=payment.currency,
    )
    return True


def _step_of(payment: Transaction) -> str:
    """Return the step of the ladder by which a payment was made; OTHER if by none."""
    last = payment.attempts[-1] if payment.attempts else None
    return str(payment.retry_count) if last and last.trigger is Trigger.LADDER else OTHER


def attempted(attempt: PaymentAttempt, outcome: AttemptStatus) -> None:
    """Track what a provider has answered to an attempt. What is canceled was not answered."""
    session = object_session(attempt)
    if session is None or outcome not in _ANSWERS:
        return
    code = told_code(attempt.decline_code or attempt.error_code or "")
    track(
        session,
        _ANSWERS[outcome],
        attempt,
        number=str(outcome),
        dimension="" if outcome is AttemptStatus.SUCCEEDED else code or OTHER,
    )


def end_review(session: Session, payment: Transaction, was: Dunning, *, why: str) -> None:
    """Close the alert of a payment whose decline was in review and is not any more."""
    if was == Dunning.IN_REVIEW:
        resolve(session, f"{dunning.DECLINE_IN_REVIEW}:{payment.id}", why=why)
