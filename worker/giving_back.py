"""What a company gets back of a period that is changed or ends early: no more than it has paid.

What is still due of the period's invoice is lowered first, by a credit note; only the rest is a
credit for the next invoice. Otherwise whoever never pays would have made money by canceling. What
was refunded, credited or written off before is not given back again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from models import customer_credit, dunning, locks, refunds
from models.billed_lines import as_json, line_of
from models.credit_notes import credit_due
from models.disputes import disputed_away
from models.invoices import Invoice, InvoiceStatus, lines_of
from models.money import Money, decimals
from models.outbox import enqueue
from models.subscriptions import (
    PeriodStatus,
    Subscription,
    SubscriptionChange,
    SubscriptionPeriod,
    period_at,
)
from models.tenants import Company
from models.timeline import Cause
from models.totals import ZERO, Line, LineKind, price
from models.transactions import CancelReason, Status, Transaction, open_of_invoice
from worker import billing
from worker.events import announce_invoice

REASON = "time that is not used"
# Of these money has come.
SETTLED = (Status.SUCCEEDED, Status.PARTIALLY_REFUNDED, Status.REFUNDED)


def hold(session: Session, subscription: Subscription) -> None:
    """Lock what an act on a locked subscription may need, in everybody's order.

    Payments, their invoice, the company; the modules of the company come after that.
    """
    row = _current(session, subscription)
    if row is not None and row.invoice_id is not None:
        # Those that were paid, so that none is refunded meanwhile.
        query = _payments(row.invoice_id, (Status.FAILED, *SETTLED))
        for payment_id in sorted(session.scalars(query)):
            locks.lock_existing(session, Transaction, payment_id)
        locks.lock_existing(session, Invoice, row.invoice_id)
    locks.lock_existing(session, Company, subscription.company_id)


def _payments(invoice_id: UUID, statuses: tuple[Status, ...]) -> Select[UUID]:
    return select(Transaction.id).where(
        Transaction.invoice_id == invoice_id, Transaction.status.in_(statuses)
    )


def settled(
    session: Session, subscription: Subscription, lines: list[Line], *, because: Cause
) -> list[Line]:
    """Return what of a change's lines is for the next invoice; the period's own is lowered first.

    What is asked for, and not given back, is all for the next one.
    """
    given = -_total(lines, subscription.currency)
    row = _current(session, subscription)
    if given <= 0 or row is None:
        return lines
    if row.status == PeriodStatus.GENERATING:
        # It is billed for less to begin with.
        row.lines = [*row.lines, *map(as_json, lines)]
        return []
    if row.invoice_id is None:
        return lines
    invoice = locks.lock_existing(session, Invoice, row.invoice_id)
    if invoice.status == InvoiceStatus.VOID:
        return []
    rest = min(given, max(_left(session, row, invoice), ZERO))
    if invoice.status == InvoiceStatus.OPEN and _is_unpaid(session, invoice):
        lowered, rest = _split(session, invoice, rest)
        _lower(session, invoice, Money(lowered, invoice.currency), because)
    if rest == given:
        return lines
    return _shrunk(lines, rest / given, rest, invoice.currency)


def _left(session: Session, row: SubscriptionPeriod, invoice: Invoice) -> Decimal:
    """Return what was asked for a period and not given back yet, by whatever way.

    It went back as a credit, by a credit note or a refund, or a customer's bank has taken it; of
    what was written off it never came.
    """
    left, used = ZERO, ZERO
    for line in lines_of(session, [invoice.id])[invoice.id]:
        if line.kind == LineKind.CREDIT:
            used += max(-line.total, ZERO)
        elif line.total > 0 or (line.period_start or row.starts_at) > row.starts_at:
            left += line.total  # what went back of the period before was paid for with that
    left += _changed(session, row, invoice.currency)
    if used:
        left -= used - customer_credit.used_by(session, invoice)
    gone = refunds.of_invoice(session, invoice.id)
    for payment_id in session.scalars(_payments(invoice.id, SETTLED)):
        gone += disputed_away(session, payment_id)
    too_much = max(-invoice.due.amount, ZERO)
    unpaid = invoice.due.amount if invoice.status == InvoiceStatus.UNCOLLECTIBLE else ZERO
    return left - invoice.amount_credited - max(gone - too_much, ZERO) - unpaid


def _changed(session: Session, row: SubscriptionPeriod, currency: str) -> Decimal:
    """Return what changes in a period have asked for it by now, less what they gave back."""
    session.flush()
    changes = session.scalars(
        select(SubscriptionChange).where(
            SubscriptionChange.subscription_id == row.subscription_id,
            SubscriptionChange.at > row.starts_at,
        )
    )
    lines = (line_of(each) for change in changes for each in change.lines)
    return _total([line for line in lines if line.kind == LineKind.PRORATION], currency)


def _current(session: Session, subscription: Subscription) -> SubscriptionPeriod | None:
    return period_at(session, subscription.id, subscription.current_period_start)


def _is_unpaid(session: Session, invoice: Invoice) -> bool:
    """Whether nothing that is on its way pays the invoice; one that waits for its customer is not.

    What is with the provider is taken to come.
    """
    other = open_of_invoice(session, invoice.id)
    return other is None or session.get_one(Transaction, other).status == Status.REQUIRES_ACTION


def _split(session: Session, invoice: Invoice, given: Decimal) -> tuple[Decimal, Decimal]:
    """Return by how much an open invoice is lowered, and what is then left of what is given back.

    Of an invoice that is credited whole the credit that it used comes back by itself.
    """
    due = invoice.due.amount
    lines = lines_of(session, [invoice.id])[invoice.id]
    used = -sum((line.total for line in lines if line.kind == LineKind.CREDIT), ZERO)
    if invoice.amount_paid or used <= 0 or given < due:
        lowered = min(given, due)
        return lowered, given - lowered
    if given >= due + used:
        return due, given - due - used
    rest = min(used, given)
    return given - rest, rest


def _lower(session: Session, invoice: Invoice, money: Money, because: Cause) -> None:
    if money.amount <= 0:
        return
    if money.amount == invoice.due.amount:
        dunning.clear_schedules(session, invoice.id, because=because.but("nothing is due any more"))
    waiting = open_of_invoice(session, invoice.id)
    if waiting is not None:
        reason = str(CancelReason.NOT_DUE)
        enqueue(session, "payments.cancel", transaction_id=waiting, reason=reason)
    credit_due(session, invoice, money, reason=REASON, because=because)
    billing.close_oversized(session, invoice)
    is_paid = invoice.status == InvoiceStatus.PAID
    announce_invoice(session, "invoice.paid" if is_paid else "invoice.updated", invoice)


def _shrunk(lines: Sequence[Line], part: Decimal, total: Decimal, currency: str) -> list[Line]:
    """Return a part of prorated lines, which together give back `total`."""
    if not total:
        return []
    cent = Decimal(1).scaleb(-decimals(currency))
    kept = [replace(line, unit_amount=(line.unit_amount * part).quantize(cent)) for line in lines]
    # What rounding has left stands on the first.
    missing = -total - _total(kept, currency)
    kept[0] = replace(kept[0], unit_amount=kept[0].unit_amount + missing)
    return kept


def _total(lines: Sequence[Line], currency: str) -> Decimal:
    return sum((price(line, currency).total for line in lines), ZERO)
