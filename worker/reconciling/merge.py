"""Matching one chunk of both sides. What it leaves over is looked up by id, exactly, or suspected.

Both sides come in the order of time, but not of the same clock: the provider says when an object
was made, we say when we heard of it. So what has no partner in its chunk is no break yet: a
provider's object is looked up among our rows by its id; a row of ours is suspected, and acquitted
when its object comes in a later chunk. The memory held is one chunk's, whatever the window is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from models.transactions import SETTLED
from worker.gateways.books import Entry, State, Subject
from worker.reconciling.ours import Row

PAID = frozenset(each.value for each in SETTLED)
REFUND_STATES = {
    "pending": State.PENDING.value,
    "processing": State.PENDING.value,
    "requires_action": State.PENDING.value,
    "succeeded": State.SUCCEEDED.value,
    "failed": State.FAILED.value,
}


@dataclass
class Chunk:
    """One chunk of the provider's side, as our rows are held against it."""

    subject: Subject
    waiting: dict[str, Entry]
    owners: Mapping[str, str]
    matched: int = 0
    ours: int = 0
    suspects: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, subject: Subject, entries: Iterable[Entry], owners: Mapping[str, str]) -> Chunk:
        """Return a chunk of a provider's entries; one that is listed twice counts once."""
        return cls(subject, {each.id: each for each in entries}, owners)

    def hold(self, rows: Iterable[Row]) -> None:
        """Match some rows of ours; those that have no partner here are suspected."""
        take, agrees, owners = self.waiting.pop, AGREES[self.subject], self.owners
        suspects = self.suspects
        matched = count = 0
        for row in rows:
            count += 1
            entry = take(row[0], None)
            if entry is None:
                if _counts(self.subject, row):
                    suspects.add(row[0])
            elif agrees(entry, row, owners):
                matched += 1
            else:
                suspects.add(row[0])
        self.matched += matched
        self.ours += count

    def left(self) -> list[str]:
        """Return the provider's objects that no row was held against and that should have one."""
        return [each.id for each in self.waiting.values() if _should_be_here(each)]

    def settle(self, found: Mapping[str, Row]) -> list[str]:
        """Match what was left with the rows that its ids were looked up for; return who agrees."""
        agreed = []
        for object_id in self.left():
            row = found.get(object_id)
            entry = self.waiting.pop(object_id)
            if row is not None and AGREES[self.subject](entry, row, self.owners):
                agreed.append(object_id)
            else:
                self.suspects.add(object_id)
        self.matched += len(agreed)
        return agreed


def _counts(subject: Subject, row: Row) -> bool:
    """Whether the provider must know of this row: money has moved for it, or is about to."""
    if subject is Subject.CHARGE:
        return row[5] in PAID
    return row[5] != "failed"


def _should_be_here(entry: Entry) -> bool:
    """Whether we must know of this object: one that moved no money may be nobody's."""
    if entry.subject == "charge":
        return entry.state == "succeeded"
    if entry.subject == "refund":
        return entry.state != "failed"
    return entry.subject != "customer" or bool(entry.company)


def charge_agrees(entry: Entry, row: Row, owners: Mapping[str, str]) -> bool:
    """Whether nothing about a charge is to be asked; the hot path of a run."""
    return (
        entry.cents == int(row[3]) == entry.taken
        and entry.currency == row[4]
        and (entry.state == "succeeded") == (row[5] in PAID)
        and not entry.oddity
        and (not entry.company or entry.company == row[2])
        and owners.get(entry.customer, row[2]) == row[2]
    )


def refund_agrees(entry: Entry, row: Row, _: Mapping[str, str]) -> bool:
    """Whether nothing about a refund is to be asked."""
    return (
        entry.cents == int(row[3])
        and entry.currency == row[4]
        and entry.state == REFUND_STATES.get(row[5])
    )


def dispute_agrees(entry: Entry, row: Row, _: Mapping[str, str]) -> bool:
    """Whether nothing about a dispute is to be asked."""
    return entry.cents == int(row[3]) and entry.currency == row[4] and entry.state == row[5]


def owner_agrees(entry: Entry, row: Row, _: Mapping[str, str]) -> bool:
    """Whether a customer is the company's that we know."""
    return not entry.state and (not entry.company or entry.company == row[2])


def method_agrees(entry: Entry, row: Row, owners: Mapping[str, str]) -> bool:
    """Whether a method is kept by us as well, and for the same company."""
    return row[5] != "removed" and owners.get(entry.customer, row[2]) == row[2]


AGREES = {
    Subject.CHARGE: charge_agrees,
    Subject.REFUND: refund_agrees,
    Subject.DISPUTE: dispute_agrees,
    Subject.CUSTOMER: owner_agrees,
    Subject.METHOD: method_agrees,
}
