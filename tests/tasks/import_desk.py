"""A tenant's operator who imports: tasks run in this process, at a stand-in for Stripe."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text

from models import import_files, imports, invariants
from models.base import across_companies
from models.imports import Import, ImportKind, ImportRefusal
from models.invoices import Invoice
from models.ledger import LedgerEntry
from models.outbox import Owed, OwedStatus
from models.tables import METADATA
from models.tenants import Tenant
from tests.bell import ring
from tests.factories import Customer, make_company
from worker.database import transaction

HEADER = {
    "number": "",
    "company_id": "",
    "currency": "EUR",
    "issued_on": "2026-01-31",
    "status": "open",
    "unit_amount": "10.00",
}
# An import and what it tells of itself may be written by a dry run, and nothing else.
OF_IMPORTS = {"imports", "import_refusals", "import_files", "import_pages", "outbox"}


@dataclass
class Desk:
    """One tenant with one company."""

    customer: Customer = field(default_factory=make_company)

    @property
    def company_id(self) -> UUID:
        return self.customer.company_id

    def set_platform(self, *, is_platform: bool) -> None:
        with transaction() as session:
            session.get_one(Tenant, self.customer.tenant_id).is_platform = is_platform

    def file(self, raw: bytes | str) -> UUID:
        body = raw.encode() if isinstance(raw, str) else raw
        with transaction() as session:
            return import_files.keep(
                session, body, tenant_id=self.customer.tenant_id, sent_by=self.customer.user_id
            ).id

    def begin(self, kind: ImportKind, file_id: UUID | None = None, **asked: Any) -> UUID:
        with transaction() as session:
            file = session.get(imports.ImportFile, file_id) if file_id else None
            return imports.begin(
                session,
                tenant_id=self.customer.tenant_id,
                kind=kind,
                asked_by=self.customer.user_id,
                file=file,
                **asked,
            ).id

    def import_csv(self, raw: bytes | str, **asked: Any) -> Import:
        import_id = self.begin(ImportKind.INVOICES_CSV, self.file(raw), **asked)
        self.work(import_id)
        return self.found(import_id)

    def import_customers(self, **asked: Any) -> Import:
        import_id = self.begin(ImportKind.STRIPE_CUSTOMERS, **asked)
        self.work(import_id)
        return self.found(import_id)

    def found(self, import_id: UUID) -> Import:
        with transaction() as session:
            return session.get_one(Import, import_id)

    def owed(self, import_id: UUID) -> list[Owed]:
        with transaction() as session:
            row = session.get_one(Import, import_id)
            owed = session.get(Owed, row.task_id) if row.task_id else None
            return [owed] if owed and owed.status == OwedStatus.OWED else []

    def work(self, import_id: UUID, *, but: Collection[UUID] = ()) -> None:
        """Run its pages until nothing new is owed."""
        done = set(but)
        while due := [owed for owed in self.owed(import_id) if owed.id not in done]:
            for owed in due:
                ring(owed.task, owed.id)
                done.add(owed.id)

    def refusals(self, import_id: UUID) -> list[ImportRefusal]:
        with transaction() as session:
            query = select(ImportRefusal).where(ImportRefusal.import_id == import_id)
            return list(session.scalars(query.order_by(ImportRefusal.id)))

    def invoices(self, company_id: UUID | None = None) -> list[Invoice]:
        with transaction(company_id=company_id or self.company_id) as session:
            return list(session.scalars(select(Invoice).order_by(Invoice.id)))

    def ledger(self) -> dict[str, str]:
        """The company's accounts that are not zero."""
        with transaction(company_id=self.company_id) as session:
            rows = session.execute(
                select(LedgerEntry.account, func.sum(LedgerEntry.amount)).group_by(
                    LedgerEntry.account
                )
            )
            return {str(account): f"{total:.2f}" for account, total in rows if total}

    def rows(self) -> dict[str, int]:
        """How many rows each table of the tenant's companies has."""
        counts = {}
        with transaction() as session:
            for table in METADATA.sorted_tables:
                if table.name in OF_IMPORTS:
                    continue
                if "company_id" in table.c:
                    where = (
                        " WHERE company_id IN (SELECT id FROM companies WHERE tenant_id = :tenant)"
                    )
                elif "tenant_id" in table.c:
                    where = " WHERE tenant_id = :tenant"
                else:
                    continue
                query = text(f"SELECT COUNT(*) FROM {table.name}{where}")
                counts[table.name] = session.execute(
                    across_companies(query, because="a test counts"),
                    {"tenant": self.customer.tenant_id.bytes},
                ).scalar_one()
        return counts

    def broken(self) -> list[Any]:
        """What the invariants say of what is this tenant's."""
        ours = {str(invoice.id) for invoice in self.invoices()} | {str(self.company_id)}
        with transaction() as session:
            found = invariants.check(session, limit=1_000_000)
        return [each for each in found if any(name in str(each) for name in ours)]


def csv_of(desk: Desk, *more: dict[str, str], **cells: str) -> str:
    """A file of one line, or of one for each of `more`."""
    rows = [
        {**HEADER, "company_id": str(desk.company_id), **cells, **each} for each in more or ({},)
    ]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    told = io.StringIO()
    csv.DictWriter(told, columns, restval="").writerows([{name: name for name in columns}, *rows])
    return told.getvalue()
