"""Dunning: what is being done about a declined payment, and how it is begun again.

What was decided after each decline is a line of the payment's timeline, `what` being `DECIDED`;
the columns of the transaction hold what is to come.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from models import cards, locks
from models.following import owe_follow
from models.invoices import Invoice, InvoiceStatus
from models.methods import PaymentMethod, default_method
from models.outbox import enqueue
from models.policies import policy_of
from models.timeline import Cause, note
from models.tracking import track
from models.transactions import (
    Dunning,
    PaymentAttempt,
    Provider,
    Status,
    Transaction,
    Trigger,
    open_of_invoice,
)
from schedules.declines import CONFIRMABLE, Advice, CustomerAction
from schedules.ladder import RETRIES, SENTENCES, Decision, Reason, Standing, Step, spent

DECIDED = "dunning"
CLEARED = "cleared"
# The alert of a decline about which nothing is done before a person has looked.
DECLINE_IN_REVIEW = "decline_in_review"
# In these nothing is under way, and a new card may change everything.
WAITING_FOR_A_CARD = (Dunning.STOPPED, Dunning.ASKED, Dunning.EXHAUSTED)
# Nothing more is tried by itself.
GIVEN_UP = (Step.STOPPED, Step.EXHAUSTED)
NIL = UUID(int=0)  # nobody's id
# PayPal's: from an order's making until its payer must be on the page. An account may have longer.
ORDER_LIFE = timedelta(hours=3)


class MethodGone(Exception):
    """Whoever was about to charge a method must choose anew: it has just been removed."""


def attempts_of(session: Session, invoice_id: UUID) -> list[PaymentAttempt]:
    """Return the attempts of all payments of an invoice, oldest first."""
    return list(
        session.scalars(
            select(PaymentAttempt)
            .join(Transaction, Transaction.id == PaymentAttempt.transaction_id)
            .where(Transaction.invoice_id == invoice_id)
            .order_by(PaymentAttempt.id)
        )
    )


def standing_of(
    attempts: Sequence[PaymentAttempt],
    declines: cards.Declines,
    *,
    card: str,
    advice: Advice,
    declined_at: datetime,
    kept: datetime | None = None,
) -> Standing:
    """Return where an invoice stands with a card.

    Args:
        attempts: those of the invoice; only the card's count.
        kept: the date that stands, if the decline was of a retry by hand.
    """
    tried = [attempt for attempt in attempts if attempt.fingerprint == card]
    climbed = [
        before.advice
        for before, attempt in zip([None, *tried], tried, strict=False)
        if before is not None and attempt.trigger is Trigger.LADDER
    ]
    return Standing(
        advice=advice,
        declined_at=declined_at,
        retries=sum(attempt.trigger is Trigger.LADDER for attempt in tried),
        retries_on_advice=climbed.count(str(advice)),
        card_declines=declines.number,
        not_before=declines.not_before,
        kept=kept,
    )


def advice_to_climb(attempts: Sequence[PaymentAttempt], card: str) -> Advice:
    """Return which kind of decline a retry of this card would follow."""
    last = next((each for each in reversed(attempts) if each.fingerprint == card), None)
    told = Advice(last.advice) if last is not None and last.advice else Advice.RETRY
    return told if told in RETRIES else Advice.RETRY


def against(
    session: Session,
    attempts: Sequence[PaymentAttempt],
    declines: cards.Declines,
    card: str,
    *,
    moment: datetime,
) -> Decision | None:
    """Return what ends the ladder at a retry: much may have happened since its date was set."""
    if declines.is_refused:
        return Decision(step=Step.STOPPED, reason=Reason.HARD_DECLINE)
    advice = advice_to_climb(attempts, card)
    standing = standing_of(attempts, declines, card=card, advice=advice, declined_at=moment)
    reason = spent(standing, policy_of(session))
    return Decision(step=Step.EXHAUSTED, reason=reason) if reason else None


def keep(
    session: Session,
    payment: Transaction,
    decision: Decision,
    *,
    because: Cause,
    action: CustomerAction = CustomerAction.NONE,
) -> None:
    """Write down what was decided for a locked payment."""
    payment.dunning = Dunning(decision.step)
    payment.next_retry_at = decision.retry_at
    if decision.step in GIVEN_UP:
        track(session, "payment.failed", payment, money=payment.money)
    owe_follow(session, session.get_one(Invoice, payment.invoice_id).subscription_id)
    note(
        session,
        payment,
        what=DECIDED,
        because=because.but(SENTENCES[decision.reason]),
        detail={
            "state": str(decision.step),
            "reason": str(decision.reason),
            "retry_at": decision.retry_at.isoformat() if decision.retry_at else None,
            "action": str(action),
        },
    )


def clear(session: Session, payment: Transaction, *, because: Cause) -> bool:
    """End the dunning of a locked payment; False if there is none."""
    payment.next_retry_at = None
    if payment.dunning in (Dunning.NONE, Dunning.CLEARED):
        return False
    payment.dunning = Dunning.CLEARED
    detail = {
        "state": CLEARED,
        "reason": CLEARED,
        "retry_at": None,
        "action": str(CustomerAction.NONE),
    }
    note(session, payment, what=DECIDED, because=because, detail=detail)
    return True


def clear_schedules(
    session: Session, invoice_id: UUID, *, because: Cause, but: UUID | None = None
) -> None:
    """Take away what is scheduled for an invoice, as it is paid by hand or nothing is due any more.

    Also that a customer is asked to go on in the browser: that intent is closed for the new one.
    To be called before the invoice is locked: payments are locked before their invoices.

    Args:
        but: the payment that is itself what is done by hand.
    """
    is_in_browser = and_(
        Transaction.dunning == Dunning.ASKED, Transaction.payment_method_id.is_(None)
    )
    given_up = select(Transaction.id).where(
        Transaction.invoice_id == invoice_id,
        or_(Transaction.dunning == Dunning.SCHEDULED, is_in_browser),
        Transaction.id != (but or NIL),
    )
    for payment_id in sorted(session.scalars(given_up)):
        payment = locks.lock_existing(session, Transaction, payment_id)
        is_waiting = payment.dunning in (Dunning.SCHEDULED, Dunning.ASKED)
        if is_waiting and payment.status == Status.FAILED:
            clear(session, payment, because=because)


def in_the_way(invoice: Invoice) -> str | None:
    """Return why nothing of an invoice may be charged, or None."""
    if invoice.status != InvoiceStatus.OPEN:
        return f"the invoice is {invoice.status}"
    if invoice.due.amount <= 0:
        return "nothing is due any more"
    return None


@dataclass(frozen=True)
class Resuming:
    """Whether the customer can go on with a payment in the browser, as far as our rows know.

    Only the provider knows whether what it keeps of it is still alive.
    """

    why_not: str | None
    # When it is given up, or the provider may have forgotten it; None for no such date.
    until: datetime | None = None


def resuming(
    session: Session, payment: Transaction, invoice: Invoice, *, abandon_after: timedelta
) -> Resuming:
    """Return whether the same intent can be paid in the browser."""
    why_not = _why_not_resumed(payment) or _why_not_due(payment, invoice)
    if why_not is None and payment.status == Status.FAILED:
        other = open_of_invoice(session, invoice.id)
        why_not = f"The invoice has another payment under way: {other}." if other else None
    if why_not is not None:
        return Resuming(why_not)
    ends = []
    if payment.status == Status.REQUIRES_ACTION:
        ends.append(payment.updated_at + abandon_after)
    if payment.payment_method == Provider.PAYPAL:
        order = payment.provider_transaction_id
        made = [each.first_called_at for each in payment.attempts if each.provider_id == order]
        ends += [at + ORDER_LIFE for at in made[:1] if at is not None]
    return Resuming(None, until=min(ends, default=None))


def _why_not_resumed(payment: Transaction) -> str | None:
    last = payment.attempts[-1] if payment.attempts else None
    if payment.status == Status.REQUIRES_ACTION:
        return None if payment.provider_transaction_id else "The provider has nothing of it yet."
    if payment.status != Status.FAILED or last is None or not _is_customers(last):
        return "The payment does not wait for the customer to confirm it."
    if payment.dunning == Dunning.IN_REVIEW:
        return "A person looks into its decline first."
    is_refused = last.provider == Provider.PAYPAL and last.advice == Advice.STOP
    if payment.provider_transaction_id is None or is_refused:
        return "It cannot be paid at the provider any more: begin a new payment."
    return None


def _is_customers(attempt: PaymentAttempt) -> bool:
    """Whether a declined attempt is the customer's to try again, in the browser."""
    codes = {(code or "").lower() for code in (attempt.decline_code, attempt.error_code)}
    return attempt.request.get("method") is None or not CONFIRMABLE.isdisjoint(codes)


def _why_not_due(payment: Transaction, invoice: Invoice) -> str | None:
    if reason := in_the_way(invoice):
        return f"Nothing can be paid: {reason}."
    if payment.amount > invoice.due.amount:
        return f"Only {invoice.due} of it are still due: begin a new payment."
    return None


def is_disputed(session: Session, invoice_id: UUID) -> bool:
    """Whether a payment of the invoice is disputed: no more is charged until that has ended."""
    disputed = select(Transaction.id).where(
        Transaction.invoice_id == invoice_id, Transaction.is_disputed
    )
    return session.scalar(disputed.limit(1)) is not None


def is_overtaken(session: Session, payment: Transaction) -> bool:
    """Whether a later payment of the invoice is scheduled too; the later one climbs."""
    later = select(Transaction.id).where(
        Transaction.invoice_id == payment.invoice_id,
        Transaction.id > payment.id,
        Transaction.dunning == Dunning.SCHEDULED,
    )
    return session.scalar(later.limit(1)) is not None


def method_for(session: Session, payment: Transaction, *, moment: datetime) -> PaymentMethod | None:
    """Return what a payment is charged with now; None if the customer must give another one.

    Its own method, or what has replaced that; the company's default where its own is gone or has
    ended. A payment stays with its provider.
    """
    method = latest(session, payment.payment_method_id)
    if method is not None and method.is_active and not method.has_expired(moment):
        return method
    default = default_method(session)
    if default is not None and default.provider == payment.payment_method:
        return default
    # Banks often renew a card without a word, so one that has ended is tried all the same.
    return method if method is not None and method.is_active else None


def is_for(session: Session, payment: Transaction, method: PaymentMethod) -> bool:
    """Whether a new card may be charged for a payment: any as the default, else in its own place.

    Who replaces or renews a card that is not the default has not said that it may pay the rest.
    """
    own = None if method.is_default else latest(session, payment.payment_method_id)
    return method.is_default or (own is not None and own.id == method.id)


def latest(session: Session, method_id: UUID | None) -> PaymentMethod | None:
    """Follow the replacements of a method to the one that is in use."""
    method = session.get(PaymentMethod, method_id) if method_id else None
    seen = set()
    while method is not None and method.replaced_by_id and method.id not in seen:
        seen.add(method.id)
        method = session.get(PaymentMethod, method.replaced_by_id)
    return method


def begin_again(  # noqa: PLR0913  what a charge is owed with
    session: Session,
    payment: Transaction,
    invoice: Invoice,
    method: PaymentMethod,
    *,
    trigger: Trigger,
    off_session: bool,
    because: Cause,
    reply: str | None = None,
) -> None:
    """Owe another attempt of a locked payment that has failed, of no more than what is due.

    Args:
        reply: the key on which somebody waits for the answer.

    Raises:
        MethodGone: the method has just been removed; from here on it is held until the commit.
    """
    held = {"read": True}
    if not session.get_one(
        PaymentMethod, method.id, with_for_update=held, populate_existing=True
    ).is_active:
        raise MethodGone(f"payment method {method.id} has just been removed")
    if payment.amount > invoice.due.amount:
        told = because.but(f"only {invoice.due} of {payment.money} are still due")
        note(session, payment, what="reduced", because=told)
        payment.amount = invoice.due.amount
    payment.payment_method_id = method.id
    payment.move_to(Status.PROCESSING, because=because)
    enqueue(
        session,
        "payments.charge",
        transaction_id=payment.id,
        trigger=str(trigger),
        off_session=off_session,
        reply=reply,
    )


def owe_restart(session: Session, method: PaymentMethod) -> None:
    """Owe another try, with a new card, of what was stopped for want of one."""
    enqueue(session, "ladder.restart", company_id=method.company_id, method_id=method.id)
