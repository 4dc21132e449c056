"""What an intent's state does to our rows: the one place where a payment succeeds or fails.

The answer of a call, a webhook, a look-up and the janitor all end here, in any order and any
number of times. Each step asks the table of moves first; what is not allowed changes nothing.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from sqlalchemy.orm import Session

from models import dunning, ledger, locks
from models.alerts import Severity
from models.clock import now
from models.invoices import Invoice, InvoiceStatus, credit
from models.ledger import Account
from models.money import Money
from models.outbox import enqueue
from models.refunds import follow
from models.timeline import Cause, note
from models.tracking import track
from models.transactions import (
    AttemptStatus,
    Dunning,
    PaymentAttempt,
    Status,
    Transaction,
    open_of_invoice,
)
from schedules.declines import told_code
from tasks import declines, other_money
from tasks.declines import attempted
from worker import billing
from worker.alerts import alert
from worker.events import announce_invoice, announce_payment
from worker.gateways.base import Advice, Declined, GatewayError, Intent, IntentStatus
from worker.settings import settings
from worker.tally import tally

log = logging.getLogger(__name__)

# What the provider never takes back: true whenever it is heard. Of the other states an answer may
# be older than what has been recorded since it was asked for.
FINAL = frozenset({IntentStatus.SUCCEEDED, IntentStatus.CANCELED})
ACTION_NEEDED = "the customer must act"
AT_WORK = "the provider is at work"


def apply(
    session: Session,
    payment: Transaction,
    attempt: PaymentAttempt | None,
    intent: Intent,
    *,
    cause: Cause,
) -> None:
    """Bring a locked payment to what the provider says of its intent.

    Args:
        attempt: the attempt that made the intent, if it is known.
    """
    cause = replace(
        cause,
        attempt_id=attempt.id if attempt else cause.attempt_id,
        provider_request_id=intent.provider_request_id or cause.provider_request_id,
    )
    if (
        _is_overtaken(session, payment, attempt, intent)
        and intent.status is not IntentStatus.SUCCEEDED
    ):
        _hear_of_earlier(session, payment, attempt, intent, cause)
        return
    _adopt(payment, attempt, intent)
    if intent.status is IntentStatus.SUCCEEDED:
        _succeed(session, payment, attempt, intent, cause)
    elif intent.status is IntentStatus.DECLINED:
        untold = Declined(message="The payment was declined.", advice=Advice.STOP_AND_REVIEW)
        fail(session, payment, attempt, intent.decline or untold, cause=cause)
    elif intent.status is IntentStatus.CANCELED:
        cancel(session, payment, attempt, cause=cause.but("the provider canceled it"))
    elif _may_be_open(session, payment, cause):
        _leave_open(session, payment, attempt, intent, cause)


def cancel(
    session: Session, payment: Transaction, attempt: PaymentAttempt | None, *, cause: Cause
) -> None:
    """Record that nothing can be paid any more: the invoice is free."""
    _end(attempt, AttemptStatus.CANCELED)
    was = payment.dunning
    if payment.move_if_allowed(Status.CANCELED, because=cause):
        dunning.clear(session, payment, because=cause)
        declines.end_review(session, payment, was, why="The payment was canceled.")


def _leave_open(
    session: Session,
    payment: Transaction,
    attempt: PaymentAttempt | None,
    intent: Intent,
    cause: Cause,
) -> None:
    """Record that the customer or the provider has still to do something."""
    if intent.status is not IntentStatus.REQUIRES_ACTION:
        _wait(attempt, AttemptStatus.PROCESSING)
        payment.move_if_allowed(Status.PROCESSING, because=cause.but(AT_WORK))
        return
    _wait(attempt, AttemptStatus.REQUIRES_ACTION)
    payment.move_if_allowed(Status.REQUIRES_ACTION, because=cause.but(ACTION_NEEDED))
    if intent.is_approved:
        owe_capture(session, payment, intent.provider_id)


def fail(
    session: Session,
    payment: Transaction,
    attempt: PaymentAttempt | None,
    error: GatewayError,
    *,
    cause: Cause,
) -> None:
    """Record a decline, or a refusal that no retry can help."""
    if attempt is not None:
        cause = caused_by(cause, attempt, error.provider_request_id)
    if attempt is not None and attempt.status != AttemptStatus.SUCCEEDED:
        attempt.error_code, attempt.error_message = error.code[:100], error.message
        attempt.provider_request_id = error.provider_request_id or attempt.provider_request_id
        if isinstance(error, Declined):
            attempt.decline_code = error.decline_code or None
            attempt.advice_code = error.advice_code or None
            attempt.network_advice_code = error.network_advice_code or None
            attempt.network_decline_code = error.network_decline_code or None
            attempt.advice = str(error.advice)
            attempt.wait_at_least_s = error.wait_at_least_s
            attempt.provider_id = attempt.provider_id or error.provider_id or None
            if not payment.is_settled:
                known = payment.provider_transaction_id
                payment.provider_transaction_id = error.provider_id or known
    _end(
        attempt,
        AttemptStatus.DECLINED if isinstance(error, Declined) else AttemptStatus.REJECTED,
    )
    code = getattr(error, "decline_code", "") or error.code
    # Why a card is refused for good is not for whoever holds it.
    told = cause.but(str(error))
    code = told_code(code)
    has_failed = payment.move_if_allowed(Status.FAILED, because=told)
    if not has_failed and not _is_declined_anew(payment, error, code):
        return
    if not has_failed:
        note(session, payment, what="declined", because=told)
    payment.error_code, payment.error_message = code[:100] or None, error.message
    tally(session, "payments.charged", provider=payment.payment_method, outcome="failed")
    declines.follow(session, payment, attempt, error, cause=cause)
    announce_payment(
        session,
        "payment.failed",
        payment,
        code=code,
        reason=error.message,
        dunning=str(payment.dunning),
        next_retry_at=payment.next_retry_at,
    )


def _is_declined_anew(payment: Transaction, error: GatewayError, code: str) -> bool:
    """Whether a customer in the browser was declined once more, and otherwise."""
    return (
        payment.status == Status.FAILED
        and payment.payment_method_id is None
        and isinstance(error, Declined)
        and payment.error_code != (code[:100] or None)
    )


def _is_overtaken(
    session: Session, payment: Transaction, attempt: PaymentAttempt | None, intent: Intent
) -> bool:
    """Whether a later attempt may have been sent, which the payment's state is now about.

    What is declined and then canceled was closed for the later one, even if that was not sent; or
    because it asked for more than is due by now, or was then. What is due is for the ladder.
    """
    later = [each for each in payment.attempts if attempt and each.number > attempt.number]
    if intent.status is IntentStatus.CANCELED and payment.status == Status.FAILED:
        return bool(later) or _is_for_the_ladder(session, payment)
    if intent.status is IntentStatus.CANCELED and payment.status == Status.PROCESSING:
        # Begun again: the next attempt is owed, and not claimed yet.
        return bool(later) or (attempt is not None and attempt.finished_at is not None)
    return any(each.status != AttemptStatus.REJECTED for each in later)


def _is_for_the_ladder(session: Session, payment: Transaction) -> bool:
    invoice = locks.lock_existing(session, Invoice, payment.invoice_id)
    if dunning.in_the_way(invoice) is not None:
        return False
    return payment.dunning == Dunning.SCHEDULED or payment.amount > invoice.due.amount


def _hear_of_earlier(
    session: Session,
    payment: Transaction,
    attempt: PaymentAttempt | None,
    intent: Intent,
    cause: Cause,
) -> None:
    """Keep what is heard of an earlier attempt's intent, which can say nothing of the payment.

    It is closed before the later attempt is sent, and its cancellation is heard like this.
    """
    if attempt is None:
        return
    attempt.provider_id = intent.provider_id
    if intent.status is IntentStatus.CANCELED:
        _end(attempt, AttemptStatus.CANCELED)
    note(session, payment, what="earlier_intent", because=cause.but(f"it is {intent.status}"))


def _adopt(payment: Transaction, attempt: PaymentAttempt | None, intent: Intent) -> None:
    """Keep the provider's ids. What has succeeded keeps the intent that it succeeded by."""
    has_succeeded = attempt is not None and attempt.status == AttemptStatus.SUCCEEDED
    # By a second charge's intent its refunds are found.
    if attempt is not None and (not has_succeeded or intent.status is IntentStatus.SUCCEEDED):
        attempt.provider_id = intent.provider_id
        attempt.provider_request_id = intent.provider_request_id or attempt.provider_request_id
    if payment.provider_transaction_id is None or not payment.is_settled:
        payment.provider_transaction_id = intent.provider_id
    if payment.provider_transaction_id == intent.provider_id:
        payment.payment_processor_id = intent.charge_id or payment.payment_processor_id


def _may_be_open(session: Session, payment: Transaction, cause: Cause) -> bool:
    """Whether nothing else of the invoice is under way, beside which this may not be reopened."""
    if payment.status != Status.FAILED:
        return True
    other = open_of_invoice(session, payment.invoice_id)
    if other is not None:
        note(
            session,
            payment,
            what="not_reopened",
            because=cause.but("another payment of the invoice is under way"),
        )
    return other is None


def _succeed(
    session: Session,
    payment: Transaction,
    attempt: PaymentAttempt | None,
    intent: Intent,
    cause: Cause,
) -> None:
    _end(attempt, AttemptStatus.SUCCEEDED)
    captured = intent.captured or intent.money
    if captured.currency != payment.currency:
        log.error("captured in %s what was asked in %s", captured.currency, payment.currency)
        payment.move_if_allowed(
            Status.NEEDS_REVIEW, because=cause.but(f"captured in {captured.currency}")
        )
        return
    if payment.is_settled and payment.provider_transaction_id != intent.provider_id:
        other_money.tell_of_second_charge(session, payment, intent, cause)
    if payment.status == Status.CANCELED:
        other_money.tell_of_canceled(session, payment, intent, cause)
    # A refund that fails may bring a payment back to succeeded; a late event of it must not.
    if payment.is_settled or not payment.move_if_allowed(
        Status.SUCCEEDED, because=cause.but(f"captured {captured}")
    ):
        return
    payment.amount_captured = captured.amount
    payment.error_code = payment.error_message = None
    ledger.post(
        session,
        f"payment:{payment.id}",
        company_id=payment.company_id,
        debit=Account.CLEARING,
        credit=Account.RECEIVABLE,
        money=captured,
        invoice_id=payment.invoice_id,
        transaction_id=payment.id,
    )
    tally(session, "payments.charged", provider=payment.payment_method, outcome="succeeded")
    if not declines.recover(session, payment, cause=cause):
        billing.receipt(session, payment, paid_at=now())
    announce_payment(session, "payment.succeeded", payment, captured=captured)
    track(session, "payment.succeeded", payment, money=captured)
    _credit_invoice(session, payment, captured, cause)
    # A refund may have been heard of before the payment.
    follow(payment, because=cause)


def _credit_invoice(session: Session, payment: Transaction, captured: Money, cause: Cause) -> None:
    invoice = locks.lock_existing(session, Invoice, payment.invoice_id)
    is_paid = credit(session, invoice, captured, because=cause)
    if invoice.due.amount < 0 or invoice.status == InvoiceStatus.VOID:
        alert(
            session,
            "overpaid",
            severity=Severity.CRITICAL,
            subject=invoice,
            message=f"{captured} came for the invoice {invoice.number}, which lacked less or is "
            f"void. Refund the payment {payment.id}, or the part that is too much.",
        )
    announce_invoice(session, "invoice.paid" if is_paid else "invoice.updated", invoice)


def _end(attempt: PaymentAttempt | None, status: AttemptStatus) -> None:
    """End an attempt. One that has succeeded stays so, whatever is heard later."""
    if attempt is None or attempt.status == AttemptStatus.SUCCEEDED:
        return
    if status is AttemptStatus.CANCELED and attempt.finished_at is not None:
        return  # that a declined intent is closed afterwards makes it no less declined
    if attempt.status != status:
        attempted(attempt, status)
    attempt.status = status
    attempt.leased_until = None
    attempt.finished_at = now()


def _wait(attempt: PaymentAttempt | None, status: AttemptStatus) -> None:
    """Leave an attempt open at the provider, unless it has ended already."""
    if attempt is None or attempt.finished_at is not None:
        return
    attempt.status = status
    attempt.leased_until = None


def attempt_behind(payment: Transaction, intent: Intent) -> PaymentAttempt | None:
    """Return the attempt that made `intent`: by the provider's id, else by our id in it."""
    our_id = intent.metadata.get("attempt_id")
    # The newest: what was declined may have been tried again with the same intent.
    by_id = [each for each in reversed(payment.attempts) if each.provider_id == intent.provider_id]
    by_ours = [each for each in payment.attempts if str(each.id) == our_id]
    return next(iter([*by_id, *by_ours]), None)


def owe_capture(session: Session, payment: Transaction, order_id: str) -> None:
    """Owe the capture of what the customer has approved."""
    wait = timedelta(seconds=settings().resolve_after_s)
    enqueue(
        session,
        "payments.capture",
        transaction_id=payment.id,
        order_id=order_id,
        due_at=now() + wait,
    )


def caused_by(cause: Cause, attempt: PaymentAttempt, provider_request_id: str) -> Cause:
    """Return `cause` with the attempt and the provider's request id."""
    request_id = provider_request_id or cause.provider_request_id
    return replace(cause, attempt_id=attempt.id, provider_request_id=request_id)


def exact(text: str) -> Decimal:
    """Return an amount that a row keeps as text in JSON."""
    return Decimal(text)
