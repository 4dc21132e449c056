"""Money that no payment's book has: of a second charge, or taken after the payment was canceled.

Only a person can give it back, at the provider. The timeline keeps what was taken and what has
gone back, and once that is all of it the alert is over.
"""

from __future__ import annotations

import logging
from decimal import Decimal
from typing import Any

from sqlalchemy.orm import Session

from models.alerts import Severity
from models.timeline import Cause, Timeline, history, note
from models.transactions import Status, Transaction
from worker.alerts import alert, resolve
from worker.gateways.base import Intent, RefundAnswer, RefundState
from worker.tally import tally

log = logging.getLogger(__name__)

# Kinds of alerts and of lines; the last is of lines alone.
SECOND_CHARGE = "second_charge"
THOUGH_CANCELED = "paid_though_canceled"
GIVEN_BACK = "other_refund"
_NOT_MADE = (RefundState.FAILED, RefundState.CANCELED)


def tell_of_second_charge(
    session: Session, payment: Transaction, intent: Intent, cause: Cause
) -> None:
    """What must never be has been: only a person can say which of the two to give back."""
    log.error("payment %s has been charged twice: also by %s", payment.id, intent.provider_id)
    tally(session, "payments.charged", provider=payment.payment_method, outcome="twice")
    message = (
        f"The payment {payment.id} was charged twice: {payment.provider_transaction_id} "
        f"and {intent.provider_id}. Give one back at the provider."
    )
    told = cause.but(f"{intent.provider_id} has captured {intent.captured} as well")
    _tell(session, payment, SECOND_CHARGE, intent, message=message, because=told)


def tell_of_canceled(session: Session, payment: Transaction, intent: Intent, cause: Cause) -> None:
    """What was given up is not taken up again: only a person can give the money back."""
    message = (
        f"The payment {payment.id} was canceled, and {intent.provider_id} has captured "
        f"{intent.captured} all the same. Give it back at the provider."
    )
    told = cause.but(f"{intent.provider_id} has captured {intent.captured} all the same")
    _tell(session, payment, THOUGH_CANCELED, intent, message=message, because=told)


def _tell(
    session: Session,
    payment: Transaction,
    kind: str,
    intent: Intent,
    *,
    message: str,
    because: Cause,
) -> None:
    taken = intent.captured or intent.money
    detail = {
        "of": intent.provider_id,
        "charge": intent.charge_id,
        "taken": str(taken.amount),
    }
    note(session, payment, what=kind, because=because, detail=detail)
    if not _has_gone_back(session, payment, kind):
        alert(session, kind, severity=Severity.CRITICAL, subject=payment, message=message)


def is_other(payment: Transaction, answer: RefundAnswer) -> bool:
    """Whether the payment was not paid with what is given back."""
    if payment.status == Status.CANCELED:
        return True
    if not payment.is_settled:
        return False  # it may have been heard of before its payment
    if answer.intent_id:
        return answer.intent_id != payment.provider_transaction_id
    known_charge = payment.payment_processor_id
    return bool(answer.charge_id and known_charge) and answer.charge_id != known_charge


def hear_of_refund(
    session: Session, payment: Transaction, answer: RefundAnswer, cause: Cause
) -> None:
    """Note it; once all that was taken has gone back, nobody has to see to it any more."""
    of = answer.intent_id or answer.charge_id
    why = f"{answer.money} of {of} are given back at the provider: {answer.state}"
    detail = {
        "refund": answer.provider_id,
        "of": of,
        "state": str(answer.state),
        "given": str(answer.money.amount),
    }
    note(session, payment, what=GIVEN_BACK, because=cause.but(why), detail=detail)
    for kind in (SECOND_CHARGE, THOUGH_CANCELED):
        if _has_gone_back(session, payment, kind):
            resolve(session, f"{kind}:{payment.id}", why=f"All of {of} was given back.")


def _has_gone_back(session: Session, payment: Transaction, kind: str) -> bool:
    """Whether all that the lines of this kind tell of was given back, in however many parts."""
    session.flush()  # events are acted upon without autoflush
    lines = history(session, [payment.id])
    taken = {each["of"]: each for each in _details(lines, kind)}
    given = _given(_details(lines, GIVEN_BACK))
    return bool(taken) and all(
        Decimal(each["taken"])
        <= sum(Decimal(part["given"]) for part in given if part["of"] in (of, each["charge"]))
        for of, each in taken.items()
    )


def _details(lines: list[Timeline], what: str) -> list[dict[str, Any]]:
    return [line.detail for line in lines if line.what == what and line.detail]


def _given(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the refunds that were made, each once: any is told of several times, in any order."""
    not_made = {each["refund"] for each in told if each["state"] in _NOT_MADE}
    made = {each["refund"]: each for each in told if each["state"] == RefundState.SUCCEEDED}
    return [each for refund, each in made.items() if refund not in not_made]
