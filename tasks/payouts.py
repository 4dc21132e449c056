"""Payouts of a provider, matched with what they pay out, so that a bank line can be explained.

payouts.sweep   beat's ring: once a day, have the payouts listed
payouts.fetch   keep a page of them, and owe the next
payouts.read    add up what one is made up of, page by page

Each page is a commit with the place where the next begins. The provider is only ever asked.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import cursors, payouts
from models.alerts import Severity
from models.clock import now
from models.outbox import Owed, OwedStatus, enqueue
from models.payouts import Payout
from models.tenants import Tenant
from models.transactions import Provider
from tasks.handover import patiently
from worker.alerts import alert, resolve
from worker.app import Debt, calling_task, periodic
from worker.database import in_transaction
from worker.gateways import UnknownProvider
from worker.gateways.payouts import Moved, PaidOut, payouts_of

NAME = "payouts"
UNBALANCED = "payout_unbalanced"
EVERY = timedelta(hours=22)  # beat's rings are not to the second
REACH = timedelta(days=90)  # of an account that was never looked at
# A payout is settled or fails some days after it was made; what it is made up of is told then.
OVERLAP = timedelta(days=21)
RUN_TIME_S = 15.0


@dataclass(frozen=True)
class Fetch:
    """Which payouts are to be listed."""

    provider: Provider
    since: datetime
    after: str | None


@dataclass(frozen=True)
class Reading:
    """A payout whose movements are added up, and how far they are."""

    payout_id: UUID
    provider: Provider
    name: str
    currency: str
    checkpoint: dict[str, Any] | None


@periodic("payouts.sweep")
def sweep() -> None:
    """Have the payouts listed once a day. Safe in any number of copies: one takes each look."""
    try:
        payouts_of(Provider.STRIPE.value)
    except UnknownProvider:
        return
    in_transaction(_begin_due, None, Provider.STRIPE)


def _begin_due(session: Session, provider: Provider) -> None:
    moment = now()
    due = {"moment": moment, "looked_before": moment - EVERY}
    cursor = cursors.take_due(session, provider.value, NAME, **due)
    if cursor is None:
        return
    since = moment - REACH
    if cursor.position:
        since = datetime.fromisoformat(cursor.position) - OVERLAP
    cursor.position = moment.isoformat()
    enqueue(session, "payouts.fetch", provider=provider.value, since=since.isoformat(), after=None)


def _claim_page(
    session: Session, debt: Debt, *, provider: str, since: str, after: str | None
) -> Fetch | None:
    if debt.waits_for(session, provider):
        return None
    return Fetch(Provider(provider), datetime.fromisoformat(since), after)


@calling_task("payouts.fetch", claim=_claim_page)
def fetch(debt: Debt, wanted: Fetch) -> None:
    """Keep a page of payouts. Safe twice: each is kept once."""
    with patiently():
        found, last = payouts_of(wanted.provider.value).page(since=wanted.since, after=wanted.after)
    in_transaction(_keep_page, None, debt, wanted, found, last)


def _keep_page(
    session: Session, debt: Debt, wanted: Fetch, found: list[PaidOut], last: str | None
) -> None:
    debt.end(session)
    tenant_id = session.scalar(select(Tenant.id).where(Tenant.is_platform).limit(1))
    if tenant_id is None:
        return
    for each in reversed(found):  # the oldest first: ids are in the order of time
        payouts.keep(
            session,
            tenant_id=tenant_id,
            provider=wanted.provider,
            provider_payout_id=each.id,
            told={
                name: getattr(each, name)
                for name in ("amount", "currency", "status", "arrival_date", "made_at")
            },
            is_explained=each.is_explained,
        )
    if last is not None:
        enqueue(session, "payouts.fetch", **{**debt.arguments, "after": last})


def _claim(session: Session, debt: Debt, *, payout_id: str) -> Reading | None:
    row = payouts.lock(session, UUID(payout_id))
    if row is None or row.task_id != debt.id:
        debt.end(session)
        return None
    if debt.waits_for(session, row.provider):
        return None
    return _reading(row)


def _reading(row: Payout) -> Reading:
    return Reading(row.id, row.provider, row.provider_payout_id, row.currency, row.checkpoint)


def _give_up(session: Session, owed: Owed, error: str) -> None:  # noqa: ARG001  the signature's
    """Let the next day's look begin anew."""
    if owed.status is OwedStatus.DEAD:
        row = payouts.lock(session, UUID(owed.arguments["payout_id"]))
        if row is not None and row.task_id == owed.id:
            row.task_id = row.checkpoint = None


@calling_task(payouts.READING, claim=_claim, on_failure=_give_up)
def read(debt: Debt, reading: Reading) -> None:
    """Add up what a payout is made up of. Safe twice: each page has a commit and a place."""
    until = time.monotonic() + RUN_TIME_S
    going: Reading | None = reading
    while going is not None:
        with patiently():
            found, last = payouts_of(going.provider.value).movements(
                going.name, after=(going.checkpoint or {}).get("after")
            )
        is_late = time.monotonic() > until
        going = in_transaction(_add, None, debt, going, found, last, is_late=is_late)


def _add(
    session: Session,
    debt: Debt,
    reading: Reading,
    found: list[Moved],
    last: str | None,
    *,
    is_late: bool,
) -> Reading | None:
    """Add a page to the sums; return where it goes on, None where it has ended or is owed anew."""
    row = payouts.lock(session, reading.payout_id)
    if row is None or row.task_id != debt.id or row.checkpoint != reading.checkpoint:
        debt.end(session)
        return None
    before = row.checkpoint or {}
    sums = {kind: list(amounts) for kind, amounts in before.get("sums", {}).items()}
    told = [(each.type, {name: getattr(each, name) for name in payouts.SUMS}) for each in found]
    payouts.add(sums, told)
    has_others = before.get("has_others", False) or any(
        each.currency != row.currency for each in found
    )
    row.checkpoint = {"after": last, "sums": sums, "has_others": has_others}
    if last is None:
        payouts.settle(session, row, has_others=has_others, moment=now())
        debt.end(session)
        _tell(session, row)
        return None
    if is_late:
        debt.end(session)
        payouts.owe_reading(session, row)
        return None
    session.flush()
    return _reading(row)


def _tell(session: Session, row: Payout) -> None:
    """Tell people of a payout that does not add up; until it does."""
    key = f"{UNBALANCED}:{row.id}"
    if row.is_balanced:
        resolve(session, key, why="It adds up by now.")
        return
    alert(
        session,
        UNBALANCED,
        severity=Severity.CRITICAL,
        open_key=key,
        message=f"The payout {row.provider_payout_id} of {row.amount:.2f} {row.currency} is not "
        "what its movements come to: its break tells by how much.",
    )
