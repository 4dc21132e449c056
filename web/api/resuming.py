"""Whether the customer can go on with a payment in the browser, as payments and dunning show it."""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from models import dunning
from models.dunning import Resuming
from models.invoices import Invoice
from models.transactions import Provider, Transaction
from web.schemas import Moment
from worker.settings import settings


class ResumeShown(BaseModel):
    """Whether `POST …/resume` hands out what the customer goes on with, as far as is known here."""

    is_possible: bool
    why_not: str | None
    until: Moment | None = Field(
        description="When it is given up, or the provider may have forgotten it; null for no date."
    )


def resume_of(session: Session, payment: Transaction) -> Resuming:
    """Return whether a payment can be gone on with. The provider is not asked."""
    if payment.payment_method == Provider.PAYPAL and not settings().has_paypal:
        return Resuming("PayPal is not set up here any more.")
    invoice = session.get_one(Invoice, payment.invoice_id)
    abandon_after = timedelta(seconds=settings().abandon_after_s)
    return dunning.resuming(session, payment, invoice, abandon_after=abandon_after)


def shown(found: Resuming) -> dict[str, object]:
    """Return it as a `ResumeShown`."""
    is_possible = found.why_not is None
    return {"is_possible": is_possible, "why_not": found.why_not, "until": found.until}
