"""Reviews: payments and refunds of which nobody can tell what became, settled by hand.

Also declines that nothing is done about before a person has looked.
"""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from flask import Response
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from models import locks, transactions
from models.alerts import Alert
from models.base import across_companies
from models.dunning import DECLINE_IN_REVIEW
from models.ids import new_id
from models.invoices import Invoice, InvoiceStatus
from models.operations import Action
from models.outbox import enqueue
from models.refunds import UNDER_WAY, Refund
from models.tenants import Permission
from models.timeline import REVIEW_ASKED, REVIEW_REFUSED, REVIEW_SETTLED, Timeline
from models.transactions import Dunning, Provider, Status, Transaction
from web.api.operations import PREFIX, whose, write_down
from web.auth import allowed, caller
from web.idempotency import Begun, Told, idempotent
from web.problems import Problem, invalid, unavailable
from web.routes import Input, Routes, respond
from web.schemas import WRITTEN, Amount, Moment, cause
from worker import replies
from worker.database import transaction

routes = Routes("reviews", __name__, url_prefix=PREFIX)

# The oldest are shown; who has more has other troubles.
MOST = 200
HOW = {
    "payment": f"POST {PREFIX}/payments/{{id}}/settle, once seen at the provider.",
    "refund": f"POST {PREFIX}/refunds/{{id}}/settle, once seen at the provider.",
    "decline": "Look at its timeline. Then POST /api/v1/payments/{id}/retry with a payment method, "
    "or have the invoice {invoice} paid otherwise; or close its alert to leave it declined.",
}
# As providers write their ids.
ID = r"^[!-~]{1,100}$"


class PaymentInReview(Input):
    """Which payment."""

    transaction_id: UUID


class RefundInReview(Input):
    """Which refund."""

    refund_id: UUID


class PaymentSettlement(Input):
    """What became of a payment, as somebody has seen at the provider."""

    outcome: Literal["succeeded", "failed", "canceled"] = Field(
        description="`canceled` closes at the provider what could still be paid."
    )
    provider_transaction_id: str | None = Field(
        None, pattern=ID, description="The provider's id of the payment; needed for `succeeded`."
    )
    note: str = Field(
        min_length=1, max_length=2000, pattern=WRITTEN, description="How it is known."
    )


class RefundSettlement(Input):
    """What became of a refund, as somebody has seen at the provider."""

    outcome: Literal["succeeded", "failed"]
    provider_refund_id: str | None = Field(
        None, pattern=ID, description="The provider's id of the refund; needed for `succeeded`."
    )
    note: str = Field(
        min_length=1, max_length=2000, pattern=WRITTEN, description="How it is known."
    )


class ReviewAnswer(BaseModel):
    """A payment, a refund or a decline that needs a review, or needed one."""

    kind: Literal["payment", "refund", "decline"]
    id: UUID
    company_id: UUID
    transaction_id: UUID
    invoice_id: UUID
    status: str
    amount: Amount
    currency: str
    provider: Provider
    # Of the payment, also where a refund of it is reviewed.
    provider_transaction_id: str | None
    provider_refund_id: str | None
    needs_review: bool
    since: Moment
    why: str | None
    how: str | None = Field(description="How it is settled, while it needs a review.")


class ReviewsAnswer(BaseModel):
    """What needs a review, oldest first, 200 at most."""

    data: list[ReviewAnswer]


@routes.get("/reviews", responses={200: ReviewsAnswer})
@allowed(Permission.OPERATIONS)
def list_reviews() -> Response:
    """List what needs a review, of the tenant's companies or of the one that is named.

    `how` tells what settles it. A decline is listed while its alert is open and its invoice is due.
    """
    payments = select(Transaction).where(
        Transaction.status == Status.NEEDS_REVIEW, whose(Transaction.company_id)
    )
    refunds = (
        select(Refund, Transaction)
        .join(Transaction, Transaction.id == Refund.transaction_id)
        .where(
            Refund.review_since.is_not(None),
            Refund.status.in_(UNDER_WAY),
            whose(Refund.company_id),
        )
    )
    # By the alert, for declined payments are many.
    declines = (
        select(Transaction)
        .join(Alert, Alert.subject_id == Transaction.id)
        .join(Invoice, Invoice.id == Transaction.invoice_id)
        .where(
            Alert.open_key.is_not(None),
            Alert.kind == DECLINE_IN_REVIEW,
            Transaction.status == Status.FAILED,
            Transaction.dunning == Dunning.IN_REVIEW,
            Invoice.status == InvoiceStatus.OPEN,
            whose(Transaction.company_id),
        )
    )
    because = "an operator sees all companies of the tenant"
    with transaction() as session:
        found: list[tuple[Transaction, Refund | None]] = [
            (payment, None)
            for query in (payments, declines)
            for payment in session.scalars(
                across_companies(query.order_by(Transaction.id).limit(MOST), because=because)
            )
        ]
        found += [
            (payment, refund)
            for refund, payment in session.execute(
                across_companies(refunds.order_by(Refund.id).limit(MOST), because=because)
            )
        ]
        told = _alerts_about(session, [(refund or payment).id for payment, refund in found])
    shown = [_shown(payment, refund, told.get((refund or payment).id)) for payment, refund in found]
    shown.sort(key=lambda each: each["since"])
    return respond({"data": shown[:MOST]})


def _ask_again(session: Session, asked_id: UUID) -> str | None:
    """Wait for the answer that is on its way; once it came its line is enough."""
    asked = session.get_one(Timeline, asked_id)
    reply_key = replies.join(asked.subject_id).key
    return None if _answer_to(session, asked) else reply_key


def _tell(session: Session, asked_id: UUID, reply: dict[str, Any] | None) -> Told:  # noqa: ARG001
    asked = session.get_one(Timeline, asked_id)
    answer = _answer_to(session, asked)
    if answer is not None and answer.what == REVIEW_REFUSED:
        if (answer.detail or {}).get("kind") == "unavailable":
            raise unavailable(answer.why)
        raise Problem("conflict", answer.why)
    refund = session.get(Refund, asked.subject_id)
    payment = session.get_one(Transaction, refund.transaction_id if refund else asked.subject_id)
    told = _alerts_about(session, [asked.subject_id]).get(asked.subject_id)
    at = f"/api/v1/payments/{payment.id}"
    return Told(
        _shown(payment, refund, told),
        status=200 if answer is not None else 202,
        location=f"{at}/refunds/{refund.id}" if refund else at,
    )


def _answer_to(session: Session, asked: Timeline) -> Timeline | None:
    """Return the line that says what became of what was asked, once there is one."""
    lines = session.scalars(
        select(Timeline)
        .where(
            Timeline.subject_id == asked.subject_id,
            Timeline.id > asked.id,
            Timeline.what.in_((REVIEW_REFUSED, REVIEW_SETTLED)),
        )
        .order_by(Timeline.id)
    )
    return next((line for line in lines if (line.detail or {})["asked"] == str(asked.id)), None)


@routes.post(
    "/payments/<uuid:transaction_id>/settle", responses={200: ReviewAnswer, 202: ReviewAnswer}
)
@allowed(Permission.OPERATIONS)
@idempotent(tell=_tell, ask_again=_ask_again)
def settle_payment(session: Session, path: PaymentInReview, body: PaymentSettlement) -> Begun:
    """Settle a payment that needs a review; a worker asks the provider first.

    200 once it is settled, 202 when the provider has not answered yet; 409 if the provider says
    otherwise, with what it says. Name the company in `X-Company-Id`.
    """
    payment = transactions.lock(session, path.transaction_id)
    if payment is None:
        raise Problem("not-found", "No such payment.")
    needs_review = payment.status == Status.NEEDS_REVIEW
    begun, said = _ask(session, payment, body, "provider_transaction_id", needs_review=needs_review)
    enqueue(session, "reviews.settle", transaction_id=payment.id, **said)
    return begun


@routes.post("/refunds/<uuid:refund_id>/settle", responses={200: ReviewAnswer, 202: ReviewAnswer})
@allowed(Permission.OPERATIONS)
@idempotent(tell=_tell, ask_again=_ask_again)
def settle_refund(session: Session, path: RefundInReview, body: RefundSettlement) -> Begun:
    """Settle a refund that needs a review; a worker asks the provider first.

    200 once it is settled, 202 when the provider has not answered yet; 409 if the provider says
    otherwise, with what it says. Name the company in `X-Company-Id`.
    """
    refund = locks.lock(session, Refund, path.refund_id)
    if refund is None:
        raise Problem("not-found", "No such refund.")
    needs_review = refund.needs_review
    begun, said = _ask(session, refund, body, "provider_refund_id", needs_review=needs_review)
    enqueue(session, "reviews.settle_refund", refund_id=refund.id, **said)
    return begun


def _ask(
    session: Session,
    row: Transaction | Refund,
    body: PaymentSettlement | RefundSettlement,
    field: str,
    *,
    needs_review: bool,
) -> tuple[Begun, dict[str, Any]]:
    """Write down what is said of a row; return what to wait for and what the task is told.

    Args:
        field: of the body, where the provider's id is.
    """
    noun, provider_id = _noun_of(row), getattr(body, field)
    if not needs_review:
        raise Problem("conflict", f"The {_NAMES[noun]} is {row.status}: it needs no review.")
    if body.outcome == "succeeded" and provider_id is None:
        raise invalid(field, f"is needed: say which {_NAMES[noun]} it was there")
    asked = _write_asked(session, row, body, provider_id=provider_id)
    reply_key = replies.new_key()
    said = {
        "outcome": body.outcome,
        field: provider_id,
        "note": body.note,
        "user_id": caller().user_id,
        "asked": asked.id,
        "reply": reply_key,
    }
    return Begun(asked.id, reply_key), said


_NAMES = {"transaction": "payment", "refund": "refund"}


def _noun_of(row: Transaction | Refund) -> str:
    return row.__tablename__.removesuffix("s")


def _write_asked(
    session: Session,
    row: Transaction | Refund,
    body: PaymentSettlement | RefundSettlement,
    *,
    provider_id: str | None,
) -> Timeline:
    """Write down what is said of a row, and by whom; the answer will name this line."""
    because = cause(f"{body.outcome}, by hand: {body.note}")
    asked = Timeline(
        id=new_id(),
        company_id=row.company_id,
        subject=_noun_of(row),
        subject_id=row.id,
        what=REVIEW_ASKED,
        why=because.why,
        request_id=because.request_id,
        user_id=because.user_id,
        detail={"outcome": body.outcome, "provider_id": provider_id},
    )
    session.add(asked)
    company_id, noun = row.company_id, asked.subject
    write_down(session, Action.SETTLE, noun, row.id, company_id=company_id, note=body.note)
    return asked


def _alerts_about(session: Session, row_ids: list[UUID]) -> dict[UUID | None, Alert]:
    """Return the open alerts about these rows, the newest of each."""
    found = select(Alert).where(Alert.subject_id.in_(row_ids), Alert.resolved_at.is_(None))
    return {alert.subject_id: alert for alert in session.scalars(found.order_by(Alert.id))}


def _shown(payment: Transaction, refund: Refund | None, told: Alert | None) -> dict[str, Any]:
    row = refund or payment
    is_decline = payment.status == Status.FAILED and payment.dunning == Dunning.IN_REVIEW
    kind = "refund" if refund else "decline" if is_decline else "payment"
    is_doubted = payment.status == Status.NEEDS_REVIEW or is_decline
    needs_review = refund.needs_review if refund else is_doubted
    how = HOW[kind].format(id=row.id, invoice=payment.invoice_id)
    return {
        "kind": kind,
        "id": row.id,
        "company_id": row.company_id,
        "transaction_id": payment.id,
        "invoice_id": payment.invoice_id,
        "status": row.status,
        "amount": row.amount,
        "currency": payment.currency,
        "provider": payment.payment_method,
        "provider_transaction_id": payment.provider_transaction_id,
        "provider_refund_id": refund.provider_refund_id if refund else None,
        "needs_review": needs_review,
        "since": told.created_at if told else row.updated_at,
        "why": told.message if told else row.error_message,
        "how": how if needs_review else None,
    }
