"""Who puts events into the stream, and which of theirs arrived: so that a loss has a number.

Redis may lose what it holds. Each process that accepts events is a producer and numbers them from 1
on without a gap. The transaction that stores events notes their numbers here: what is missing below
the highest is a gap, and what was accepted above it is outstanding. A gap that can't be in the
stream any more is lost; should it come after all, it is counted back.

Times are the machine's own, as Redis's are: nothing is lost because a sandbox's clock was advanced.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, String, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base
from models.clock import wall

# How many producers and gaps one transaction settles.
BATCH = 200


class Producer(Base):
    """One process that accepts events, from its start to its end.

    `highest` = `stored` + `refused` + `withdrawn` + what stands in its gaps; of those, `lost`.
    """

    __tablename__ = "analytics_producers"
    __table_args__ = (Index("idx_analytics_producers_told_at", "told_at"),)

    name: Mapped[str] = mapped_column(String(100))  # machine and process, for people
    accepted: Mapped[int] = mapped_column(BigInteger, default=0)  # the last number that it told of
    highest: Mapped[int] = mapped_column(BigInteger, default=0)
    stored: Mapped[int] = mapped_column(BigInteger, default=0)
    refused: Mapped[int] = mapped_column(BigInteger, default=0)
    withdrawn: Mapped[int] = mapped_column(BigInteger, default=0)  # its caller was told no
    lost: Mapped[int] = mapped_column(BigInteger, default=0)
    told_at: Mapped[datetime] = mapped_column(default=wall)


class Gap(Base):
    """Numbers of a producer that have not arrived, from `first` to `last`."""

    __tablename__ = "analytics_gaps"
    __table_args__ = (
        Index("idx_analytics_gaps_producer", "producer_id", "last"),
        Index("idx_analytics_gaps_lost_at", "lost_at", "noticed_at"),
    )

    producer_id: Mapped[UUID] = mapped_column(ForeignKey("analytics_producers.id"))
    first: Mapped[int] = mapped_column(BigInteger)
    last: Mapped[int] = mapped_column(BigInteger)
    noticed_at: Mapped[datetime] = mapped_column(default=wall)
    lost_at: Mapped[datetime | None]

    @property
    def size(self) -> int:
        """Return how many numbers it has."""
        return self.last - self.first + 1


class Fate(StrEnum):
    """What became of numbers that have arrived: the column that counts them."""

    STORED = "stored"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Numbers:
    """Numbers of a producer, from `first` to `last`."""

    producer_id: UUID
    name: str
    first: int
    last: int


@dataclass(frozen=True)
class Count:
    """How many events were accepted by all producers, and what became of them."""

    accepted: int
    stored: int
    refused: int
    withdrawn: int
    lost: int
    producers: int

    @property
    def outstanding(self) -> int:
        """Return how many are on their way."""
        return self.accepted - self.stored - self.refused - self.withdrawn - self.lost


def land(session: Session, numbers: Iterable[Numbers], fate: Fate) -> None:
    """Note that these have arrived, in the transaction that says so of them. Safe twice."""
    for each in merged(numbers):
        producer = _locked(session, each.producer_id, each.name)
        _note(session, producer, each.first, each.last, fate)
        producer.accepted = max(producer.accepted, each.last)
        producer.told_at = wall()


def tell(
    session: Session, producer_id: UUID, name: str, accepted: int, withdrawn: Iterable[Numbers]
) -> None:
    """Note how many a producer has accepted, and which of these it has taken back. Safe twice."""
    producer = _locked(session, producer_id, name)
    producer.accepted = max(producer.accepted, accepted)
    producer.told_at = wall()
    land(session, withdrawn, Fate.WITHDRAWN)


def merged(numbers: Iterable[Numbers]) -> list[Numbers]:
    """Return them in order, with those that follow one another as one."""
    found: list[Numbers] = []
    for each in sorted(numbers, key=lambda n: (n.producer_id.bytes, n.first)):
        last = found[-1] if found else None
        if last and last.producer_id == each.producer_id and each.first <= last.last + 1:
            most = max(last.last, each.last)
            found[-1] = Numbers(last.producer_id, last.name, last.first, most)
        else:
            found.append(each)
    return found


def settle(session: Session, *, before: datetime) -> int:
    """Count as lost what was noticed before and is not in the stream; return how many.

    Args:
        before: whatever of earlier numbers the stream still holds was put there later.
    """
    quiet = session.scalars(
        select(Producer)
        .where(Producer.accepted > Producer.highest, Producer.told_at < before)
        .order_by(Producer.id)
        .limit(BATCH)
        .with_for_update()
    ).all()
    for producer in quiet:
        session.add(_gap(producer, producer.accepted, noticed_at=producer.told_at))
        producer.highest = producer.accepted
    session.flush()
    named = session.execute(
        select(Gap.id, Gap.producer_id)
        .where(Gap.lost_at.is_(None), Gap.noticed_at < before)
        .order_by(Gap.producer_id)
        .limit(BATCH)
    ).all()
    return sum(_lose(session, row.id, row.producer_id) for row in named)


def _lose(session: Session, gap_id: UUID, producer_id: UUID) -> int:
    producer = session.get_one(Producer, producer_id, with_for_update=True, populate_existing=True)
    gap = session.get(Gap, gap_id, populate_existing=True)
    if gap is None or gap.lost_at is not None:
        return 0
    gap.lost_at = wall()
    producer.lost += gap.size
    return gap.size


def count(session: Session) -> Count:
    """Return how many events were accepted and what became of them, over all producers."""
    sums = [
        func.coalesce(func.sum(column), 0)
        for column in (
            *(Producer.accepted, Producer.stored, Producer.refused),
            *(Producer.withdrawn, Producer.lost),
        )
    ]
    row = session.execute(select(*sums, func.count(Producer.id))).one()
    return Count(*map(int, row))


def _locked(session: Session, producer_id: UUID, name: str) -> Producer:
    found = _lock(session, producer_id)
    if found is None:
        # Two who meet at its first events meet here as well: the second one waits.
        session.connection().exec_driver_sql(
            "INSERT INTO analytics_producers (id, name, accepted, highest, stored, refused,"
            " withdrawn, lost, told_at, created_at) VALUES (%s, %s, 0, 0, 0, 0, 0, 0, %s, %s)"
            " ON DUPLICATE KEY UPDATE id = VALUES(id)",
            (producer_id.bytes, name[:100], *[wall().replace(tzinfo=None)] * 2),
        )
        found = _lock(session, producer_id)
    if found is None:
        raise LookupError(f"producer {producer_id} was forgotten meanwhile")
    return found


def _lock(session: Session, producer_id: UUID) -> Producer | None:
    return session.get(Producer, producer_id, with_for_update=True, populate_existing=True)


def _note(session: Session, producer: Producer, first: int, last: int, fate: Fate) -> None:
    number = 0
    if last > producer.highest:
        above = max(first, producer.highest + 1)
        if above > producer.highest + 1:
            session.add(_gap(producer, above - 1, noticed_at=wall()))
        number = last - above + 1
        producer.highest, last = last, above - 1
    if first <= last:
        number += _fill(session, producer, first, last)
    setattr(producer, fate, getattr(producer, fate) + number)
    session.flush()


def _gap(producer: Producer, last: int, *, noticed_at: datetime) -> Gap:
    return Gap(
        producer_id=producer.id, first=producer.highest + 1, last=last, noticed_at=noticed_at
    )


def _fill(session: Session, producer: Producer, first: int, last: int) -> int:
    """Take these out of the producer's gaps; return how many there were."""
    number = 0
    gaps = session.scalars(
        select(Gap).where(Gap.producer_id == producer.id, Gap.last >= first, Gap.first <= last)
    ).all()
    for gap in gaps:
        start, end = max(first, gap.first), min(last, gap.last)
        number += end - start + 1
        producer.lost -= end - start + 1 if gap.lost_at else 0
        rest = [(gap.first, start - 1), (end + 1, gap.last)]
        session.delete(gap)
        session.add_all(
            Gap(
                producer_id=gap.producer_id,
                first=begin,
                last=until,
                noticed_at=gap.noticed_at,
                lost_at=gap.lost_at,
            )
            for begin, until in rest
            if begin <= until
        )
    return number
