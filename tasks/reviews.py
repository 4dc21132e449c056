"""Settling by hand what nobody could tell: the provider is asked first, and all is written down.

reviews.settle           a payment that needs review has succeeded, failed, or is canceled
reviews.settle_refund    a refund that needs review has succeeded or failed

What an operator says is refused where the provider disagrees; the refusal is a line of the timeline
too, with who asked and why.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import locks
from models.base import across_companies
from models.clock import now
from models.money import Money
from models.refunds import Refund
from models.transactions import Status, Transaction, lock_existing
from tasks import refunds, settlement
from tasks.declines import SETTLED_BY_HAND
from tasks.settling import (
    Refused,
    asked_just_now,
    cause_of,
    end,
    refuse,
    settle_row,
    unanswered,
)
from worker.app import Debt, calling_task
from worker.gateways import UnknownProvider, gateway_for
from worker.gateways.base import (
    Gateway,
    GatewayError,
    Intent,
    IntentStatus,
    OutcomeUnknown,
    RefundAnswer,
    RefundState,
    Rejected,
)


@dataclass(frozen=True)
class Matter:
    """A payment in review, what is said of it, and what is known of it."""

    transaction_id: UUID
    provider: str
    money: Money
    outcome: str
    provider_id: str | None
    customer: str | None
    # The intents that its attempts have made, as far as anybody has heard.
    known: tuple[str, ...]
    # When the last of its attempts began: past the life of that one's key nothing was sent.
    begun_at: datetime


def _claim(
    session: Session,
    debt: Debt,
    *,
    transaction_id: str,
    outcome: str,
    provider_transaction_id: str | None,
    **_said: object,
) -> Matter | None:
    payment = lock_existing(session, UUID(transaction_id))
    if (refusal := _not_in_review(payment)) is not None:
        refuse(session, debt, payment, refusal)
        return None
    ids = [payment.provider_transaction_id, *(attempt.provider_id for attempt in payment.attempts)]
    return Matter(
        transaction_id=payment.id,
        provider=payment.payment_method,
        money=payment.money,
        outcome=outcome,
        provider_id=provider_transaction_id,
        customer=payment.customer.provider_id if payment.customer else None,
        known=tuple(dict.fromkeys(each for each in ids if each)),
        begun_at=max(
            (each.first_called_at or each.created_at for each in payment.attempts),
            default=payment.created_at,
        ),
    )


@calling_task("reviews.settle", claim=_claim)
def settle(debt: Debt, matter: Matter) -> None:
    """Settle a payment as an operator says. Safe twice: what needs no review is left as it is."""
    row = (Transaction, matter.transaction_id)
    settle_row(debt, row, partial(_intent_for, debt, matter), partial(_record, matter=matter))


def _intent_for(debt: Debt, matter: Matter) -> Intent | None:
    """Return the intent that has succeeded; None where none may have.

    Raises:
        Refused: the provider says otherwise, or does not answer.
    """
    try:
        gateway = gateway_for(matter.provider)
    except UnknownProvider:
        # Nobody can be asked: the operator's word is all there is.
        return _by_word(matter) if matter.outcome == Status.SUCCEEDED else None
    try:
        if matter.outcome == Status.SUCCEEDED:
            return _paid(gateway, matter)
        for number, intent in enumerate(_intents(gateway, matter)):
            _close(gateway, matter, intent, key=f"settle-{debt.id}-{number}")
    except GatewayError as error:
        raise unanswered(error) from None
    return None


def _by_word(matter: Matter) -> Intent:
    return Intent(
        provider_id=matter.provider_id or "",
        status=IntentStatus.SUCCEEDED,
        money=matter.money,
        captured=matter.money,
    )


def _paid(gateway: Gateway, matter: Matter) -> Intent:
    provider_id = matter.provider_id or ""
    intent = gateway.retrieve(provider_id)
    if intent.status is not IntentStatus.SUCCEEDED:
        raise Refused(f"The provider says that {provider_id} is {intent.status}.")
    captured = intent.captured or intent.money
    owner = intent.metadata.get("transaction_id")
    if owner not in (None, "", str(matter.transaction_id)):
        raise Refused(f"At the provider {provider_id} is another payment's.")
    if captured.currency != matter.money.currency or (not owner and captured != matter.money):
        raise Refused(f"The provider says that {provider_id} took {captured}, not {matter.money}.")
    return intent


def _intents(gateway: Gateway, matter: Matter) -> Iterator[Intent]:
    """Yield each intent that the provider may have of a payment."""
    seen = set()
    if matter.customer is not None:
        try:
            found = gateway.find(
                transaction_id=matter.transaction_id,
                customer=matter.customer,
                key="",
                until=matter.begun_at + timedelta(seconds=gateway.key_life_s),
            )
        except OutcomeUnknown:
            found = []  # it can never say that there is none: the operator has looked
        for intent in found:
            seen.add(intent.provider_id)
            yield intent
    for known in (*matter.known, matter.provider_id):
        if known and known not in seen:
            seen.add(known)
            yield gateway.retrieve(known)


def _close(gateway: Gateway, matter: Matter, intent: Intent, *, key: str) -> None:
    """See that an intent takes no money any more."""
    status, name = intent.status, intent.provider_id
    if status in (IntentStatus.REQUIRES_ACTION, IntentStatus.DECLINED):
        if matter.outcome == Status.CANCELED:
            status = gateway.cancel(key=key, provider_id=name).status
        elif status is IntentStatus.REQUIRES_ACTION:
            raise Refused(f"The customer can still pay {name}: settle it as canceled to close it.")
    if status not in (IntentStatus.CANCELED, IntentStatus.DECLINED):
        raise Refused(f"The provider says that {name} is {status}.")


def _record(session: Session, debt: Debt, intent: Intent | None, *, matter: Matter) -> None:
    payment = lock_existing(session, matter.transaction_id)
    refusal = _objection(session, payment, intent)
    if refusal is not None:
        refuse(session, debt, payment, refusal)
        return
    cause = cause_of(debt)
    attempt = payment.open_attempt
    if intent is not None:
        behind = settlement.attempt_behind(payment, intent)
        settlement.apply(session, payment, behind or attempt, intent, cause=cause)
    elif matter.outcome == Status.CANCELED:
        settlement.cancel(session, payment, attempt, cause=cause)
    else:
        failure = Rejected(message="The payment has failed.", code=SETTLED_BY_HAND)
        settlement.fail(session, payment, attempt, failure, cause=cause)
    end(session, debt, payment, {"provider_transaction_id": matter.provider_id})


def _not_in_review(payment: Transaction) -> Refused | None:
    if payment.status != Status.NEEDS_REVIEW:
        return Refused(f"The payment is {payment.status} by now.")
    attempt = payment.open_attempt
    if attempt is not None and attempt.is_leased(now()):
        return asked_just_now()
    return None


def _refund_not_in_review(refund: Refund) -> Refused | None:
    if not refund.needs_review:
        return Refused(f"The refund is {refund.status} by now.")
    return asked_just_now() if refund.is_leased(now()) else None


def _objection(session: Session, payment: Transaction, intent: Intent | None) -> Refused | None:
    refusal = _not_in_review(payment)
    if refusal is not None or intent is None:
        return refusal
    same = select(Transaction.id).where(
        Transaction.provider_transaction_id == intent.provider_id, Transaction.id != payment.id
    )
    if session.scalar(across_companies(same, because="an intent is one payment's")) is None:
        return None
    return Refused(f"With us {intent.provider_id} is another payment's.")


@dataclass(frozen=True)
class RefundMatter:
    """A refund in review, what is said of it, and what is known of it."""

    refund_id: UUID
    transaction_id: UUID
    provider: str
    intent_id: str | None
    money: Money
    has_succeeded: bool
    provider_refund_id: str | None


def _claim_refund(
    session: Session,
    debt: Debt,
    *,
    refund_id: str,
    outcome: str,
    provider_refund_id: str | None,
    **_said: object,
) -> RefundMatter | None:
    refund = session.get_one(Refund, UUID(refund_id))
    payment = lock_existing(session, refund.transaction_id)
    refund = locks.lock_existing(session, Refund, refund.id)
    if (refusal := _refund_not_in_review(refund)) is not None:
        refuse(session, debt, refund, refusal)
        return None
    return RefundMatter(
        refund_id=refund.id,
        transaction_id=payment.id,
        provider=payment.payment_method,
        intent_id=payment.provider_transaction_id,
        money=Money(refund.amount, payment.currency),
        has_succeeded=outcome == "succeeded",
        provider_refund_id=provider_refund_id,
    )


@calling_task("reviews.settle_refund", claim=_claim_refund)
def settle_refund(debt: Debt, matter: RefundMatter) -> None:
    """Settle a refund as an operator says. Safe twice: what needs no review is left as it is."""
    row = (Refund, matter.refund_id)
    settle_row(debt, row, partial(_answer_for, matter), partial(_record_refund, matter=matter))


def _answer_for(matter: RefundMatter) -> RefundAnswer | None:
    """Return the refund that has gone out; None where none may have.

    Raises:
        Refused: the provider says otherwise, or does not answer.
    """
    try:
        gateway = gateway_for(matter.provider)
        if matter.has_succeeded:
            return _gone_out(gateway, matter)
        for answer in gateway.find_refunds(provider_id=matter.intent_id or ""):
            if _is_of(answer, matter) and answer.state not in _GIVES_NOTHING:
                raise Refused(f"The provider says that {answer.provider_id} is {answer.state}.")
    except UnknownProvider:
        raise Refused("No provider has this refund.") from None
    except GatewayError as error:
        raise unanswered(error) from None
    return None


_GIVES_NOTHING = (RefundState.FAILED, RefundState.CANCELED)


def _is_of(answer: RefundAnswer, matter: RefundMatter) -> bool:
    return answer.metadata.get("refund_id") == str(matter.refund_id) or (
        answer.provider_id == matter.provider_refund_id
    )


def _gone_out(gateway: Gateway, matter: RefundMatter) -> RefundAnswer:
    answer = gateway.retrieve_refund(matter.provider_refund_id or "")
    if answer.state is not RefundState.SUCCEEDED:
        raise Refused(f"The provider says that {answer.provider_id} is {answer.state}.")
    if answer.metadata.get("refund_id") not in (None, "", str(matter.refund_id)):
        raise Refused(f"At the provider {answer.provider_id} is another refund's.")
    if answer.money != matter.money:
        raise Refused(
            f"The provider says that {answer.provider_id} gave {answer.money}, not {matter.money}."
        )
    return answer


def _record_refund(
    session: Session, debt: Debt, answer: RefundAnswer | None, *, matter: RefundMatter
) -> None:
    payment = lock_existing(session, matter.transaction_id)
    refund = locks.lock_existing(session, Refund, matter.refund_id)
    if (refusal := _refund_not_in_review(refund)) is not None:
        refuse(session, debt, refund, refusal)
    elif answer is None:
        refunds.fail(session, payment, refund, "It was settled by hand.", cause=cause_of(debt))
        end(session, debt, refund, {})
    elif _is_anothers(session, refund, answer):
        refused = Refused(f"With us {answer.provider_id} is another refund's.")
        refuse(session, debt, refund, refused)
    else:
        refunds.apply(session, payment, refund, answer, cause=cause_of(debt))
        end(session, debt, refund, {"provider_refund_id": answer.provider_id})


def _is_anothers(session: Session, refund: Refund, answer: RefundAnswer) -> bool:
    same = select(Refund.id).where(
        Refund.provider_refund_id == answer.provider_id, Refund.id != refund.id
    )
    return session.scalar(across_companies(same, because="theirs is one of ours")) is not None
