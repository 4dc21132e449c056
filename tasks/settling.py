"""What settling a payment and a refund by hand share: who is believed, and what is kept of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar
from uuid import UUID

from sqlalchemy.orm import Session

from models import locks
from models.refunds import Refund
from models.timeline import REVIEW_REFUSED, REVIEW_SETTLED, Cause, note
from models.transactions import Transaction
from tasks.handover import KIND, OUR_ACCESS
from worker import replies
from worker.alerts import resolve
from worker.app import Debt
from worker.database import in_transaction
from worker.gateways.base import LAGS, GatewayError, Rejected

# Whose sentence a refusal is: the rows and the provider disagree, or nobody could be asked.
Kind = Literal["conflict", "unavailable"]
Answer = TypeVar("Answer")


class Refused(Exception):
    """What the operator says is not taken; the message says why."""

    def __init__(self, why: str, kind: Kind = "conflict") -> None:
        super().__init__(why)
        self.kind = kind


def settle_row(
    debt: Debt,
    row: tuple[type[Transaction | Refund], UUID],
    ask: Callable[[], Answer],
    record: Callable[[Session, Debt, Answer], None],
) -> None:
    """Ask the provider, then record what is so, or why what was said is not taken."""
    kind, row_id = row
    try:
        answer = ask()
    except Refused as refused:
        in_transaction(_record_refused, debt.company_id, debt, kind, row_id, refused)
    else:
        in_transaction(record, debt.company_id, debt, answer)
    replies.tell(row_id, {}, key=debt.reply)


def unanswered(error: GatewayError) -> Refused:
    """Return the refusal where the provider does not tell."""
    if isinstance(error, Rejected) and error.http_status not in OUR_ACCESS:
        return Refused(f"The provider refuses to tell: {error.message}")
    if error.code == LAGS:
        return Refused(error.message, "unavailable")
    return Refused("The provider cannot be asked just now; try again.", "unavailable")


def asked_just_now() -> Refused:
    """Return the refusal while a call is made: what it does nobody can know yet."""
    return Refused("The provider is being asked just now; try again.", "unavailable")


def cause_of(debt: Debt) -> Cause:
    """Return what an operator said as a cause for the timeline."""
    said = debt.arguments
    return Cause(
        why=f"settled by hand: {said['note']}",
        request_id=debt.request_id,
        task_id=debt.id,
        user_id=UUID(said["user_id"]),
    )


def end(session: Session, debt: Debt, row: Transaction | Refund, detail: dict[str, Any]) -> None:
    """Write down that a row was settled, and close its alert."""
    said, cause = debt.arguments, cause_of(debt)
    told = {"asked": said["asked"], "outcome": said["outcome"], **detail}
    note(session, row, what=REVIEW_SETTLED, because=cause, detail=told)
    resolve(session, f"{KIND}:{row.id}", why=cause.why, user_id=cause.user_id)
    debt.end(session)


def refuse(session: Session, debt: Debt, row: Transaction | Refund, refused: Refused) -> None:
    """Write down that a row was not settled, and why."""
    told = {"asked": debt.arguments["asked"], "kind": refused.kind}
    note(session, row, what=REVIEW_REFUSED, because=cause_of(debt).but(str(refused)), detail=told)
    debt.end(session)


def _record_refused(
    session: Session,
    debt: Debt,
    kind: type[Transaction | Refund],
    row_id: UUID,
    refused: Refused,
) -> None:
    refuse(session, debt, locks.lock_existing(session, kind, row_id), refused)
