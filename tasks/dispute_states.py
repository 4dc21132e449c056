"""What a dispute's state and its movements of money do to our rows.

The events, look-ups and answers of calls all end here, in any order and any number of times.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import ledger, locks
from models.alerts import Severity
from models.clock import now
from models.disputes import (
    CLOSED_DISPUTE,
    OPEN_DISPUTE,
    Dispute,
    DisputeStatus,
    has_open_dispute,
)
from models.ledger import Account
from models.money import Money
from models.notifications import owe_notice
from models.timeline import Cause, note
from models.tracking import track
from models.transactions import Transaction
from worker.alerts import alert, resolve
from worker.gateways.base import DisputeAnswer, Movement
from worker.tally import tally


def locked(session: Session, payment: Transaction, provider_id: str) -> Dispute | None:
    """Return our row of a provider's dispute, locked; its payment is locked already."""
    query = select(Dispute.id).where(
        Dispute.provider == payment.payment_method, Dispute.provider_dispute_id == provider_id
    )
    found = session.scalar(query)
    return locks.lock(session, Dispute, found) if found else None


def adopt(
    session: Session, payment: Transaction, answer: DisputeAnswer, *, cause: Cause
) -> Dispute:
    """Keep a dispute that is heard of for the first time."""
    dispute = Dispute(
        company_id=payment.company_id,
        transaction_id=payment.id,
        provider=payment.payment_method,
        provider_dispute_id=answer.provider_id,
        amount=answer.money.amount,
        currency=answer.money.currency,
        reason=answer.reason[:100],
        status=answer.state or DisputeStatus.NEEDS_RESPONSE,
    )
    session.add(dispute)
    session.flush()
    note(session, dispute, what="opened", because=cause.but(f"{answer.reason}: {answer.money}"))
    tally(session, "disputes.opened", provider=dispute.provider)
    track(session, "dispute.opened", dispute, money=answer.money)
    _track_end(session, dispute)
    if dispute.status in OPEN_DISPUTE:
        _tell_opened(session, payment, dispute, answer)
    else:
        _tell_closed(session, dispute)
    apply(session, payment, dispute, answer, cause=cause)
    return dispute


def apply(
    session: Session,
    payment: Transaction,
    dispute: Dispute,
    answer: DisputeAnswer,
    *,
    cause: Cause,
) -> None:
    """Bring a locked dispute and its locked payment to what the provider says."""
    book(session, payment, dispute, answer, cause=cause)
    dispute.amount = answer.money.amount
    dispute.reason = answer.reason[:100]
    if answer.evidence_due_at != dispute.evidence_due_at:
        dispute.evidence_due_at, dispute.due_told_at = answer.evidence_due_at, None
    dispute.is_refundable = answer.is_refundable
    dispute.evidence = dict(answer.evidence) or None
    if answer.submissions and dispute.evidence_submitted_at is None:
        dispute.evidence_submitted_at = now()
    _move(session, payment, dispute, answer, cause)
    if dispute.status in CLOSED_DISPUTE:
        dispute.closed_at = dispute.closed_at or now()
    session.flush()
    payment.is_disputed = has_open_dispute(session, payment.id)


def _move(
    session: Session,
    payment: Transaction,
    dispute: Dispute,
    answer: DisputeAnswer,
    cause: Cause,
) -> None:
    if answer.state is None:
        told = cause.but("the provider has a status for it that is new to us")
        note(session, dispute, what="new_status", because=told)
        return
    if answer.state == dispute.status or not dispute.can_move_to(answer.state):
        return
    was_closed = dispute.status in CLOSED_DISPUTE
    dispute.move_to(answer.state, because=cause.but(f"the provider says {answer.state}"))
    _track_end(session, dispute)
    if answer.state in CLOSED_DISPUTE:
        _tell_closed(session, dispute)
    elif was_closed:
        dispute.closed_at = None
        _tell_opened(session, payment, dispute, answer)


def _track_end(session: Session, dispute: Dispute) -> None:
    if dispute.status in (DisputeStatus.WON, DisputeStatus.LOST):
        track(session, f"dispute.{dispute.status}", dispute, money=dispute.money)


def book(
    session: Session,
    payment: Transaction,
    dispute: Dispute,
    answer: DisputeAnswer,
    *,
    cause: Cause,
) -> None:
    """Post what the bank has taken and given back, and the provider's fees, each once."""
    for movement in answer.movements:
        if not _post(session, payment, dispute, movement, Account.DISPUTES):
            continue
        money = movement.money
        if money.amount < 0:
            dispute.amount_withdrawn -= money.amount
        else:
            dispute.amount_reinstated += money.amount
        what = "funds_withdrawn" if money.amount < 0 else "funds_reinstated"
        _tell_moved(session, dispute, movement, what, cause.but(f"the bank {_moved(money)}"))
    for fee in answer.fees:
        if _post(session, payment, dispute, fee, Account.FEES):
            because = cause.but(f"the provider {_moved(fee.money)} as its fee")
            _tell_moved(session, dispute, fee, "fee", because)


def _post(
    session: Session, payment: Transaction, dispute: Dispute, movement: Movement, account: Account
) -> bool:
    """Post a movement between what the provider holds and `account`; False if it is posted."""
    kind = "dispute-fee" if account is Account.FEES else "dispute"
    posting = f"{kind}:{dispute.id}:{movement.provider_id}"
    if ledger.is_posted(session, posting):
        return False
    is_taken = movement.money.amount < 0
    ledger.post(
        session,
        posting,
        company_id=payment.company_id,
        debit=account if is_taken else Account.CLEARING,
        credit=Account.CLEARING if is_taken else account,
        money=Money(abs(movement.money.amount), movement.money.currency),
        invoice_id=payment.invoice_id,
        transaction_id=payment.id,
        dispute_id=dispute.id,
    )
    return True


def _moved(money: Money) -> str:
    done = "took" if money.amount < 0 else "gave back"
    return f"{done} {Money(abs(money.amount), money.currency)}"


def _tell_moved(
    session: Session, dispute: Dispute, movement: Movement, what: str, because: Cause
) -> None:
    note(session, dispute, what=what, because=because, detail={"movement": movement.provider_id})
    session.flush()


def _tell_opened(
    session: Session, payment: Transaction, dispute: Dispute, answer: DisputeAnswer
) -> None:
    due_at = answer.evidence_due_at
    by = f" Evidence is due at {due_at:%Y-%m-%d %H:%M} UTC." if due_at else ""
    alert(
        session,
        "dispute_opened",
        severity=Severity.CRITICAL,
        subject=dispute,
        message=f"{answer.money} of a payment of {payment.money} are disputed: "
        f"{answer.reason}.{by}",
    )
    owe_notice(
        session,
        "dispute_opened",
        dispute,
        # Another one where an inquiry that was closed has become a dispute.
        number=int(not dispute.status.startswith("warning_")),
        transaction_id=str(payment.id),
        amount=str(answer.money.amount),
        currency=answer.money.currency,
        reason=answer.reason,
        evidence_due_at=due_at.isoformat() if due_at else None,
    )


def _tell_closed(session: Session, dispute: Dispute) -> None:
    tally(session, "disputes.closed", provider=dispute.provider, outcome=str(dispute.status))
    told = f"A dispute of {dispute.money} has been closed: {dispute.status}."
    for kind in ("dispute_opened", "dispute_due_soon", "dispute_action_failed"):
        resolve(session, f"{kind}:{dispute.id}", why=told)
    is_lost = dispute.status == DisputeStatus.LOST
    alert(
        session,
        "dispute_closed",
        severity=Severity.WARNING if is_lost else Severity.INFO,
        subject=dispute,
        message=told,
    )
