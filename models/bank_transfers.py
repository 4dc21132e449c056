"""Payments by bank transfer: an operator records what has come, and may take that back.

No provider is asked. A mistaken record is undone by a refund that reopens the invoice: money that
never came goes back to what the company owes, by a reversal in the ledger.
"""

from __future__ import annotations

from datetime import date
from hashlib import sha256
from unicodedata import normalize
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import ledger, refunds
from models.invoices import Invoice, credit
from models.ledger import Account
from models.money import Money
from models.refunds import Refund, RefundReason, RefundStatus
from models.timeline import Cause, note
from models.tracking import track
from models.transactions import Provider, Status, Transaction


def name_of(company_id: UUID, reference: str) -> str:
    """Return what stands for a bank's reference in the column that is unique.

    A company has each reference once, however it is spaced or cased; two companies may have the
    same.
    """
    plain = " ".join(normalize("NFKC", reference).casefold().split())
    return "bank-" + sha256(f"{company_id}:{plain}".encode()).hexdigest()


def recorded_as(session: Session, company_id: UUID, reference: str) -> UUID | None:
    """Return the payment that has been recorded under a reference, if there is one."""
    return session.scalar(
        select(Transaction.id).where(
            Transaction.provider_transaction_id == name_of(company_id, reference)
        )
    )


def record(
    session: Session,
    invoice: Invoice,
    money: Money,
    *,
    reference: str,
    received_on: date,
    because: Cause,
) -> Transaction:
    """Enter a transfer that came for a locked invoice. The caller has checked what is due.

    Raises:
        IntegrityError: the reference is known, or another payment of the invoice is under way.
    """
    payment = Transaction(
        company_id=invoice.company_id,
        invoice_id=invoice.id,
        user_id=because.user_id,
        amount=money.amount,
        currency=money.currency,
        payment_method=Provider.BANK_TRANSFER,
        provider_transaction_id=name_of(invoice.company_id, reference),
        details={"reference": reference, "received_on": received_on.isoformat()},
    )
    session.add(payment)
    session.flush()
    note(session, payment, what="begun", because=because)
    payment.move_to(Status.SUCCEEDED, because=because.but(f"{money} came on {received_on}"))
    payment.amount_captured = money.amount
    track(session, "payment.succeeded", payment, money=money)
    ledger.post(
        session,
        f"payment:{payment.id}",
        company_id=payment.company_id,
        debit=Account.BANK,
        credit=Account.RECEIVABLE,
        money=money,
        invoice_id=invoice.id,
        transaction_id=payment.id,
    )
    credit(session, invoice, money, because=because)
    session.flush()
    return payment


def reverse(session: Session, payment: Transaction, *, because: Cause) -> Refund:
    """Undo a record that was a mistake: the whole of a locked payment, of which nothing went back.

    Its reference is free again, so that it can be recorded where it belongs.
    """
    refund = Refund(
        company_id=payment.company_id,
        transaction_id=payment.id,
        user_id=because.user_id,
        amount=payment.amount_captured,
        reason=RefundReason.REFUND,
        notes=because.why,
        reopens_invoice=True,
    )
    session.add(refund)
    session.flush()
    note(session, refund, what="reversal", because=because)
    refund.move_to(RefundStatus.SUCCEEDED, because=because)
    refunds.give(session, payment, refund, because=because)
    payment.provider_transaction_id = None
    session.flush()
    return refund
