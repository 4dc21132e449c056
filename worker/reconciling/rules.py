"""What two sides of one object mean: the kinds of break, each from plain values. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from models.breaks import BreakKind, Finding
from models.disputes import DisputeStatus
from worker.gateways.books import Entry, Subject
from worker.reconciling.merge import PAID, REFUND_STATES

DISPUTE_WORDS = frozenset(each.value for each in DisputeStatus)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ours:
    """Our row, as it is now.

    Args:
        is_of_it: the row names this very object; else it was found by what the object says.
        charge_id: the charge that the payment is paid by.
    """

    id: UUID
    company_id: UUID
    cents: int
    currency: str
    status: str
    at: datetime
    is_of_it: bool
    transaction_id: UUID | None = None
    charge_id: str | None = None
    intent_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One object, both of its sides, and what must be known to judge it.

    Args:
        owner: the company that the object's customer is.
        fresh_after: what has moved since may be on its way to the other side.
    """

    subject: Subject
    object_id: str
    theirs: Entry | None
    ours: Ours | None
    owner: UUID | None
    told_company: UUID | None
    fresh_after: datetime


def judge(case: Case) -> list[Finding]:
    """Return all that does not agree about an object; nothing where it does, or is too fresh."""
    return list(JUDGES[case.subject](case))


def _charge(case: Case) -> Iterator[Finding]:
    theirs, ours = case.theirs, case.ours
    if theirs is None:
        if ours is not None and ours.is_of_it and ours.status in PAID and not _is_new(case):
            yield _found(case, BreakKind.MISSING_AT_PROVIDER)
        return
    if ours is None or not ours.is_of_it:
        yield from _unknown_charge(case, theirs, ours)
        if ours is None or ours.status in PAID:
            return
    yield from _sums(case, theirs, ours)
    has_money = theirs.state == "succeeded"
    if has_money != (ours.status in PAID) and ours.is_of_it and not _is_new(case):
        yield _found(case, BreakKind.STATUS)


def _unknown_charge(case: Case, theirs: Entry, ours: Ours | None) -> Iterator[Finding]:
    """Judge a charge that none of our rows names."""
    if theirs.state != "succeeded" or _is_new(case):
        return
    if ours is None:
        yield _found(case, BreakKind.MISSING_LOCALLY)
    elif ours.status not in PAID:
        yield _found(case, BreakKind.STATUS)
    elif ours.charge_id and theirs.returned < theirs.cents:
        yield _found(case, BreakKind.DUPLICATE_CHARGE)


def _sums(case: Case, theirs: Entry, ours: Ours) -> Iterator[Finding]:
    if theirs.currency != ours.currency:
        yield _found(case, BreakKind.CURRENCY)
    elif not theirs.cents == ours.cents == theirs.taken:
        yield _found(case, BreakKind.AMOUNT)
    if theirs.oddity:
        yield _found(case, BreakKind.FEE)
    if {case.owner, case.told_company} - {None, ours.company_id}:
        yield _found(case, BreakKind.WRONG_COMPANY)


def _refund(case: Case) -> Iterator[Finding]:
    theirs, ours = case.theirs, case.ours
    if theirs is None:
        if ours is not None and ours.status != "failed" and not _is_new(case):
            yield _found(case, BreakKind.REFUND_MISSING_AT_PROVIDER)
        return
    if _is_new(case):
        return
    if ours is None or not ours.is_of_it:
        if theirs.state != "failed" and not _is_of_another_charge(theirs, ours):
            yield _found(case, BreakKind.REFUND_MISSING_LOCALLY)
        return
    yield from _known_refund(case, theirs, ours)


def _known_refund(case: Case, theirs: Entry, ours: Ours) -> Iterator[Finding]:
    if theirs.currency != ours.currency:
        yield _found(case, BreakKind.CURRENCY)
    elif theirs.cents != ours.cents:
        yield _found(case, BreakKind.REFUND_AMOUNT)
    if theirs.state != REFUND_STATES.get(ours.status):
        yield _found(case, BreakKind.STATUS)


def _is_of_another_charge(theirs: Entry, ours: Ours | None) -> bool:
    """Whether a second charge goes back, for which there is no refund of the payment's."""
    return bool(ours and ours.charge_id and theirs.of and theirs.of != ours.charge_id)


def _dispute(case: Case) -> Iterator[Finding]:
    theirs, ours = case.theirs, case.ours
    if _is_new(case):
        return
    if theirs is None or ours is None or not ours.is_of_it:
        yield _found(case, BreakKind.DISPUTE)
        return
    is_known = theirs.state in DISPUTE_WORDS
    if (theirs.cents, theirs.currency) != (ours.cents, ours.currency) or (
        is_known and theirs.state != ours.status
    ):
        yield _found(case, BreakKind.DISPUTE)


def _customer(case: Case) -> Iterator[Finding]:
    theirs, ours = case.theirs, case.ours
    if theirs is None or theirs.state == "deleted":
        if ours is not None:
            yield _found(case, BreakKind.ORPHAN_CUSTOMER)
    elif ours is None:
        if theirs.company and not _is_new(case):
            yield _found(case, BreakKind.ORPHAN_CUSTOMER)
    elif case.told_company not in (None, ours.company_id):
        yield _found(case, BreakKind.WRONG_COMPANY)


def _method(case: Case) -> Iterator[Finding]:
    theirs, ours = case.theirs, case.ours
    if theirs is None or not theirs.customer or _is_new(case):
        return
    if ours is None or ours.status == "removed":
        yield _found(case, BreakKind.ORPHAN_METHOD)
    elif case.owner not in (None, ours.company_id):
        yield _found(case, BreakKind.WRONG_COMPANY)


JUDGES = {
    Subject.CHARGE: _charge,
    Subject.REFUND: _refund,
    Subject.DISPUTE: _dispute,
    Subject.CUSTOMER: _customer,
    Subject.METHOD: _method,
}


def fresh_after(moment: datetime, lag: timedelta) -> datetime:
    """Return since when what moved may not have reached the other side."""
    return moment - lag


def _is_new(case: Case) -> bool:
    """Whether one side has moved so lately that the other may not have heard of it."""
    if case.theirs is not None:
        moved = max(case.theirs.created, case.theirs.settled)
        return datetime.fromtimestamp(moved, UTC) > case.fresh_after
    return case.ours is not None and case.ours.at > case.fresh_after


def _found(case: Case, kind: BreakKind) -> Finding:
    theirs, ours = case.theirs, case.ours
    cents = theirs.cents if theirs is not None else ours.cents if ours is not None else 0
    made_at = datetime.fromtimestamp(theirs.created, UTC) if theirs is not None else None
    return Finding(
        kind=kind,
        subject=case.subject.value,
        object_id=case.object_id,
        ours=_our_side(ours),
        theirs=_their_side(theirs),
        company_id=ours.company_id if ours is not None else case.owner or case.told_company,
        transaction_id=ours.transaction_id if ours is not None else None,
        amount=Decimal(cents) / 100 if cents > 0 else None,
        currency=(theirs.currency if theirs is not None else ours.currency if ours else "") or None,
        happened_at=made_at or (ours.at if ours is not None else None),
    )


def _money(cents: int) -> str | None:
    return f"{Decimal(cents) / 100:.2f}" if cents >= 0 else None


def _our_side(ours: Ours | None) -> Mapping[str, Any] | None:
    if ours is None:
        return None
    return {
        "id": str(ours.id),
        "company_id": str(ours.company_id),
        "amount": _money(ours.cents),
        "currency": ours.currency,
        "status": ours.status,
        "charge": ours.charge_id,
        "intent": ours.intent_id,
        "at": ours.at.isoformat(),
    }


def _their_side(theirs: Entry | None) -> Mapping[str, Any] | None:
    if theirs is None:
        return None
    told: dict[str, Any] = {
        "id": theirs.id,
        "amount": _money(theirs.cents),
        "currency": theirs.currency,
        "status": theirs.state,
        "at": datetime.fromtimestamp(theirs.created, UTC).isoformat(),
    }
    more = {
        "taken": _money(theirs.taken) if theirs.taken != theirs.cents else None,
        "returned": _money(theirs.returned) if theirs.returned else None,
        "fee": _money(theirs.fee) if theirs.fee else None,
        "oddity": theirs.oddity,
        "transaction_id": theirs.transaction,
        "company_id": theirs.company,
        "intent": theirs.intent,
        "of": theirs.of,
        "customer": theirs.customer,
    }
    return told | {name: value for name, value in more.items() if value}
