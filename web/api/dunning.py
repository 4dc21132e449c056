"""Dunning as its company sees it: what happened to an invoice's payments, and what will."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from flask import Response
from pydantic import BaseModel, BeforeValidator, Field, StrictBool, StrictInt
from sqlalchemy import select
from sqlalchemy.orm import Session

from models import cards, dunning
from models.clock import now
from models.invoices import Invoice
from models.methods import PaymentMethod
from models.policies import policy_of, store
from models.tenants import Permission
from models.timeline import Timeline, history, note
from models.transactions import (
    AttemptStatus,
    Dunning,
    PaymentAttempt,
    Status,
    Transaction,
    Trigger,
)
from schedules.declines import ACTIONS, CustomerAction, told_code
from schedules.ladder import (
    LONGEST_DELAY_H,
    MAX_CARD_DECLINES,
    MAX_RETRIES,
    RETRIES,
    SENTENCES,
    SHORTEST_DELAY_H,
    Decision,
    RetryPolicy,
    Standing,
    steps_ahead,
)
from web.api import resuming
from web.api.invoices import InvoicePath
from web.api.resuming import ResumeShown
from web.auth import allowed, caller
from web.problems import Problem
from web.routes import Input, Routes, respond
from web.schemas import Amount, Moment, cause, whole
from worker.database import in_transaction, transaction

routes = Routes("dunning", __name__, url_prefix="/api/v1")


Hours = Annotated[
    # In this order, or the document loses the bounds.
    StrictInt, Field(ge=SHORTEST_DELAY_H, le=LONGEST_DELAY_H), BeforeValidator(whole)
]


class Policy(Input):
    """When declined payments are charged again. No hours, or disabled: never."""

    delays_h: list[Hours] = Field(
        max_length=MAX_RETRIES,
        description="Hours to wait after the first, second and third decline.",
        examples=[[24, 48, 72]],
    )
    is_enabled: StrictBool = True


class PolicyAnswer(BaseModel):
    """The company's retry policy."""

    delays_h: list[int]
    is_enabled: bool


class MethodShown(BaseModel):
    """What was charged."""

    payment_method_id: UUID
    brand: str | None
    last_four: str | None


class AttemptShown(BaseModel):
    """One try: what came of it, and what was done about it."""

    transaction_id: UUID
    number: int
    at: Moment
    trigger: Trigger
    method: MethodShown | None
    amount: Amount
    outcome: AttemptStatus
    decline_code: str | None = Field(description="As far as the customer may know it.")
    message: str | None
    advice: str | None
    action: Dunning | None = Field(description="What was decided after it.")
    reason: str | None
    retry_at: datetime | None


class ComingRetry(BaseModel):
    """A retry to come. All but the first depend on the one before being declined."""

    at: datetime
    is_scheduled: bool


class StoppedBecause(BaseModel):
    """Why nothing is tried any more, or will be; also that it was paid, or need not be."""

    reason: str
    sentence: str


class ActionShown(BaseModel):
    """What the customer must do, and whether they can do it with the payment that there is."""

    action: CustomerAction
    sentence: str
    resume: ResumeShown | None


class DunningAnswer(BaseModel):
    """What happened to the payments of an invoice, and what will."""

    invoice_id: UUID
    transaction_id: UUID | None = Field(description="The payment that the rest is about.")
    state: Dunning
    policy: PolicyAnswer
    retries_made: int
    retries_left: int
    next_retry_at: datetime | None
    coming: list[ComingRetry]
    stopped_because: StoppedBecause | None
    customer_action: ActionShown
    attempts: list[AttemptShown]


@routes.get("/invoices/<uuid:invoice_id>/dunning", responses={200: DunningAnswer})
@allowed(Permission.INVOICES_READ)
def read_dunning(path: InvoicePath) -> Response:
    """Return what happened to the payments of an invoice, and what will, with dates and reasons."""
    with transaction(company_id=caller().company_id) as session:
        invoice = session.get(Invoice, path.invoice_id)
        if invoice is None:
            raise Problem("not-found", "No such invoice.")
        return respond(_told(session, invoice))


@routes.get("/retry-policy", responses={200: PolicyAnswer})
@allowed(Permission.INVOICES_READ)
def read_policy() -> Response:
    """Return the company's retry policy."""
    with transaction(company_id=caller().company_id) as session:
        return respond(_shown(policy_of(session)))


@routes.put("/retry-policy", responses={200: PolicyAnswer})
@allowed(Permission.INVOICES_WRITE)
def change_policy(body: Policy) -> Response:
    """Set the company's retry policy. What is scheduled keeps its date, if it is still allowed."""
    policy = RetryPolicy(tuple(body.delays_h), body.is_enabled)
    in_transaction(_keep, caller().company_id, policy)
    return respond(_shown(policy))


def _keep(session: Session, policy: RetryPolicy) -> None:
    before = _shown(policy_of(session))
    stored = store(session, caller().company_id, policy)
    session.flush()
    detail = {"from": before, "to": _shown(policy)}
    note(session, stored, what="changed", because=cause("the retry policy was set"), detail=detail)


def _shown(policy: RetryPolicy) -> dict[str, Any]:
    return {"delays_h": list(policy.delays_h), "is_enabled": policy.is_enabled}


def _told(session: Session, invoice: Invoice) -> dict[str, Any]:
    payments = list(
        session.scalars(
            select(Transaction).where(Transaction.invoice_id == invoice.id).order_by(Transaction.id)
        )
    )
    lines = [
        line
        for line in history(session, [payment.id for payment in payments])
        if line.what == dunning.DECIDED
    ]
    attempts = dunning.attempts_of(session, invoice.id)
    payment = _the_one(payments)
    state = _state(invoice, payment)
    last = next(
        (line for line in reversed(lines) if payment and line.subject_id == payment.id), None
    )
    policy = policy_of(session)
    card = _card(session, payment, attempts)
    ahead = _Ahead()
    if payment is not None and state is Dunning.SCHEDULED:
        ahead = _ahead(session, payment, attempts, card, policy)
    return {
        "invoice_id": invoice.id,
        "transaction_id": payment.id if payment else None,
        "state": state,
        "policy": _shown(policy),
        "retries_made": _made(attempts, card),
        "retries_left": len(ahead.coming),
        "next_retry_at": ahead.next_at,
        "coming": [{"at": at, "is_scheduled": at == ahead.next_at} for at in ahead.coming],
        "stopped_because": _stop(invoice, payment, state, last, ahead.against),
        "customer_action": _action(session, invoice, payment, state, last),
        "attempts": _attempts(session, attempts, lines),
    }


def _the_one(payments: Sequence[Transaction]) -> Transaction | None:
    """Return the payment that is being dunned, else one that was or waits, else the latest."""
    dunned = [each for each in payments if each.dunning not in (Dunning.NONE, Dunning.CLEARED)]
    cleared = [each for each in payments if each.dunning is Dunning.CLEARED]
    waiting = [each for each in payments if each.status is Status.REQUIRES_ACTION]
    return next(reversed(dunned or waiting or cleared or payments), None)


def _state(invoice: Invoice, payment: Transaction | None) -> Dunning:
    if payment is None or payment.dunning is Dunning.NONE:
        return Dunning.NONE
    return Dunning.CLEARED if dunning.in_the_way(invoice) else payment.dunning


def _card(
    session: Session, payment: Transaction | None, attempts: Sequence[PaymentAttempt]
) -> str | None:
    """Return what the card is known by that would be charged now, else that was."""
    method = dunning.method_for(session, payment, moment=now()) if payment else None
    if method is not None:
        return cards.card_of(method)
    return attempts[-1].fingerprint if attempts else None


def _made(attempts: Sequence[PaymentAttempt], card: str | None) -> int:
    return sum(
        card is not None and each.fingerprint == card and each.trigger is Trigger.LADDER
        for each in attempts
    )


@dataclass(frozen=True)
class _Ahead:
    """What is to come, as far as rows can tell today."""

    next_at: datetime | None = None
    coming: Sequence[datetime] = ()
    # What will end the ladder at its next step, unless that changes by then.
    against: Decision | None = None


def _ahead(
    session: Session,
    payment: Transaction,
    attempts: Sequence[PaymentAttempt],
    card: str | None,
    policy: RetryPolicy,
) -> _Ahead:
    next_at = payment.next_retry_at
    if next_at is None or card is None:
        return _Ahead(next_at)
    declines = cards.declines_of(session, card, moment=next_at)
    against = dunning.against(session, attempts, declines, card, moment=next_at)
    if against is not None:
        return _Ahead(next_at, against=against)
    is_new = all(attempt.fingerprint != card for attempt in attempts)
    advice = dunning.advice_to_climb(attempts, card)
    standing: Standing = dunning.standing_of(
        attempts, declines, card=card, advice=advice, declined_at=next_at
    )
    left = min(
        min(policy.steps, MAX_RETRIES) - standing.retries + is_new,
        RETRIES[advice] - standing.retries_on_advice + is_new,
        MAX_CARD_DECLINES - declines.number,
    )
    made = _made(attempts, card) + (not is_new)
    return _Ahead(next_at, steps_ahead(next_at, made, policy)[:left])


def _is_given_up(invoice: Invoice, payment: Transaction) -> bool:
    """Whether a payment has ended without a decline, and its invoice is still due."""
    has_ended = payment.status in (Status.FAILED, Status.CANCELED)
    return has_ended and payment.dunning is Dunning.NONE and dunning.in_the_way(invoice) is None


def _stop(
    invoice: Invoice,
    payment: Transaction | None,
    state: Dunning,
    last: Timeline | None,
    against: Decision | None,
) -> dict[str, str] | None:
    if against is not None:
        sentence = f"{SENTENCES[against.reason]} No retry is made unless that changes by then."
        return {"reason": str(against.reason), "sentence": sentence}
    if payment is not None and _is_given_up(invoice, payment):
        sentence = payment.error_message or f"The payment was {payment.status}."
        return {"reason": told_code(payment.error_code or payment.status), "sentence": sentence}
    if state in (Dunning.NONE, Dunning.SCHEDULED) or payment is None or last is None:
        return None
    why = last.why
    if state is Dunning.CLEARED and payment.dunning is not Dunning.CLEARED:
        why = dunning.in_the_way(invoice) or why
    sentence = f"{why[:1].upper()}{why[1:].rstrip('.')}."
    reason = dunning.CLEARED if state is Dunning.CLEARED else (last.detail or {})["reason"]
    return {"reason": reason, "sentence": sentence}


def _action(
    session: Session,
    invoice: Invoice,
    payment: Transaction | None,
    state: Dunning,
    last: Timeline | None,
) -> dict[str, Any]:
    action = CustomerAction.NONE
    if last is not None and last.detail and state not in (Dunning.NONE, Dunning.CLEARED):
        action = CustomerAction(last.detail["action"])
    elif payment is not None and payment.status is Status.REQUIRES_ACTION:
        action = CustomerAction.PAY_IN_BROWSER
    elif payment is not None and _is_given_up(invoice, payment):
        action = CustomerAction.PAY_AGAIN
    resume = None
    if payment is not None and action not in (CustomerAction.NONE, CustomerAction.PAY_AGAIN):
        resume = resuming.shown(resuming.resume_of(session, payment))
    return {"action": action, "sentence": ACTIONS[action], "resume": resume}


def _attempts(
    session: Session, attempts: Sequence[PaymentAttempt], lines: Sequence[Timeline]
) -> list[dict[str, Any]]:
    wanted = {attempt.payment_method_id for attempt in attempts}
    found = session.scalars(select(PaymentMethod).where(PaymentMethod.id.in_(wanted - {None})))
    methods = {method.id: method for method in found}
    return [
        _attempt(attempt, methods.get(attempt.payment_method_id), lines)  # type: ignore[arg-type]
        for attempt in attempts
    ]


def _attempt(
    attempt: PaymentAttempt, used: PaymentMethod | None, lines: Sequence[Timeline]
) -> dict[str, Any]:
    method = used and {
        "payment_method_id": used.id,
        "brand": used.brand,
        "last_four": used.last_four,
    }
    line = next((each for each in reversed(lines) if each.attempt_id == attempt.id), None)
    decided = (line.detail or {}) if line else {}
    retry_at = decided.get("retry_at")
    code = attempt.decline_code or attempt.error_code
    return {
        "transaction_id": attempt.transaction_id,
        "number": attempt.number,
        "at": attempt.created_at,
        "trigger": attempt.trigger,
        "method": method,
        "amount": Decimal(attempt.request["amount"]),
        "outcome": attempt.status,
        "decline_code": told_code(code) if code else None,
        "message": attempt.error_message,
        "advice": attempt.advice,
        "action": decided.get("state"),
        "reason": line.why if line else None,
        "retry_at": datetime.fromisoformat(retry_at) if retry_at else None,
    }
