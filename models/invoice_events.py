"""What becomes of an invoice, as our own events tell it."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from models.clock import now
from models.money import Money
from models.tracking import track

if TYPE_CHECKING:
    from models.invoices import Invoice

_DAY_S = 86400


def track_invoice(session: Session, name: str, invoice: Invoice) -> None:
    """Track what an invoice has become.

    It is issued and voided once; it may be paid, reopened and paid again, and so given up.
    """
    is_once = name in ("invoice.issued", "invoice.voided")
    is_paid = name == "invoice.paid"
    amount = invoice.due.amount if name == "invoice.uncollectible" else invoice.amount
    track(
        session,
        name,
        invoice,
        number=None if is_once else invoice.version,
        money=Money(amount, invoice.currency),
        quantity=_days_since_issue(invoice) if is_paid else None,
    )


def _days_since_issue(invoice: Invoice) -> Decimal:
    moment = now()
    waited = moment - (invoice.issued_at or moment)
    return Decimal(waited.total_seconds()) / _DAY_S
