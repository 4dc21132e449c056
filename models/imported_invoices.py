"""Invoices that were issued elsewhere: kept under their own numbers, billed and paid before us.

The ledger's account of them is the opening balance: what they add to what companies owe stands
against `opening` and is no revenue, and what was paid of them elsewhere is no money of ours. From
then on they are paid, credited, given up and void as any.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from datetime import UTC, date, datetime, time
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models import invoices, ledger
from models.base import across_companies
from models.imports import Complaint, Import, ImportedInvoice, Refused
from models.invoice_rows import Wanted
from models.invoices import Invoice, InvoiceStatus
from models.ledger import Account
from models.methods import ProviderCustomer
from models.money import Money
from models.tenants import Company
from models.timeline import Cause

BECAUSE = "an import is of all the companies of a tenant"
# Our own series; a foreign number of this form would stand in its way.
_OURS = re.compile(r"INV-[0-9]+", re.IGNORECASE)
MARK = "IMP-"


class Companies:
    """The companies that a page names, as far as they are the tenant's."""

    def __init__(self, session: Session, tenant_id: UUID, wanted: Iterable[Wanted]) -> None:
        several = list(wanted)
        ids = {each.company_id for each in several if each.company_id is not None}
        customers = {each.customer_id for each in several if each.customer_id}
        ours = select(Company.id).where(Company.tenant_id == tenant_id)
        self._ids = set(session.scalars(ours.where(Company.id.in_(ids)))) if ids else set()
        self._customers = _of_customers(session, tenant_id, customers) if customers else {}

    def find(self, wanted: Wanted) -> UUID:
        """Return whose an invoice is.

        Raises:
            Refused: nobody's of the tenant's, or the two ids are not of the same company.
        """
        known = self._customers.get(wanted.customer_id)
        if wanted.customer_id and known is None:
            told = "No company of yours is this customer; import the customers first."
            raise Refused(Complaint("customer_id", wanted.customer_id, told, wanted.first_line))
        if wanted.company_id is None:
            assert known is not None  # noqa: S101  one of the two is always given
            return known
        if wanted.company_id not in self._ids:
            told = "You have no such company."
            named = str(wanted.company_id)
            raise Refused(Complaint("company_id", named, told, wanted.first_line))
        if known not in (None, wanted.company_id):
            told = "The customer_id is that of another company than the company_id."
            raise Refused(Complaint("customer_id", wanted.customer_id, told, wanted.first_line))
        return wanted.company_id


def _of_customers(session: Session, tenant_id: UUID, customers: Collection[str]) -> dict[str, UUID]:
    rows = session.execute(
        across_companies(
            select(ProviderCustomer.provider_id, ProviderCustomer.company_id)
            .join(Company, Company.id == ProviderCustomer.company_id)
            .where(
                ProviderCustomer.provider_id.in_(sorted(customers)),
                Company.tenant_id == tenant_id,
            ),
            because=BECAUSE,
        )
    )
    return {provider_id: company_id for provider_id, company_id in rows if provider_id}


def number_here(foreign: str) -> str:
    """Return the number that an invoice has here: its own, unless our own series may reach it."""
    return f"{MARK}{foreign}" if _OURS.fullmatch(foreign) else foreign


def keep(
    session: Session, row: Import, wanted: Wanted, company_id: UUID, *, because: Cause
) -> Invoice | None:
    """Make an invoice of the session's company; None if the same is here already.

    Raises:
        Refused: another one has its number.
    """
    known = session.scalars(
        select(ImportedInvoice).where(ImportedInvoice.foreign_number == wanted.number)
    ).one_or_none()
    content = wanted.content()
    if known is not None:
        _check_same(known.content, content, wanted)
        return None
    try:
        with session.begin_nested():
            return _make(session, row, wanted, company_id, content, because)
    except IntegrityError:
        told = "The company has an invoice of this number that was not imported."
        raise Refused(Complaint("number", wanted.number, told, wanted.first_line)) from None


def _check_same(known: dict[str, object], told: dict[str, object], wanted: Wanted) -> None:
    changed = [name for name, value in told.items() if known.get(name) != value]
    if changed:
        reason = (
            "An invoice of this number is here already, and this one differs in "
            f"{', '.join(changed)}. What is here is not changed by an import."
        )
        raise Refused(Complaint("number", wanted.number, reason, wanted.first_line))


def _make(
    session: Session,
    row: Import,
    wanted: Wanted,
    company_id: UUID,
    content: dict[str, object],
    because: Cause,
) -> Invoice:
    invoice = invoices.draft(
        session,
        company_id,
        currency=wanted.currency,
        lines=wanted.lines,
        due_on=wanted.due_on,
        memo=wanted.memo,
    )
    session.add(
        ImportedInvoice(
            company_id=company_id,
            invoice_id=invoice.id,
            import_id=row.id,
            foreign_number=wanted.number,
            paid_before=wanted.amount_paid,
            content=content,
        )
    )
    invoice.number = number_here(wanted.number)
    invoice.issued_at = _moment(wanted.issued_on)
    invoice.billed_to = invoices.snapshot(session, company_id)
    why = because.but(f"imported as {invoice.number}")
    invoice.move_to(InvoiceStatus.OPEN, because=why)
    if wanted.status == InvoiceStatus.VOID:
        # It was taken back before us: nothing of it ever stood in this book.
        invoice.move_to(InvoiceStatus.VOID, because=why)
    else:
        _open(session, invoice, wanted, why)
    session.flush()
    return invoice


def _open(session: Session, invoice: Invoice, wanted: Wanted, because: Cause) -> None:
    """Enter what it adds to what the company owes, and what was paid elsewhere."""
    invoices.bill(session, invoice)
    _post(session, invoice, "imported-invoice", Account.REVENUE, Account.OPENING, invoice.due)
    if wanted.amount_paid:
        paid = Money(wanted.amount_paid, invoice.currency)
        _post(session, invoice, "imported-payment", Account.OPENING, Account.RECEIVABLE, paid)
        if invoices.credit(session, invoice, paid, because=because.but("paid elsewhere")):
            invoice.paid_at = _moment(wanted.paid_on or wanted.issued_on)
    if wanted.status == InvoiceStatus.UNCOLLECTIBLE:
        invoices.write_off(session, invoice, because=because.but("given up elsewhere"))


def _post(
    session: Session,
    invoice: Invoice,
    name: str,
    debit: Account,
    credit: Account,
    money: Money,
) -> None:
    ledger.post(
        session,
        f"{name}:{invoice.id}",
        company_id=invoice.company_id,
        debit=debit,
        credit=credit,
        money=money,
        invoice_id=invoice.id,
    )


def _moment(day: date) -> datetime:
    """Return the day's noon in UTC: in most zones it is the same day."""
    return datetime.combine(day, time(12), UTC)
