"""Who puts events into the stream, and which of theirs arrived: so that a loss has a number.

Redis may lose what it holds. Each process that accepts events is a producer and numbers them from 1
on without a gap. The transaction that stores events notes their numbers here: what is missing below
the highest is a gap, and what was accepted above it is outstanding. A gap that can't be in the
stream any more is lost; should it come after all, it is counted back.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Changing


class Producer(Changing):
    """One process that accepts events, from its start to its end.

    `highest` = `stored` + `refused` + `withdrawn` + what stands in its gaps; of those, `lost`.
    """

    __tablename__ = "analytics_producers"

    name: Mapped[str] = mapped_column(String(100))  # machine and process, for people
    accepted: Mapped[int] = mapped_column(BigInteger, default=0)  # the last number that it told of
    highest: Mapped[int] = mapped_column(BigInteger, default=0)
    stored: Mapped[int] = mapped_column(BigInteger, default=0)
    refused: Mapped[int] = mapped_column(BigInteger, default=0)
    withdrawn: Mapped[int] = mapped_column(BigInteger, default=0)  # its caller was told no
    lost: Mapped[int] = mapped_column(BigInteger, default=0)


class Gap(Base):
    """Numbers of a producer that have not arrived, from `first` to `last`."""

    __tablename__ = "analytics_gaps"
    __table_args__ = (Index("idx_analytics_gaps_producer", "producer_id", "last"),)

    producer_id: Mapped[UUID] = mapped_column(ForeignKey("analytics_producers.id"))
    first: Mapped[int] = mapped_column(BigInteger)
    last: Mapped[int] = mapped_column(BigInteger)
    lost_at: Mapped[datetime | None]
