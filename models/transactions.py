"""Transactions (a company pays an invoice) and the attempts that each makes at the provider."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    Boolean,
    ColumnElement,
    Computed,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    and_,
    select,
)
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship, validates

from models import clock, locks
from models.base import CURRENCY, PROVIDER_ID, Changing, CompanyOwned, Id, words
from models.ids import new_id
from models.invoices import Invoice, InvoiceStatus
from models.methods import PaymentMethod, ProviderCustomer
from models.money import Money
from models.states import Moving
from models.timeline import Cause


class Status(StrEnum):
    """Where a transaction stands."""

    PENDING = "pending"
    PROCESSING = "processing"
    REQUIRES_ACTION = "requires_action"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    PARTIALLY_REFUNDED = "partially_refunded"
    REFUNDED = "refunded"
    NEEDS_REVIEW = "needs_review"


class Provider(StrEnum):
    """Who moves the money: the specification's payment_method."""

    STRIPE = "stripe"
    PAYPAL = "paypal"
    BANK_TRANSFER = "bank_transfer"


# In a transaction's details: the customer agreed that the provider keeps what they pay with.
KEEP_METHOD = "keep_method"
# Also there: where the customer comes back to from the provider's page, if not to the usual place.
RETURN_URL = "return_url"

# Money has moved; from here a transaction only goes to and fro among these.
SETTLED = frozenset({Status.SUCCEEDED, Status.PARTIALLY_REFUNDED, Status.REFUNDED})
# An invoice has at most one transaction in these: a second charge cannot start beside it.
OPEN = (Status.PENDING, Status.PROCESSING, Status.REQUIRES_ACTION, Status.NEEDS_REVIEW)

_ENDS = {Status.SUCCEEDED, Status.FAILED, Status.CANCELED, Status.NEEDS_REVIEW}


class Dunning(StrEnum):
    """What is being done about a payment that was declined."""

    NONE = "none"
    SCHEDULED = "scheduled"  # charged again at `next_retry_at`
    ASKED = "asked"  # the customer must act
    STOPPED = "stopped"  # this method is done
    EXHAUSTED = "exhausted"  # the ladder is spent
    IN_REVIEW = "in_review"  # a person must look
    CLEARED = "cleared"  # paid otherwise, or nothing is due any more


class CancelReason(StrEnum):
    """Why what its customer could still pay is canceled; the payment's `error_code` then."""

    ABANDONED = "abandoned"  # its customer left it
    BY_CUSTOMER = "canceled_by_customer"
    NOT_DUE = "not_due"  # of its invoice less is due by now


class Trigger(StrEnum):
    """Why an attempt was made."""

    FIRST = "first"
    LADDER = "ladder"
    MANUAL = "manual"


class AttemptStatus(StrEnum):
    """Where one call to the provider stands."""

    CALLING = "calling"  # committed before the call; past its lease the outcome is unknown
    WAITING = "waiting"  # surely not executed; the same key will be sent again
    UNKNOWN = "unknown"  # it may have happened
    REQUIRES_ACTION = "requires_action"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    DECLINED = "declined"
    REJECTED = "rejected"
    CANCELED = "canceled"


OPEN_ATTEMPT = (
    AttemptStatus.CALLING,
    AttemptStatus.WAITING,
    AttemptStatus.UNKNOWN,
    AttemptStatus.REQUIRES_ACTION,
    AttemptStatus.PROCESSING,
)


def _where_open(column: str, kinds: tuple[StrEnum, ...]) -> Computed:
    """Return a generated column that is `column` while the row is open, else NULL.

    A unique key on it is the promise "one open row", which MySQL has no partial index for.
    """
    listed = ", ".join(f"'{kind}'" for kind in kinds)
    return Computed(f"CASE WHEN status IN ({listed}) THEN {column} END", persisted=True)


class Transaction(Moving):
    """One payment of an invoice, from the request to the last refund."""

    __tablename__ = "transactions"
    __table_args__ = (
        UniqueConstraint("provider_transaction_id"),
        UniqueConstraint("open_invoice_id"),
        Index("idx_invoice_id", "invoice_id"),
        Index("idx_company_id", "company_id"),
        Index("idx_status", "status"),
        Index("idx_created_at", "created_at"),
        Index("idx_transactions_next_retry_at", "next_retry_at"),
        # Counts by status and a company's coming retries, without their rows.
        Index("idx_transactions_company_status", "company_id", "status"),
        Index("idx_transactions_company_retry", "company_id", "next_retry_at"),
        Index("idx_transactions_payment_processor_id", "payment_processor_id"),
        # A provider's charges by when they were made: what a reconciliation reads page by page.
        Index("idx_transactions_charged_at", "payment_method", "charged_at"),
    )

    MOVES = {  # noqa: RUF012  data, read by the docs and the tests
        Status.PENDING: frozenset({Status.PROCESSING, Status.REQUIRES_ACTION} | _ENDS),
        Status.PROCESSING: frozenset({Status.REQUIRES_ACTION} | _ENDS),
        Status.REQUIRES_ACTION: frozenset({Status.PROCESSING} | _ENDS),
        # The customer may still pay a declined intent in the browser, or the ladder tries again.
        Status.FAILED: frozenset({Status.PROCESSING, Status.REQUIRES_ACTION} | _ENDS)
        - {Status.FAILED},
        Status.NEEDS_REVIEW: frozenset({Status.PROCESSING, Status.REQUIRES_ACTION} | _ENDS)
        - {Status.NEEDS_REVIEW},
        Status.SUCCEEDED: frozenset({Status.PARTIALLY_REFUNDED, Status.REFUNDED}),
        # A refund that fails after it succeeded brings the money back.
        Status.PARTIALLY_REFUNDED: frozenset({Status.REFUNDED, Status.SUCCEEDED}),
        Status.REFUNDED: frozenset({Status.PARTIALLY_REFUNDED, Status.SUCCEEDED}),
        Status.CANCELED: frozenset(),
    }

    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoices.id"))
    user_id: Mapped[UUID | None]
    amount: Mapped[Decimal]
    currency: Mapped[str] = mapped_column(CURRENCY, default="INR")
    status: Mapped[Status] = mapped_column(words(Status), default=Status.PENDING)
    payment_method: Mapped[Provider] = mapped_column(words(Provider))
    payment_method_id: Mapped[UUID | None] = mapped_column(ForeignKey("payment_methods.id"))
    off_session: Mapped[bool] = mapped_column(Boolean, default=False)
    payment_processor_id: Mapped[str | None] = mapped_column(PROVIDER_ID)  # the charge
    charged_at: Mapped[datetime | None]  # when we heard of the charge first
    provider_transaction_id: Mapped[str | None] = mapped_column(PROVIDER_ID)  # the intent
    amount_captured: Mapped[Decimal] = mapped_column(default=Decimal(0))
    amount_refunded: Mapped[Decimal] = mapped_column(default=Decimal(0))
    retry_count: Mapped[int] = mapped_column(Integer, default=0)
    last_retry_at: Mapped[datetime | None]
    next_retry_at: Mapped[datetime | None]
    dunning: Mapped[Dunning] = mapped_column(words(Dunning), default=Dunning.NONE)
    is_disputed: Mapped[bool] = mapped_column(Boolean, default=False)
    looked_up_at: Mapped[datetime | None]  # while the provider is at work
    error_code: Mapped[str | None] = mapped_column(String(100))
    error_message: Mapped[str | None] = mapped_column(Text)
    details: Mapped[dict[str, Any] | None] = mapped_column("metadata", JSON)
    open_invoice_id: Mapped[UUID | None] = mapped_column(
        Id, _where_open("invoice_id", OPEN), sort_order=85
    )

    invoice: Mapped[Invoice] = relationship(viewonly=True)
    # What a charge works from; loaded for many payments at once where many are charged together.
    attempts: Mapped[list[PaymentAttempt]] = relationship(order_by="PaymentAttempt.number")
    method: Mapped[PaymentMethod | None] = relationship(viewonly=True)
    customer: Mapped[ProviderCustomer | None] = relationship(
        primaryjoin="and_(foreign(Transaction.company_id) == ProviderCustomer.company_id,"
        " foreign(Transaction.payment_method) == ProviderCustomer.provider)",
        viewonly=True,
    )

    # The declined payments of the same invoice that have an intent, which could still be paid.
    superseded: Mapped[list[Transaction]] = relationship(
        primaryjoin="and_(Transaction.invoice_id == remote(foreign(Transaction.invoice_id)),"
        " remote(Transaction.id) != Transaction.id,"
        " remote(Transaction.status) == 'failed',"
        " remote(Transaction.provider_transaction_id).is_not(None))",
        viewonly=True,
    )

    @validates("payment_processor_id")
    def _hear_of_charge(self, _: str, charge_id: str | None) -> str | None:
        if charge_id is not None and charge_id != self.payment_processor_id:
            self.charged_at = clock.now()
        return charge_id

    @property
    def open_attempt(self) -> PaymentAttempt | None:
        """Return the attempt that has no final outcome, if there is one."""
        return next((each for each in self.attempts if each.status in OPEN_ATTEMPT), None)

    @property
    def money(self) -> Money:
        """Return what is to be charged."""
        return Money(self.amount, self.currency)

    @property
    def is_settled(self) -> bool:
        """Whether the money has been captured."""
        return self.status in SETTLED

    def move_if_allowed(self, status: Status, *, because: Cause) -> bool:
        """Move unless the table forbids it: a late or repeated event then changes nothing."""
        if self.status == status or not self.can_move_to(status):
            return False
        self.move_to(status, because=because)
        return True


class PaymentAttempt(CompanyOwned, Changing):
    """One charge at the provider. Committed before the call, with its idempotency key."""

    __tablename__ = "payment_attempts"
    __table_args__ = (
        UniqueConstraint("transaction_id", "number"),
        UniqueConstraint("idempotency_key"),
        UniqueConstraint("open_transaction_id"),
        Index("idx_payment_attempts_provider_id", "provider_id"),
        Index("idx_payment_attempts_status", "status", "leased_until"),
        Index("idx_payment_attempts_company_id", "company_id"),
        Index("idx_payment_attempts_fingerprint", "fingerprint", "created_at"),
    )

    transaction_id: Mapped[UUID] = mapped_column(ForeignKey("transactions.id"))
    number: Mapped[int] = mapped_column(Integer)
    provider: Mapped[Provider] = mapped_column(words(Provider))
    status: Mapped[AttemptStatus] = mapped_column(
        words(AttemptStatus), default=AttemptStatus.CALLING
    )
    trigger: Mapped[Trigger] = mapped_column("made_by", words(Trigger), default=Trigger.FIRST)
    payment_method_id: Mapped[UUID | None]
    fingerprint: Mapped[str | None] = mapped_column(String(100))  # of the card, as it was then
    idempotency_key: Mapped[str] = mapped_column(String(100))
    # What was asked, to the letter: the same key must always carry the same parameters.
    request: Mapped[dict[str, Any]] = mapped_column(JSON)
    waits: Mapped[int] = mapped_column(Integer, default=0)  # times it was surely not executed
    leased_until: Mapped[datetime | None]
    first_called_at: Mapped[datetime | None]
    provider_id: Mapped[str | None] = mapped_column(PROVIDER_ID)
    provider_request_id: Mapped[str | None] = mapped_column(String(100))
    decline_code: Mapped[str | None] = mapped_column(String(100))
    advice_code: Mapped[str | None] = mapped_column(String(100))
    network_advice_code: Mapped[str | None] = mapped_column(String(10))
    network_decline_code: Mapped[str | None] = mapped_column(String(10))
    advice: Mapped[str | None] = mapped_column(String(30))
    wait_at_least_s: Mapped[int] = mapped_column(Integer, default=0)  # the network's own wait
    error_code: Mapped[str | None] = mapped_column(String(100))
    error_message: Mapped[str | None] = mapped_column(Text)
    finished_at: Mapped[datetime | None]
    open_transaction_id: Mapped[UUID | None] = mapped_column(
        Id, _where_open("transaction_id", OPEN_ATTEMPT), sort_order=85
    )

    def is_leased(self, now: datetime) -> bool:
        """Whether somebody may be calling the provider for this attempt right now."""
        return (
            self.status == AttemptStatus.CALLING
            and self.leased_until is not None
            and self.leased_until > now
        )

    def lease(self, now: datetime, *, for_s: float) -> None:
        """Take the attempt for one call."""
        self.status = AttemptStatus.CALLING
        self.leased_until = now + timedelta(seconds=for_s)
        self.first_called_at = self.first_called_at or now


def lock(session: Session, transaction_id: UUID) -> Transaction | None:
    """Return the company's transaction, locked until the commit, and its attempts with it.

    Whoever writes an attempt holds its transaction.
    """
    return locks.lock(session, Transaction, transaction_id)


def lock_existing(session: Session, transaction_id: UUID) -> Transaction:
    """Return a transaction that is known to exist, locked until the commit."""
    return locks.lock_existing(session, Transaction, transaction_id)


def start_attempt(payment: Transaction, request: dict[str, Any]) -> PaymentAttempt:
    """Add the next attempt. The unique keys refuse a second one beside an open one."""
    attempt_id = new_id()
    attempt = PaymentAttempt(
        id=attempt_id,
        company_id=payment.company_id,
        transaction_id=payment.id,
        number=len(payment.attempts) + 1,
        provider=payment.payment_method,
        status=AttemptStatus.CALLING,
        idempotency_key=f"attempt-{attempt_id}",
        request=request,
    )
    payment.attempts.append(attempt)
    return attempt


def open_of_invoice(session: Session, invoice_id: UUID) -> UUID | None:
    """Return the id of the one transaction of an invoice that is not ended, if there is one."""
    return session.scalar(select(Transaction.id).where(Transaction.open_invoice_id == invoice_id))


def oversized_intents(invoice: Invoice) -> ColumnElement[bool]:
    """Return what holds of declined payments that may yet be paid, with more than is due."""
    due = 0 if invoice.status == InvoiceStatus.VOID else invoice.due.amount
    return and_(
        Transaction.invoice_id == invoice.id,
        Transaction.status == Status.FAILED,
        Transaction.amount > due,
        Transaction.provider_transaction_id.is_not(None),
        Transaction.payment_method != Provider.BANK_TRANSFER,
    )
