"""Imports: bringing a tenant's book here from where it was kept before, page by page.

An import is the tenant's. Each page is a task of its own; what it did, what it refused and where
the next one begins are one commit, so that whoever dies in between has lost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CHAR,
    JSON,
    Boolean,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    delete,
    func,
    select,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import PROVIDER_ID, Base, Changing, CompanyOwned, words
from models.ids import new_id
from models.outbox import Owed, enqueue
from models.tenants import Tenant

# Seconds for which a file is kept: long enough for a dry run, its mending and the real run.
FILE_KEPT_S = 30 * 24 * 3600
LONGEST_VALUE = 120
LONGEST_REASON = 300


class ImportKind(StrEnum):
    """What is imported."""

    STRIPE_CUSTOMERS = "stripe_customers"
    INVOICES_CSV = "invoices_csv"


class ImportStatus(StrEnum):
    """Where an import stands. What has ended never goes on; it is begun anew, which is safe."""

    RUNNING = "running"
    DONE = "done"
    REFUSED = "refused"  # something was refused, so that nothing was to be imported
    CANCELED = "canceled"
    FAILED = "failed"


class ImportPhase(StrEnum):
    """A dry run only checks; one that refuses all if any is refused checks before it writes."""

    CHECKING = "checking"
    WRITING = "writing"


TASKS = {
    ImportKind.STRIPE_CUSTOMERS: "imports.customers",
    ImportKind.INVOICES_CSV: "imports.invoices",
}


class ImportFile(Base):
    """A file that was sent: read, its lines grouped into invoices and laid into pages."""

    __tablename__ = "import_files"
    __table_args__ = (Index("idx_import_files_tenant_id", "tenant_id", "id"),)

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"))
    name: Mapped[str | None] = mapped_column(String(255))
    sha256: Mapped[str] = mapped_column(CHAR(64))
    size: Mapped[int] = mapped_column(Integer)  # bytes
    columns: Mapped[list[str]] = mapped_column(JSON)
    lines: Mapped[int] = mapped_column(Integer)
    groups: Mapped[int] = mapped_column(Integer)
    pages: Mapped[int] = mapped_column(Integer)
    sent_by: Mapped[UUID]


class ImportPage(Base):
    """Some invoices of a file: `groups` are their lines, each `[line number, cells or None]`."""

    __tablename__ = "import_pages"
    __table_args__ = (UniqueConstraint("file_id", "position"),)

    file_id: Mapped[UUID] = mapped_column(ForeignKey("import_files.id"))
    position: Mapped[int] = mapped_column(Integer)
    groups: Mapped[list[list[Any]]] = mapped_column(JSON)


class Import(Changing):
    """One import: what was asked for, how far it is, and what became of what it has seen.

    `running_key` is the tenant and the kind while it runs, so that there is one of each.
    """

    __tablename__ = "imports"
    __table_args__ = (
        UniqueConstraint("running_key"),
        UniqueConstraint("tenant_id", "idempotency_key"),
        Index("idx_imports_status", "status", "id"),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenants.id"))
    kind: Mapped[ImportKind] = mapped_column(words(ImportKind))
    status: Mapped[ImportStatus] = mapped_column(words(ImportStatus), default=ImportStatus.RUNNING)
    phase: Mapped[ImportPhase] = mapped_column(words(ImportPhase), default=ImportPhase.WRITING)
    is_dry_run: Mapped[bool] = mapped_column(Boolean, default=False)
    refuses_all: Mapped[bool] = mapped_column(Boolean, default=False)
    announces: Mapped[bool] = mapped_column(Boolean, default=False)
    file_id: Mapped[UUID | None]
    idempotency_key: Mapped[str | None] = mapped_column(String(255, collation="utf8mb4_bin"))
    fingerprint: Mapped[str | None] = mapped_column(CHAR(64))
    running_key: Mapped[str | None] = mapped_column(String(80))
    # The last customer that is done, or the number of pages that are; NULL at the beginning.
    cursor: Mapped[str | None] = mapped_column(PROVIDER_ID)
    total: Mapped[int | None] = mapped_column(Integer)
    pages: Mapped[int] = mapped_column(Integer, default=0)
    seen: Mapped[int] = mapped_column(Integer, default=0)
    made: Mapped[int] = mapped_column(Integer, default=0)
    updated: Mapped[int] = mapped_column(Integer, default=0)
    skipped: Mapped[int] = mapped_column(Integer, default=0)
    refused: Mapped[int] = mapped_column(Integer, default=0)
    refusals: Mapped[int] = mapped_column(Integer, default=0)
    methods_made: Mapped[int] = mapped_column(Integer, default=0)
    methods_updated: Mapped[int] = mapped_column(Integer, default=0)
    methods_skipped: Mapped[int] = mapped_column(Integer, default=0)
    waiting_until: Mapped[datetime | None]
    waiting_for: Mapped[str | None] = mapped_column(Text)
    waits: Mapped[int] = mapped_column(Integer, default=0)  # in a row, without a page between
    task_id: Mapped[UUID | None]  # what is owed for the next page
    asked_by: Mapped[UUID]
    error: Mapped[str | None] = mapped_column(Text)
    finished_at: Mapped[datetime | None]

    @property
    def is_running(self) -> bool:
        """Whether more of it is to come."""
        return self.status == ImportStatus.RUNNING

    @property
    def writes(self) -> bool:
        """Whether what is found right is kept; else it is only checked."""
        return self.phase == ImportPhase.WRITING


class ImportRefusal(Base):
    """One thing that was not imported and why: a line of a file, or a customer at a provider."""

    __tablename__ = "import_refusals"
    __table_args__ = (Index("idx_import_refusals_import_id", "import_id", "id"),)

    import_id: Mapped[UUID] = mapped_column(ForeignKey("imports.id"))
    line: Mapped[int | None] = mapped_column(Integer)
    subject: Mapped[str | None] = mapped_column(String(100))  # an invoice's number, a customer's id
    field: Mapped[str] = mapped_column(String(40))
    value: Mapped[str] = mapped_column(String(LONGEST_VALUE))
    reason: Mapped[str] = mapped_column(String(LONGEST_REASON))


class ImportedInvoice(CompanyOwned):
    """What an invoice was elsewhere: its number there and what was paid there, not to us.

    `content` is what the file said of it: the same again changes nothing, another is refused.
    """

    __tablename__ = "imported_invoices"
    __table_args__ = (
        UniqueConstraint("invoice_id"),
        UniqueConstraint("company_id", "foreign_number"),
    )

    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoices.id"))
    import_id: Mapped[UUID]
    foreign_number: Mapped[str] = mapped_column(String(40))
    paid_before: Mapped[Decimal] = mapped_column(default=Decimal(0))
    content: Mapped[dict[str, Any]] = mapped_column(JSON)


@dataclass(frozen=True, slots=True)
class Complaint:
    """Why something is refused: in which column, what stood there, and a sentence."""

    field: str
    value: str
    reason: str
    line: int | None = None


class Refused(Exception):
    """Something of an import cannot be taken; the complaints say why to a person."""

    def __init__(self, *complaints: Complaint) -> None:
        self.complaints = complaints
        super().__init__("; ".join(each.reason for each in complaints))


def running_key(tenant_id: UUID, kind: ImportKind) -> str:
    """Return what one import of a kind holds while it runs."""
    return f"{tenant_id}:{kind}"


def begin(  # noqa: PLR0913  what may be asked for
    session: Session,
    *,
    tenant_id: UUID,
    kind: ImportKind,
    asked_by: UUID,
    is_dry_run: bool = False,
    refuses_all: bool = False,
    announces: bool = False,
    file: ImportFile | None = None,
    idempotency_key: str | None = None,
    fingerprint: str | None = None,
) -> Import:
    """Begin an import and owe its first page.

    Raises:
        IntegrityError: the tenant has one of the kind running, or has used the key.
    """
    row = Import(
        id=new_id(),
        tenant_id=tenant_id,
        kind=kind,
        status=ImportStatus.RUNNING,
        phase=ImportPhase.CHECKING if is_dry_run or refuses_all else ImportPhase.WRITING,
        is_dry_run=is_dry_run,
        refuses_all=refuses_all,
        announces=announces,
        file_id=file.id if file else None,
        total=file.groups if file else None,
        running_key=running_key(tenant_id, kind),
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
        asked_by=asked_by,
    )
    for name in COUNTS:
        setattr(row, name, 0)
    session.add(row)
    session.flush()
    owe_page(session, row)
    return row


COUNTS = (
    *("pages", "seen", "made", "updated", "skipped", "refused", "refusals", "waits"),
    *("methods_made", "methods_updated", "methods_skipped"),
)


def owe_page(session: Session, row: Import) -> None:
    """Owe the next page of a locked import."""
    row.task_id = enqueue(session, TASKS[row.kind], import_id=row.id).id


def lock(session: Session, import_id: UUID) -> Import | None:
    """Return an import, locked until the commit."""
    return session.scalars(
        select(Import)
        .where(Import.id == import_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()


def end(row: Import, status: ImportStatus, *, moment: datetime, error: str | None = None) -> None:
    """End a locked import; another of its kind may be begun from now on."""
    if not (row.writes or row.is_dry_run):
        _count_as_skipped(row)
    row.status, row.error, row.finished_at = status, error, moment
    row.running_key = row.task_id = row.waiting_until = row.waiting_for = None


def _count_as_skipped(row: Import) -> None:
    """Count what was found right, and never written, as what was left out."""
    row.skipped += row.made + row.updated
    row.methods_skipped += row.methods_made + row.methods_updated
    row.made = row.updated = row.methods_made = row.methods_updated = 0


def finish(session: Session, row: Import, *, moment: datetime) -> None:
    """End a locked import that has seen everything, or let it write what it found right."""
    if row.writes or row.is_dry_run:
        end(row, ImportStatus.DONE, moment=moment)
    elif row.refused:
        end(row, ImportStatus.REFUSED, moment=moment)
    else:
        row.phase, row.cursor = ImportPhase.WRITING, None
        for name in COUNTS:
            setattr(row, name, 0)
        owe_page(session, row)


def refuse(
    session: Session, row: Import, complaints: tuple[Complaint, ...], *, subject: str | None
) -> None:
    """Keep why something was refused, for the report."""
    row.refusals += len(complaints)
    session.add_all(
        ImportRefusal(
            id=new_id(),
            import_id=row.id,
            line=each.line,
            subject=shortened(subject, 100) if subject else None,
            field=each.field[:40],
            value=shortened(each.value, LONGEST_VALUE),
            reason=shortened(each.reason, LONGEST_REASON),
        )
        for each in complaints
    )


def shortened(value: str, most: int) -> str:
    """Return a value as a report shows it: in one line, and not too long."""
    told = "".join(each if each.isprintable() else " " for each in value)
    return told if len(told) <= most else f"{told[: most - 1]}…"


def left_behind(session: Session, *, before: datetime, limit: int = 100) -> list[UUID]:
    """Return imports that run and have nothing owed for them, which nobody would go on with."""
    query = (
        select(Import.id)
        .outerjoin(Owed, Owed.id == Import.task_id)
        .where(
            Import.status == ImportStatus.RUNNING,
            Import.updated_at < before,
            Owed.id.is_(None),
        )
        .limit(limit)
    )
    return list(session.scalars(query))


def forget_files(session: Session, *, before: datetime, limit: int = 20) -> int:
    """Forget the lines of files that were sent before, but for those that an import reads."""
    read = select(Import.file_id).where(
        Import.status == ImportStatus.RUNNING, Import.file_id.is_not(None)
    )
    old = list(
        session.scalars(
            select(ImportFile.id)
            .where(ImportFile.created_at < before, ImportFile.pages > 0, ~ImportFile.id.in_(read))
            .limit(limit)
        )
    )
    for file_id in old:
        session.execute(delete(ImportPage).where(ImportPage.file_id == file_id))
        session.get_one(ImportFile, file_id).pages = 0
    return len(old)


def may_ask_provider(session: Session, tenant_id: UUID) -> bool:
    """Whether a tenant may list what the installation's account at a provider holds.

    There is one account: whoever is not alone here would see others' customers in it.
    """
    if session.get_one(Tenant, tenant_id).is_platform:
        return True
    return session.scalar(select(func.count(Tenant.id))) == 1
