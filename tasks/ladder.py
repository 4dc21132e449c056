"""The ladder's tasks: charging again what is due, and starting anew with a new card.

ladder.sweep      beat's ring: what is due by `next_retry_at` is begun again
ladder.restart    a company has a new card: what was stopped for want of one is tried with it
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models import cards, dunning, invoices, locks
from models.base import across_companies
from models.clock import now
from models.invoices import Invoice
from models.methods import PaymentMethod
from models.notifications import owe_notice
from models.policies import policy_of
from models.timeline import Cause
from models.tracking import track
from models.transactions import (
    Dunning,
    PaymentAttempt,
    Status,
    Transaction,
    Trigger,
    lock_existing,
    open_of_invoice,
)
from schedules.declines import AUTHENTICATION, Advice, CustomerAction
from schedules.ladder import Decision, Reason, Step
from tasks.declines import wait_for_another
from worker import crash
from worker.app import periodic, task
from worker.database import in_transaction, is_away
from worker.tally import tally

log = logging.getLogger(__name__)

BATCH = 200


class Due(NamedTuple):
    """A payment whose retry is due."""

    at: datetime
    id: UUID
    company_id: UUID


@periodic("ladder.sweep")
def sweep() -> None:
    """Begin again what is due. Safe in any number of copies: each payment is locked by one.

    A payment that cannot be begun holds up no other; it is looked at again at the next ring.
    """
    moment, last = now(), None
    while batch := in_transaction(_due, None, moment, last):
        for due in batch:
            try:
                in_transaction(climb, due.company_id, due.id)
            except IntegrityError:
                log.info("another payment of the invoice of %s has just begun", due.id)
            except dunning.MethodGone as error:
                log.info("payment %s is looked at again: %s", due.id, error)
            except Exception as error:
                if is_away(error):
                    raise
                log.exception("payment %s could not be begun again", due.id)
            crash.point("ladder.begun")
        last = batch[-1]


def _due(session: Session, moment: datetime, after: Due | None) -> Sequence[Due]:
    query = (
        select(Transaction.next_retry_at, Transaction.id, Transaction.company_id)
        .where(
            Transaction.next_retry_at <= moment,
            Transaction.status == Status.FAILED,
            Transaction.dunning == Dunning.SCHEDULED,
        )
        .order_by(Transaction.next_retry_at, Transaction.id)
        .limit(BATCH)
    )
    if after is not None:
        query = query.where(
            tuple_(Transaction.next_retry_at, Transaction.id) > (after.at, after.id)
        )
    rows = session.execute(across_companies(query, because="beat rings for every company"))
    return [Due(at, identity, company_id) for at, identity, company_id in rows if at is not None]


def climb(session: Session, payment_id: UUID) -> bool:
    """Begin the next attempt of one payment, or say why not; False if others have it in hand."""
    payment = locks.lock_all(session, Transaction, [payment_id]).get(payment_id)
    moment = now()
    if (
        payment is None
        or payment.status != Status.FAILED
        or payment.dunning != Dunning.SCHEDULED
        or payment.next_retry_at is None
        or payment.next_retry_at > moment
    ):
        return False
    cause = Cause(why="the ladder")
    invoice = locks.lock_existing(session, Invoice, payment.invoice_id)
    if reason := dunning.in_the_way(invoice):
        dunning.clear(session, payment, because=cause.but(reason))
    elif dunning.is_overtaken(session, payment):
        told = cause.but("a later payment of the invoice climbs instead")
        dunning.clear(session, payment, because=told)
    elif _is_held_up(session, payment):
        told = cause.but("another payment of the invoice is under way or disputed")
        wait_for_another(session, payment, cause=told)
    else:
        _step(session, payment, invoice, moment, cause)
    return True


def _is_held_up(session: Session, payment: Transaction) -> bool:
    return (
        payment.open_attempt is not None
        or open_of_invoice(session, payment.invoice_id) is not None
        or dunning.is_disputed(session, payment.invoice_id)
    )


def _step(
    session: Session, payment: Transaction, invoice: Invoice, moment: datetime, cause: Cause
) -> None:
    method = dunning.method_for(session, payment, moment=moment)
    if method is None:
        _end(session, payment, Decision(step=Step.ASKED, reason=Reason.CARD_GONE), cause)
        return
    card = cards.card_of(method)
    declines = cards.declines_of(session, card, moment=moment)
    attempts = dunning.attempts_of(session, invoice.id)
    if against := dunning.against(session, attempts, declines, card, moment=moment):
        _end(session, payment, against, cause)
        return
    if declines.not_before is not None and declines.not_before > moment:
        wait = Decision(
            step=Step.SCHEDULED, reason=Reason.NETWORK_WAIT, retry_at=declines.not_before
        )
        dunning.keep(session, payment, wait, because=cause)
        return
    is_new = all(attempt.fingerprint != card for attempt in attempts)
    trigger = Trigger.FIRST if is_new else Trigger.LADDER
    payment.retry_count += 1
    payment.last_retry_at, payment.next_retry_at = moment, None
    if trigger is Trigger.LADDER:
        step = str(payment.retry_count)
        track(session, "payment.retried", payment, number=step, dimension=step)
    dunning.begin_again(
        session,
        payment,
        invoice,
        method,
        trigger=trigger,
        off_session=True,
        because=cause.but(
            "the first try with another card" if is_new else "the ladder's next step"
        ),
    )
    tally(session, "payments.retried", provider=payment.payment_method, trigger=str(trigger))


_TEMPLATES = {
    Step.ASKED: "card_needs_update",
    Step.STOPPED: "payment_failed",
    Step.EXHAUSTED: "retries_exhausted",
}


def _end(session: Session, payment: Transaction, decision: Decision, cause: Cause) -> None:
    action = CustomerAction.USE_ANOTHER_METHOD
    dunning.keep(session, payment, decision, because=cause, action=action)
    owe_notice(
        session,
        _TEMPLATES[decision.step],
        payment,
        number=len(payment.attempts),
        invoice_id=str(payment.invoice_id),
        amount=f"{payment.amount:.2f}",
        currency=payment.currency,
        action=str(action),
        retry_at=None,
    )


@task("ladder.restart")
def restart(session: Session, cause: Cause, *, method_id: str) -> None:
    """Schedule at once, with a new card, what was stopped for want of one.

    Safe twice: what it has scheduled waits for no card any more.
    """
    method = session.get(PaymentMethod, UUID(method_id))
    if method is None or not method.is_active or not policy_of(session).steps:
        return
    waiting = session.execute(
        select(Transaction.invoice_id, Transaction.id)
        .where(
            Transaction.status == Status.FAILED,
            Transaction.dunning.in_(dunning.WAITING_FOR_A_CARD),
            Transaction.payment_method == method.provider,
            # What the customer was to pay in the browser nobody has agreed to have charged.
            Transaction.payment_method_id.is_not(None),
        )
        .order_by(Transaction.id)
    )
    # The latest payment of each invoice.
    latest = {row.invoice_id: row.id for row in waiting}
    for payment_id in sorted(latest.values()):
        _restart_one(session, lock_existing(session, payment_id), method, cause)


def _restart_one(
    session: Session, payment: Transaction, method: PaymentMethod, cause: Cause
) -> None:
    if payment.status != Status.FAILED or payment.dunning not in dunning.WAITING_FOR_A_CARD:
        return
    invoice = invoices.lock(session, payment.invoice_id)
    if invoice is None or dunning.in_the_way(invoice):
        return
    if not dunning.is_for(session, payment, method):
        return
    moment = now()
    card = cards.card_of(method)
    declines = cards.declines_of(session, card, moment=moment)
    attempts = dunning.attempts_of(session, payment.invoice_id)
    if not _may_restart(payment, attempts, card):
        return
    if declines.is_spent or dunning.against(session, attempts, declines, card, moment=moment):
        return
    payment.payment_method_id = method.id
    decision = Decision(
        step=Step.SCHEDULED,
        reason=Reason.NEW_CARD,
        retry_at=max(moment, declines.not_before or moment),
    )
    dunning.keep(session, payment, decision, because=cause)


def _may_restart(payment: Transaction, attempts: Sequence[PaymentAttempt], card: str) -> bool:
    """Whether this card is new to the invoice, or is the one whose details had to be mended."""
    tried = [attempt for attempt in attempts if attempt.fingerprint == card]
    if not tried:
        return True
    last = tried[-1]
    codes = {last.decline_code, last.error_code}
    return (
        payment.dunning == Dunning.ASKED
        and last.advice == Advice.ASK
        and AUTHENTICATION.isdisjoint(codes)
    )
