"""One object once more, on both sides: what is asked before a break is opened or closed."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.orm import Session

from models.base import across_companies
from models.breaks import BreakStatus, Finding, ReconciliationBreak, agree, keep
from models.reconciliations import LAG, ReconciliationRun
from models.refunds import Refund
from models.tenants import Company
from models.transactions import Provider, Transaction
from worker.gateways.books import Entry, Subject
from worker.reconciling.ours import WHY, Row, by_object_id, heard_at, owners
from worker.reconciling.rules import Case, Ours, fresh_after, judge


def settle(
    session: Session,
    run: ReconciliationRun,
    subject: Subject,
    object_id: str,
    theirs: Entry | None,
    *,
    moment: datetime,
) -> tuple[int, int, int]:
    """Judge an object by what the provider says now; keep its breaks, close those that are gone.

    Returns:
        How many breaks it has, and how many of them were opened and how many closed.
    """
    findings = findings_of(session, run.provider, subject, object_id, theirs, moment=moment)
    opened = sum(_keep(session, run, finding, moment) for finding in findings)
    kinds = {finding.kind for finding in findings}
    closed = 0
    for row in _others(session, run, subject, object_id):
        if row.kind not in kinds and row.status != BreakStatus.RESOLVED:
            agree(row, moment=moment)
            closed += 1
    return len(findings), opened, closed


def findings_of(
    session: Session,
    provider: Provider,
    subject: Subject,
    object_id: str,
    theirs: Entry | None,
    *,
    moment: datetime,
) -> list[Finding]:
    """Return what does not agree about an object by now, without keeping it."""
    return judge(_case(session, provider, subject, object_id, theirs, moment=moment))


def _keep(session: Session, run: ReconciliationRun, finding: Finding, moment: datetime) -> bool:
    return keep(
        session,
        finding,
        provider=run.provider,
        account=run.account,
        run_id=run.id,
        moment=moment,
    )


def _others(
    session: Session, run: ReconciliationRun, subject: Subject, object_id: str
) -> list[ReconciliationBreak]:
    query = select(ReconciliationBreak).where(
        ReconciliationBreak.provider == run.provider,
        ReconciliationBreak.account == run.account,
        ReconciliationBreak.object_id == object_id,
        ReconciliationBreak.subject == subject.value,
    )
    return list(session.scalars(query.with_for_update()))


def _case(
    session: Session,
    provider: Provider,
    subject: Subject,
    object_id: str,
    theirs: Entry | None,
    *,
    moment: datetime,
) -> Case:
    row = by_object_id(session, subject, provider, [object_id]).get(object_id)
    customer = theirs.customer if theirs is not None else ""
    owner = owners(session, provider, [customer]).get(customer) if customer else None
    told = _id(theirs.company) if theirs is not None else None
    if told is not None and session.get(Company, told) is None:
        told = None
    return Case(
        subject=subject,
        object_id=object_id,
        theirs=theirs,
        ours=_ours(session, provider, subject, row, theirs),
        owner=UUID(owner) if owner else None,
        told_company=told,
        fresh_after=fresh_after(moment, LAG[provider]),
    )


def _ours(
    session: Session, provider: Provider, subject: Subject, row: Row | None, theirs: Entry | None
) -> Ours | None:
    """Return our row of an object, or the payment that the object says that it belongs to."""
    if row is not None and subject is not Subject.CHARGE:
        return _of_row(session, subject, row)
    if subject in (Subject.CUSTOMER, Subject.METHOD):
        return None
    if row is not None:
        return _of_payment(_one(session, Transaction.id == UUID(row[1])), is_of_it=True)
    return _of_payment(_told_payment(session, provider, theirs), is_of_it=False)


def _told_payment(session: Session, provider: Provider, theirs: Entry | None) -> Transaction | None:
    """Return the payment that an object names: by our id in it, by its intent or by its charge."""
    if theirs is None:
        return None
    told = _id(theirs.transaction)
    ways: list[Any] = []
    if told is not None:
        ways.append(Transaction.id == told)
    if theirs.intent:
        ways.append(Transaction.provider_transaction_id == theirs.intent)
    if theirs.of:
        ways.append(Transaction.payment_processor_id == theirs.of)
    for way in ways:
        found = _one(session, and_(way, Transaction.payment_method == provider))
        if found is not None:
            return found
    return None


def _one(session: Session, way: ColumnElement[bool]) -> Transaction | None:
    query = select(Transaction).where(way).limit(1)
    query = query.execution_options(populate_existing=True)
    return session.scalars(across_companies(query, because=WHY)).one_or_none()


def _of_payment(payment: Transaction | None, *, is_of_it: bool) -> Ours | None:
    if payment is None:
        return None
    return Ours(
        id=payment.id,
        company_id=payment.company_id,
        cents=int(payment.amount * 100),
        currency=payment.currency,
        status=payment.status.value,
        at=payment.charged_at or payment.created_at,
        is_of_it=is_of_it,
        transaction_id=payment.id,
        charge_id=payment.payment_processor_id,
        intent_id=payment.provider_transaction_id,
    )


def _of_row(session: Session, subject: Subject, row: Row) -> Ours:
    payment_id = None
    if subject is Subject.REFUND:
        query = select(Refund.transaction_id).where(Refund.id == UUID(row[1]))
        payment_id = session.scalar(across_companies(query, because=WHY))
    return Ours(
        id=UUID(row[1]),
        company_id=UUID(row[2]),
        cents=int(row[3]),
        currency=row[4],
        status=row[5],
        at=heard_at(row),
        is_of_it=True,
        transaction_id=payment_id,
    )


def _id(text: str) -> UUID | None:
    """Return what may be an id of ours; anybody may write anything into an object's metadata."""
    try:
        return UUID(text)
    except ValueError:
        return None
