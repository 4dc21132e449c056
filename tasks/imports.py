"""Imports, page by page: each page is a task of its own, on a queue that holds nobody else up.

imports.customers   list some customers at the provider, and take them and their methods over
imports.invoices    take over some invoices of a file
imports.sweep       beat's ring: what was left behind goes on, and old files are forgotten

What a page has done, what it refused and where the next one begins are one commit. A dry run takes
the same way, and each thing that it has made is rolled back to where it began.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import imported_invoices, imports
from models.base import turn_to
from models.clock import now
from models.imported_customers import FoundCustomer, KeptMethod, Outcome, take_over
from models.imported_invoices import Companies
from models.imports import (
    Complaint,
    Import,
    ImportFile,
    ImportPage,
    ImportPhase,
    ImportStatus,
    Refused,
)
from models.invoice_rows import Wanted, parse
from models.invoice_sheets import Group
from models.invoices import Invoice, InvoiceStatus
from models.outbox import Owed, OwedStatus
from models.timeline import Cause
from models.tracking import TRACKED
from worker import crash, telemetry
from worker.app import Debt, calling_task, periodic, task
from worker.billing import tell_issued
from worker.database import in_transaction
from worker.events import announce_to
from worker.gateways import gateway_for
from worker.gateways.base import (
    CustomerGateway,
    CustomerPage,
    GatewayError,
    Rejected,
    Unavailable,
)
from worker.settings import settings

PROVIDER = "stripe"
# A page's customers are asked about one by one; what is left of it is the next task's.
PAGE_TIME_S = 15.0
# A provider that tells nothing of when to come again is left alone for so long, then longer.
FIRST_WAIT_S = 5.0
LONGEST_WAIT_S = 600.0
LEFT_BEHIND = timedelta(minutes=10)
GONE = "resource_missing"


@dataclass(frozen=True)
class Asked:
    """What a page of customers needs: where it begins, and in which phase."""

    import_id: UUID
    cursor: str | None
    phase: ImportPhase


def _give_up(session: Session, owed: Owed, error: str) -> None:
    """End an import whose task is dead; begun again it finds what it has done."""
    if owed.status is not OwedStatus.DEAD:
        return
    row = imports.lock(session, UUID(owed.arguments["import_id"]))
    if row is not None and row.is_running:
        imports.end(row, ImportStatus.FAILED, moment=now(), error=error)
        _tell(session, row)


def _claim(session: Session, debt: Debt, *, import_id: str) -> Asked | None:
    row = imports.lock(session, UUID(import_id))
    if row is None or not row.is_running or row.task_id != debt.id:
        debt.end(session)
        return None
    if debt.waits_for(session, PROVIDER):
        row.waiting_for = f"{PROVIDER} does not answer as it should; it goes on by itself."
        row.waiting_until = session.get_one(Owed, debt.id).due_at
        _tell(session, row)
        return None
    row.waiting_until = row.waiting_for = None
    return Asked(row.id, row.cursor, row.phase)


@calling_task("imports.customers", claim=_claim, on_failure=_give_up)
def customers(debt: Debt, asked: Asked) -> None:
    """Take a page of customers over. Safe twice: it only asks, and each has a commit and a cursor.

    A worker that comes late finds that the cursor is not where it has begun, and stops.
    """
    gateway = gateway_for(PROVIDER)
    if not isinstance(gateway, CustomerGateway):
        raise TypeError(f"{PROVIDER} lists no customers")
    try:
        page = gateway.list_customers(after=asked.cursor)
        is_whole = _take_page(gateway, debt, asked, page)
    except Unavailable as error:
        in_transaction(_wait, None, debt, asked.import_id, error)
    except Rejected as error:
        in_transaction(_reject, None, debt, asked, error)
    else:
        is_last = is_whole and page.next_after is None
        in_transaction(_turn, None, debt, asked.import_id, is_last)
        crash.point("imports.turned")


def _take_page(gateway: CustomerGateway, debt: Debt, asked: Asked, page: CustomerPage) -> bool:
    """Take over what there is time for; return whether that was all of the page."""
    until = time.monotonic() + PAGE_TIME_S
    cursor = asked.cursor
    for found in page.customers:
        methods = gateway.list_methods(customer=found.provider_id)
        crash.point("imports.asked")
        is_ours = in_transaction(_keep, None, debt, asked, cursor, found, methods)
        crash.point("imports.kept")
        if not is_ours or time.monotonic() > until:
            return False
        cursor = found.provider_id
    return True


def _keep(
    session: Session,
    debt: Debt,
    asked: Asked,
    cursor: str | None,
    found: FoundCustomer,
    methods: list[KeptMethod],
) -> bool:
    """Take one customer over and remember that; False if somebody else goes on, or nobody."""
    row = imports.lock(session, asked.import_id)
    if row is None or not row.is_running or row.task_id != debt.id:
        return False
    if (row.cursor, row.phase) != (cursor, asked.phase):
        return False
    because = debt.cause(f"import {row.id}")
    row.seen += 1
    row.cursor = found.provider_id
    try:
        with _attempt(session, row):
            outcome = take_over(
                session,
                found,
                methods,
                tenant_id=row.tenant_id,
                user_id=row.asked_by,
                default_currency=settings().default_currency,
                because=because,
            )
    except Refused as refusal:
        row.refused += 1
        imports.refuse(session, row, refusal.complaints, subject=found.provider_id)
    else:
        _count_customer(row, outcome)
    return True


def _count_customer(row: Import, outcome: Outcome) -> None:
    setattr(row, outcome.word, getattr(row, outcome.word) + 1)
    row.methods_made += outcome.methods_made
    row.methods_updated += outcome.methods_updated
    row.methods_skipped += outcome.methods_skipped


class _NotKept(Exception):
    """What was tried and is right is taken back: it was only to be checked."""


def _check_kept(row: Import) -> None:
    if not row.writes:
        raise _NotKept


def _promised(session: Session) -> dict[str, Any]:
    """Return what the commit is to send and to tell, as it is now: a savepoint keeps none of it."""
    tracked = {company: list(told) for company, told in session.info.get(TRACKED, {}).items()}
    announced = dict(session.info.get("announced", {}))
    return {"owed": list(session.info.get("owed", [])), "announced": announced, TRACKED: tracked}


@contextmanager
def _attempt(session: Session, row: Import) -> Iterator[None]:
    """Try one thing: it stays only if it was right and the import writes."""
    promised = _promised(session)
    try:
        with session.begin_nested():
            yield
            session.flush()
            _check_kept(row)
    except _NotKept:
        session.info.update(promised)
    except Refused:
        session.info.update(promised)
        raise
    finally:
        turn_to(session, None, request_id=session.info.get("request_id"))


def _turn(session: Session, debt: Debt, import_id: UUID, is_last: bool) -> None:  # noqa: FBT001
    debt.end(session)
    row = imports.lock(session, import_id)
    if row is None or not row.is_running or row.task_id != debt.id:
        return
    row.pages += 1
    row.waits = 0
    if is_last:
        imports.finish(session, row, moment=now())
    else:
        imports.owe_page(session, row)
    _tell(session, row)


def _wait(session: Session, debt: Debt, import_id: UUID, error: Unavailable) -> None:
    """Go on when the provider wishes, or ever later; what was taken over stays."""
    row = imports.lock(session, import_id)
    if row is None or not row.is_running or row.task_id != debt.id:
        debt.end(session)
        return
    growing_s = min(FIRST_WAIT_S * 2 ** min(row.waits, 10), LONGEST_WAIT_S)
    wait_s = max(error.retry_after_s or 0, growing_s)
    row.waits += 1
    row.waiting_until = now() + timedelta(seconds=wait_s)
    row.waiting_for = f"{PROVIDER}: {error}"
    debt.defer(session, until=row.waiting_until, why=str(error))
    _tell(session, row)


def _reject(session: Session, debt: Debt, asked: Asked, error: GatewayError) -> None:
    """Begin anew where the place is gone; what else is refused is for a person to mend."""
    debt.end(session)
    row = imports.lock(session, asked.import_id)
    if row is None or not row.is_running or row.task_id != debt.id:
        return
    if error.code == GONE and row.cursor is not None:
        # That customer was deleted meanwhile; what is here already is skipped on the way.
        row.cursor = None
        imports.owe_page(session, row)
    else:
        imports.end(row, ImportStatus.FAILED, moment=now(), error=str(error))
    _tell(session, row)


@task("imports.invoices", on_failure=_give_up)
def invoices(session: Session, cause: Cause, *, import_id: str) -> None:
    """Take a page of invoices over. Safe twice: the page and the place are one commit."""
    row = imports.lock(session, UUID(import_id))
    if row is None or not row.is_running or row.task_id != cause.task_id:
        return
    file = session.get(ImportFile, row.file_id) if row.file_id else None
    position = int(row.cursor or 0)
    page = _page_of(session, row, position)
    if file is None or (page is None and position < file.pages) or not file.pages:
        imports.end(
            row, ImportStatus.FAILED, moment=now(), error="The file was forgotten: send it again."
        )
        _tell(session, row)
        return
    if page is not None:
        _take_groups(session, row, file.columns, page.groups, cause)
        row.pages += 1
        row.cursor = str(position + 1)
    crash.point("imports.taken")
    if position + 1 >= file.pages:
        imports.finish(session, row, moment=now())
    else:
        imports.owe_page(session, row)
    _tell(session, row)


def _page_of(session: Session, row: Import, position: int) -> ImportPage | None:
    return session.scalars(
        select(ImportPage).where(ImportPage.file_id == row.file_id, ImportPage.position == position)
    ).one_or_none()


def _take_groups(
    session: Session, row: Import, columns: Sequence[str], groups: Sequence[Group], cause: Cause
) -> None:
    today = now().astimezone(UTC).date()
    counts: Counter[str] = Counter()
    read: list[tuple[Group, Wanted | Refused]] = []
    for group in groups:
        try:
            read.append((group, parse(columns, group, today=today)))
        except Refused as refusal:
            read.append((group, refusal))
    wanted = [each for _, each in read if isinstance(each, Wanted)]
    companies = Companies(session, row.tenant_id, wanted)
    for group, each in read:
        counts["seen"] += 1
        try:
            if isinstance(each, Refused):
                raise each
            counts[_take(session, row, each, companies, cause)] += 1
        except Refused as refusal:
            counts["refused"] += 1
            complaints = _about_lines(refusal.complaints, group)
            imports.refuse(session, row, complaints, subject=_number_of(columns, group))
    for name, number in counts.items():
        setattr(row, name, getattr(row, name) + number)


def _take(session: Session, row: Import, wanted: Wanted, companies: Companies, cause: Cause) -> str:
    """Take one invoice over; return what became of it."""
    company_id = companies.find(wanted)
    because = cause.but(f"import {row.id}, line {wanted.first_line}")
    with _attempt(session, row):
        turn_to(session, company_id, request_id=cause.request_id)
        invoice = imported_invoices.keep(session, row, wanted, company_id, because=because)
        _announce(session, row, invoice)
    return "skipped" if invoice is None else "made"


def _announce(session: Session, row: Import, invoice: Invoice | None) -> None:
    if not (row.announces and row.writes) or invoice is None:
        return
    # What is paid, void or given up nobody is asked to pay.
    if invoice.status is InvoiceStatus.OPEN:
        tell_issued(session, invoice)


def _about_lines(complaints: Sequence[Complaint], group: Group) -> tuple[Complaint, ...]:
    """Return the complaints with one for each line that goes with an invoice refused for others."""
    told = {each.line for each in complaints}
    field = "line"
    rest = [
        Complaint(field, "", "Another line of this invoice was refused.", line)
        for line, _ in group
        if line not in told
    ]
    return (*complaints, *rest)


def _number_of(columns: Sequence[str], group: Group) -> str | None:
    cells = group[0][1]
    return cells[columns.index("number")].strip() or None if cells else None


def _tell(session: Session, row: Import) -> None:
    """Let the tenant's operators see how far it is."""
    announce_to(
        session,
        row.tenant_id,
        "import.progressed",
        import_id=row.id,
        kind=str(row.kind),
        status=str(row.status),
        seen=row.seen,
        total=row.total,
    )
    if not row.is_running:
        telemetry.count("imports.ended", kind=str(row.kind), outcome=str(row.status))


@periodic("imports.sweep")
def sweep() -> None:
    """Go on with what nobody is owed for. Safe in any number of copies: it is owed once."""
    moment = now()
    for import_id in in_transaction(imports.left_behind, None, before=moment - LEFT_BEHIND):
        in_transaction(_owe_again, None, import_id)
    kept = timedelta(seconds=imports.FILE_KEPT_S)
    in_transaction(imports.forget_files, None, before=moment - kept)


def _owe_again(session: Session, import_id: UUID) -> None:
    row = imports.lock(session, import_id)
    if row is None or not row.is_running:
        return
    if row.task_id is None or session.get(Owed, row.task_id) is None:
        imports.owe_page(session, row)
