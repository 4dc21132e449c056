"""Refunds: money given back, never more than was captured."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Boolean, ForeignKey, Index, String, Text, UniqueConstraint, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models import credit_notes, ledger
from models.base import PROVIDER_ID, words
from models.disputes import disputed_away
from models.invoices import Invoice, reopen
from models.ledger import Account
from models.locks import lock_existing
from models.money import Money
from models.states import Moving
from models.timeline import Cause
from models.tracking import track
from models.transactions import Provider, Status, Transaction


class RefundStatus(StrEnum):
    """Where a refund stands."""

    PENDING = "pending"
    PROCESSING = "processing"
    REQUIRES_ACTION = "requires_action"  # the customer must tell the provider where to send it
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class RefundReason(StrEnum):
    """The specification's reasons."""

    REQUESTED = "requested"
    CHARGEBACK = "chargeback"
    REFUND = "refund"


# What the API takes, mapped to what the table keeps.
REASONS: dict[str, RefundReason] = {
    "requested": RefundReason.REQUESTED,
    "customer_request": RefundReason.REQUESTED,
    "requested_by_customer": RefundReason.REQUESTED,
    "chargeback": RefundReason.CHARGEBACK,
    "fraudulent": RefundReason.CHARGEBACK,
    "refund": RefundReason.REFUND,
    "duplicate": RefundReason.REFUND,
    "other": RefundReason.REFUND,
}

# What may still take money out, or has: their sum never passes what was captured.
TAKING = (
    RefundStatus.PENDING,
    RefundStatus.PROCESSING,
    RefundStatus.REQUIRES_ACTION,
    RefundStatus.SUCCEEDED,
)

# It has not ended.
UNDER_WAY = (RefundStatus.PENDING, RefundStatus.PROCESSING, RefundStatus.REQUIRES_ACTION)


class Refund(Moving):
    """One refund of a transaction, full or in part."""

    __tablename__ = "refunds"
    __table_args__ = (
        UniqueConstraint("provider_refund_id"),
        Index("idx_transaction_id", "transaction_id"),
        Index("idx_status", "status"),
        Index("idx_refunds_company_id", "company_id"),
        Index("idx_refunds_created_at", "created_at"),
    )

    MOVES = {  # noqa: RUF012  data, read by the docs and the tests
        RefundStatus.PENDING: frozenset(
            {
                RefundStatus.PROCESSING,
                RefundStatus.REQUIRES_ACTION,
                RefundStatus.SUCCEEDED,
                RefundStatus.FAILED,
            }
        ),
        RefundStatus.PROCESSING: frozenset(
            {RefundStatus.REQUIRES_ACTION, RefundStatus.SUCCEEDED, RefundStatus.FAILED}
        ),
        RefundStatus.REQUIRES_ACTION: frozenset(
            {RefundStatus.PROCESSING, RefundStatus.SUCCEEDED, RefundStatus.FAILED}
        ),
        # A bank may send the money back after the provider said that it went out.
        RefundStatus.SUCCEEDED: frozenset({RefundStatus.FAILED}),
        RefundStatus.FAILED: frozenset(),
    }

    transaction_id: Mapped[UUID] = mapped_column(ForeignKey("transactions.id"))
    amount: Mapped[Decimal]
    reason: Mapped[RefundReason] = mapped_column(words(RefundReason))
    status: Mapped[RefundStatus] = mapped_column(words(RefundStatus), default=RefundStatus.PENDING)
    provider_refund_id: Mapped[str | None] = mapped_column(PROVIDER_ID)
    provider_request_id: Mapped[str | None] = mapped_column(String(100))
    notes: Mapped[str | None] = mapped_column(Text)
    user_id: Mapped[UUID | None]
    first_called_at: Mapped[datetime | None]
    leased_until: Mapped[datetime | None]
    # It undoes a payment that was recorded by mistake: its invoice is due again.
    reopens_invoice: Mapped[bool] = mapped_column(Boolean, default=False)
    review_since: Mapped[datetime | None]  # nobody can tell what became of it
    looked_up_at: Mapped[datetime | None]  # while the provider is at work
    error_message: Mapped[str | None] = mapped_column(Text)

    @property
    def needs_review(self) -> bool:
        """Whether a person must find out what became of it."""
        return self.review_since is not None and self.status in UNDER_WAY

    def is_leased(self, now: datetime) -> bool:
        """Whether somebody is asking the provider for it."""
        return self.leased_until is not None and self.leased_until > now


def taken(session: Session, transaction_id: UUID) -> Decimal:
    """Return the sum of refunds that have taken or may take money, in the main unit.

    The caller holds the transaction's lock, so that two refunds cannot both fit.
    """
    total = session.scalar(
        select(func.coalesce(func.sum(Refund.amount), 0)).where(
            Refund.transaction_id == transaction_id, Refund.status.in_(TAKING)
        )
    )
    return Decimal(total or 0)


def left_to_refund(session: Session, payment: Transaction) -> Decimal:
    """Return how much of a locked payment may still be asked back; below zero if too much was.

    What the customer's bank has taken is gone as well: nobody gets it twice.
    """
    gone = taken(session, payment.id) + disputed_away(session, payment.id)
    return payment.amount_captured - gone


def give(session: Session, payment: Transaction, refund: Refund, *, because: Cause) -> None:
    """Enter a refund of a locked payment that has gone out.

    One that undoes a mistaken record goes back to what the company owes, and its invoice is due
    again. For any other a credit note is issued: the company's row is locked from here on.
    """
    payment.amount_refunded += refund.amount
    money = Money(refund.amount, payment.currency)
    track(session, "refund.succeeded", refund, number=refund.version, money=money)
    debit = Account.RECEIVABLE if refund.reopens_invoice else Account.REFUNDS
    _post(session, payment, refund, f"refund:{refund.id}", debit, _source_of(payment))
    follow(payment, because=because)
    invoice = lock_existing(session, Invoice, payment.invoice_id)
    if refund.reopens_invoice:
        reopen(session, invoice, money, because=because)
        return
    given_back = of_invoice(session, invoice.id, (RefundStatus.SUCCEEDED,))
    credit_notes.credit_refund(
        session, invoice, refund.id, money, given_back=given_back, because=because
    )


def of_invoice(
    session: Session, invoice_id: UUID, statuses: Collection[RefundStatus] = TAKING
) -> Decimal:
    """Return the sum of an invoice's refunds that stand so, but for what undoes a mistake."""
    session.flush()  # events are acted upon without autoflush
    total = session.scalar(
        select(func.sum(Refund.amount))
        .join(Transaction, Transaction.id == Refund.transaction_id)
        .where(
            Transaction.invoice_id == invoice_id,
            Refund.status.in_(statuses),
            ~Refund.reopens_invoice,
        )
    )
    return Decimal(total or 0)


def take_back(session: Session, payment: Transaction, refund: Refund, *, because: Cause) -> None:
    """Enter that the bank sent a refund back: the money is ours again, by a reversal.

    So is its credit note's.
    """
    payment.amount_refunded -= refund.amount
    money = Money(refund.amount, payment.currency)
    track(session, "refund.reversed", refund, number=refund.version, money=money)
    source = _source_of(payment)
    _post(session, payment, refund, f"refund-failed:{refund.id}", source, Account.REFUNDS)
    follow(payment, because=because)
    invoice = lock_existing(session, Invoice, payment.invoice_id)
    credit_notes.take_back(session, invoice, refund.id, because=because)


def follow(payment: Transaction, *, because: Cause) -> None:
    """Bring a payment's status to what has been given back of it, once it is settled."""
    if not payment.is_settled:
        return
    if payment.amount_refunded <= 0:
        status = Status.SUCCEEDED
    elif payment.amount_refunded < payment.amount_captured:
        status = Status.PARTIALLY_REFUNDED
    else:
        status = Status.REFUNDED
    payment.move_if_allowed(status, because=because.but(f"refunded {payment.amount_refunded}"))


def _source_of(payment: Transaction) -> Account:
    """Return where a payment's money stands."""
    is_transfer = payment.payment_method == Provider.BANK_TRANSFER
    return Account.BANK if is_transfer else Account.CLEARING


def _post(
    session: Session,
    payment: Transaction,
    refund: Refund,
    posting: str,
    debit: Account,
    credit: Account,
) -> None:
    ledger.post(
        session,
        posting,
        company_id=payment.company_id,
        debit=debit,
        credit=credit,
        money=Money(refund.amount, payment.currency),
        invoice_id=payment.invoice_id,
        transaction_id=payment.id,
        refund_id=refund.id,
    )


def refunds_of(session: Session, transaction_id: UUID) -> list[Refund]:
    """Return the refunds of a transaction, oldest first."""
    return list(
        session.scalars(
            select(Refund).where(Refund.transaction_id == transaction_id).order_by(Refund.id)
        )
    )
