"""Breaks that are safe to mend, by the handlers that webhooks use.

repairs.begin   a run has ended: owe a try for each safe break that it has seen
repairs.mend    look up what a break is about, and believe it
repairs.tell    tell people, if more than a little waits for them

The provider is only ever asked. What is so still after the handler has run stays open, and says
why; a person sees to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import repairs
from models.alerts import Severity
from models.base import across_companies, turn_to
from models.break_totals import Waiting, waiting_of
from models.breaks import ReconciliationBreak
from models.clock import now
from models.disputes import CLOSED_DISPUTE
from models.imported_customers import FoundCustomer, own_customer
from models.imports import Refused
from models.outbox import Owed, OwedStatus, enqueue
from models.reconciliations import ReconciliationRun
from models.repairs import Way, is_repairable, way_of
from models.tenants import Company
from models.timeline import Cause
from models.transactions import PaymentAttempt, Provider, Transaction, lock_existing
from models.wallet import hold
from tasks import disputes, refunds, settlement
from tasks.dispute_states import apply, locked
from tasks.handover import patiently
from worker import telemetry
from worker.alerts import alert, resolve
from worker.app import Debt, calling_task, task
from worker.database import in_transaction
from worker.gateways import disputes_at, gateway_for
from worker.gateways.base import DisputeAnswer, Intent, IntentStatus, RefundAnswer, Rejected
from worker.gateways.books import Entry, Subject, book_of
from worker.reconciling.looking import findings_of
from worker.settings import settings

BREAKS = "reconciliation_breaks"
WHY = "a break tells whose it is only by what it is about"

Told = Intent | list[RefundAnswer] | DisputeAnswer | None


class _CannotMend(Exception):
    """Nothing of ours can be brought to what the provider says; the message tells a person why."""


@dataclass(frozen=True)
class Job:
    """A break that is safe to mend, as it was when it was taken."""

    break_id: UUID
    way: Way
    provider: Provider
    subject: Subject
    object_id: str
    intent_id: str
    dispute_version: int | None = None


@task("repairs.begin")
def begin(session: Session, cause: Cause, *, run_id: str, after: str | None = None) -> None:  # noqa: ARG001
    """Owe a try for each safe break of a run, a page at a time. Safe twice: so are the tries."""
    last = repairs.owe_page(session, UUID(run_id), UUID(after) if after else None)
    if last is not None:
        enqueue(session, "repairs.begin", run_id=run_id, after=last)
    else:
        enqueue(session, "repairs.tell", run_id=run_id)


@task("repairs.tell")
def tell(session: Session, cause: Cause, *, run_id: str) -> None:  # noqa: ARG001  the signature's
    """Tell people of what waits for them. Safe twice: an alert is open once, a letter is one."""
    run = session.get_one(ReconciliationRun, UUID(run_id))
    given, found = settings(), waiting_of(session, run.id)
    key = f"{BREAKS}:{run.provider}:{run.account}"
    limits = {
        "breaks": given.reconciliation_alert_breaks,
        "amount": given.reconciliation_alert_amount,
    }
    if not found.is_much(**limits):
        resolve(session, key, why="Less than the threshold waits for a person.")
        return
    raised = alert(
        session,
        BREAKS,
        severity=Severity.CRITICAL,  # so that Sentry hears of it too
        open_key=key,
        message=f"{found.count} breaks with {run.provider} wait for a person "
        f"({found.told_sums or 'no sums'}): see the run and its breaks.",
        detail={"run_id": str(run.id), "count": found.count, "sums": found.told_sums},
    )
    if raised is not None:
        _write(session, run, found)


def _write(session: Session, run: ReconciliationRun, found: Waiting) -> None:
    """Owe the letter to the people of the company that is named for it, if there is one."""
    named = settings().reconciliation_mail_company
    if not named or session.get(Company, UUID(named)) is None:
        return
    enqueue(
        session,
        "notifications.notify",
        company_id=UUID(named),
        template=BREAKS,
        subject="reconciliation_run",
        subject_id=run.id,
        number=0,
        told={
            "provider": str(run.provider).title(),
            "count": found.count,
            "sums": found.told_sums or "0",
            "run_id": str(run.id),
        },
    )


def _give_up(session: Session, owed: Owed, error: str) -> None:
    if owed.status is not OwedStatus.DEAD:
        return
    row = repairs.lock(session, UUID(owed.arguments["break_id"]))
    if row is not None:
        row.repair_error = error
        _tell_again(session, row)


def _claim(session: Session, debt: Debt, *, break_id: str) -> Job | None:
    row = session.get(ReconciliationBreak, UUID(break_id))
    if row is None or not is_repairable(row):
        debt.end(session)
        return None
    if debt.waits_for(session, row.provider):
        return None
    payment_id = _payment_of(session, row.provider, row.transaction_id, repairs.intent_of(row))
    way = way_of(row)
    assert way is not None  # noqa: S101  it is repairable
    intent_id = repairs.intent_of(row)
    version = None
    if payment_id is not None:
        payment = session.scalars(
            across_companies(select(Transaction).where(Transaction.id == payment_id), because=WHY)
        ).one()
        if way is Way.REFUNDS or not intent_id:
            intent_id = payment.provider_transaction_id or intent_id
        if way is Way.DISPUTE:
            turn_to(session, payment.company_id, request_id=debt.request_id)
            known = locked(session, payment, row.object_id)
            version = known.version if known is not None else None
    return Job(row.id, way, row.provider, Subject(row.subject), row.object_id, intent_id, version)


def _payment_of(
    session: Session, provider: Provider, transaction_id: UUID | None, intent_id: str
) -> UUID | None:
    """Return the payment that a break is about: as it says, else the one that made the intent."""
    if transaction_id is not None:
        wanted = select(Transaction.id).where(
            Transaction.id == transaction_id, Transaction.payment_method == provider
        )
        if (found := session.scalar(across_companies(wanted, because=WHY))) is not None:
            return found
    if not intent_id:
        return None
    tried = (
        select(PaymentAttempt.transaction_id)
        .where(PaymentAttempt.provider == str(provider), PaymentAttempt.provider_id == intent_id)
        .limit(1)
    )
    return session.scalar(across_companies(tried, because=WHY))


@calling_task("repairs.mend", claim=_claim, on_failure=_give_up)
def mend(debt: Debt, job: Job) -> None:
    """Look up what a break is about, and believe it. Safe twice: what is so already stays so."""
    try:
        with patiently():
            told = _ask(job)
            theirs = book_of(job.provider).one(job.subject, job.object_id)
        in_transaction(_record, None, debt, job, told, theirs)
    except (Rejected, Refused, _CannotMend) as error:
        in_transaction(_leave_open, None, debt, job, str(error))


def _ask(job: Job) -> Told:
    """Return what the provider has of it; it is asked by GET alone."""
    if job.way is Way.PAYMENT:
        return gateway_for(job.provider).retrieve(job.intent_id)
    if job.way is Way.REFUNDS:
        return gateway_for(job.provider).find_refunds(provider_id=job.intent_id)
    if job.way is Way.DISPUTE:
        return disputes_at(job.provider).retrieve_dispute(job.object_id)
    return None


def _record(session: Session, debt: Debt, job: Job, told: Told, theirs: Entry | None) -> None:
    debt.end(session)
    cause = debt.cause("reconciliation found it behind")
    if job.way is Way.CUSTOMER:
        _link(session, debt, job, theirs)
    else:
        _believe(session, debt, job, told, cause)
    session.flush()
    row = repairs.lock(session, job.break_id)
    if row is None or not is_repairable(row):
        return
    moment = now()
    kinds = {
        finding.kind
        for finding in findings_of(
            session, job.provider, job.subject, job.object_id, theirs, moment=moment
        )
    }
    if row.kind in kinds:
        row.repair_error = "The provider was asked and believed, and both sides still differ."
        _tell_again(session, row)
        telemetry.count("reconciliations.repaired", way=str(job.way), outcome="open")
        return
    repairs.mended(row, moment=moment)
    telemetry.count("reconciliations.repaired", way=str(job.way), outcome="repaired")


def _believe(session: Session, debt: Debt, job: Job, told: Told, cause: Cause) -> None:
    """Hand what the provider has told to the handlers of its events."""
    row = session.get_one(ReconciliationBreak, job.break_id)
    payment_id = _payment_of(session, job.provider, row.transaction_id, job.intent_id)
    if payment_id is None and isinstance(told, Intent):
        payment_id = _named_in(session, told)
    if payment_id is None:
        raise _CannotMend("no payment of ours is behind it")
    owner = select(Transaction.company_id).where(Transaction.id == payment_id)
    company_id = session.scalars(across_companies(owner, because=WHY)).one()
    turn_to(session, company_id, request_id=debt.request_id)
    payment = lock_existing(session, payment_id)
    if isinstance(told, Intent):
        if told.status is not IntentStatus.SUCCEEDED:
            raise _CannotMend(f"the provider says that it is {told.status}")
        attempt = settlement.attempt_behind(payment, told)
        settlement.apply(session, payment, attempt, told, cause=cause)
    elif isinstance(told, DisputeAnswer):
        _believe_dispute(session, payment, told, job, cause)
    elif told is not None:
        refunds.believe_all(session, payment, told, cause=cause)


def _believe_dispute(
    session: Session, payment: Transaction, told: DisputeAnswer, job: Job, cause: Cause
) -> None:
    """Apply what was told, as its event would be; what was recorded meanwhile is asked again."""
    dispute = locked(session, payment, told.provider_id)
    is_as_seen = dispute is not None and dispute.version == job.dispute_version
    if dispute is not None and (is_as_seen or told.state in CLOSED_DISPUTE):
        apply(session, payment, dispute, told, cause=cause)
    else:
        disputes.hear(session, payment, told, cause=cause)


def _named_in(session: Session, told: Intent) -> UUID | None:
    """Return the payment whose id an intent carries, if there is one."""
    try:
        named = UUID(told.metadata.get("transaction_id", ""))
    except ValueError:
        return None
    wanted = select(Transaction.id).where(Transaction.id == named)
    return session.scalar(across_companies(wanted, because=WHY))


def _link(session: Session, debt: Debt, job: Job, theirs: Entry | None) -> None:
    """Keep a customer that carries our company's id, if the company has no other there.

    Raises:
        Refused: it has.
    """
    if theirs is None or theirs.state == "deleted" or not theirs.company:
        raise _CannotMend("the provider does not have it any more")
    company = session.get(Company, UUID(theirs.company))
    if company is None:
        raise _CannotMend("no company of ours has the id that it carries")
    turn_to(session, company.id, request_id=debt.request_id)
    hold(session, company.id)
    found = FoundCustomer(provider=str(job.provider), provider_id=job.object_id, name="", email="")
    own_customer(session, found, company)


def _leave_open(session: Session, debt: Debt, job: Job, why: str) -> None:
    debt.end(session)
    row = repairs.lock(session, job.break_id)
    if row is not None:
        row.repair_error = why
        _tell_again(session, row)
    telemetry.count("reconciliations.repaired", way=str(job.way), outcome="refused")


def _tell_again(session: Session, row: ReconciliationBreak) -> None:
    """What could not be mended waits for a person from now on."""
    if row.run_id is not None:
        enqueue(session, "repairs.tell", run_id=row.run_id)
