"""A chunk of a run's stream: some pages of the provider's book, and our rows of the same time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy.orm import Session

from models.reconciliations import Phase, ReconciliationRun, acquit, suspect
from models.transactions import Provider
from worker.gateways.books import Book, Entry, Subject
from worker.reconciling import ours
from worker.reconciling.merge import Chunk
from worker.reconciling.ours import Place

SUBJECTS = {
    Phase.CHARGES: Subject.CHARGE,
    Phase.REFUNDS: Subject.REFUND,
    Phase.DISPUTES: Subject.DISPUTE,
    Phase.CUSTOMERS: Subject.CUSTOMER,
}
# Entries of a provider's that are held at once: what memory a run needs is this, whatever its span.
MOST_ENTRIES = 2000
HEARD_AFTER = timedelta(minutes=1)
MOST_CUSTOMERS = 100  # each is asked for its methods


@dataclass(frozen=True, kw_only=True)
class Task:
    """Which chunk: a run's window and phase, and where both sides go on."""

    provider: Provider
    subject: Subject
    start: datetime
    end: datetime
    checkpoint: dict[str, Any] | None

    @classmethod
    def of(cls, run: ReconciliationRun) -> Task:
        """Return the next chunk of a run that is in a stream."""
        return cls(
            provider=run.provider,
            subject=SUBJECTS[run.phase],
            start=run.starts_at,
            end=run.ends_at,
            checkpoint=run.checkpoint,
        )


@dataclass
class Read:
    """What the provider said: its entries, and where its book goes on (None: it has ended)."""

    entries: list[Entry] = field(default_factory=list)
    after: str | None = None
    methods: list[Entry] = field(default_factory=list)


def read(book: Book, task: Task) -> Read:
    """Ask the provider for a chunk. No transaction is open meanwhile.

    Raises:
        GatewayError: a page could not be read; nothing of the chunk counts then.
    """
    told = Read(after=(task.checkpoint or {}).get("after"))
    most = MOST_CUSTOMERS if task.subject is Subject.CUSTOMER else MOST_ENTRIES
    while len(told.entries) < most:
        page = book.page(task.subject, start=task.start, end=task.end, after=told.after)
        told.entries += page.entries
        told.after = page.next
        if page.next is None:
            break
    if task.subject is Subject.CUSTOMER:
        for each in told.entries:
            if each.company and not each.state:
                told.methods += book.methods(each.id)
    return told


def match(session: Session, run: ReconciliationRun, task: Task, told: Read, book: Book) -> bool:
    """Hold our rows against a chunk and write down how far that was; True if the stream goes on.

    The run is locked by the caller: counts, suspects and the next place are one commit.
    """
    customers = {each.customer for each in told.entries if each.customer}
    owners = ours.owners(session, task.provider, customers) if customers else {}
    chunk = Chunk.of(task.subject, told.entries, owners)
    place = _hold(session, run, task, told, chunk, is_newest_first=book.is_newest_first)
    left = chunk.left()
    if left:
        found = ours.by_object_id(session, task.subject, task.provider, left)
        acquit(session, run.id, task.subject.value, chunk.settle(found))
    _suspect(session, run, chunk)
    _match_methods(session, run, task, told, owners)
    run.provider_rows += len(told.entries)
    run.our_rows += chunk.ours
    run.matched += chunk.matched
    run.checkpoint = {"after": told.after, **_kept(place)}
    return told.after is not None


def _hold(
    session: Session,
    run: ReconciliationRun,
    task: Task,
    told: Read,
    chunk: Chunk,
    *,
    is_newest_first: bool,
) -> Place | None:
    """Hold our rows of the chunk's time against it; return the last of them."""
    place = _place(task.checkpoint)
    far, near = (task.start, task.end) if is_newest_first else (task.end, task.start)
    until = far
    if told.after is not None:
        if not told.entries:
            return place
        until = datetime.fromtimestamp(told.entries[-1].created, UTC)
        # We hear of a charge a moment after it was made.
        until += timedelta() if is_newest_first else HEARD_AFTER
    pages = ours.pages(
        session,
        task.subject,
        task.provider,
        after=place,
        until=until,
        limit=near,
        is_newest_first=is_newest_first,
    )
    for rows in pages:
        chunk.hold(rows)
        place = ours.last_of(rows, is_newest_first=is_newest_first)
        _suspect(session, run, chunk)
    return place


def _suspect(session: Session, run: ReconciliationRun, chunk: Chunk) -> None:
    """Write down who is suspected, so that nothing but the chunk is held."""
    for batch in _batches(sorted(chunk.suspects)):
        suspect(session, run.id, chunk.subject.value, batch)
    run.suspects += len(chunk.suspects)
    chunk.suspects.clear()


def _match_methods(
    session: Session, run: ReconciliationRun, task: Task, told: Read, owners: dict[str, str]
) -> None:
    """Match the methods of a chunk's customers, which come in no order of time."""
    if not told.methods:
        return
    chunk = Chunk.of(Subject.METHOD, told.methods, owners)
    chunk.settle(ours.by_object_id(session, Subject.METHOD, task.provider, chunk.left()))
    _suspect(session, run, chunk)


def _batches(ids: Iterable[str], size: int = 1000) -> Iterable[list[str]]:
    rest = iter(ids)
    while batch := list(islice(rest, size)):
        yield batch


def _place(checkpoint: dict[str, Any] | None) -> Place | None:
    if not checkpoint or not checkpoint.get("id"):
        return None
    return Place(datetime.fromisoformat(checkpoint["at"]), checkpoint["id"])


def _kept(place: Place | None) -> dict[str, Any]:
    return {} if place is None else {"at": place.at.isoformat(), "id": place.id}
