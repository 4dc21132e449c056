"""What happened, as rows to count: one an event, exactly once by its id.

Events come in batches, from the collector's stream and from the outbox. `store` inserts a batch by
one statement and marks, in the same transaction, each day of a company that it changed: whoever
rolls days up does those again, also when an event comes late.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

import orjson
from sqlalchemy import (
    DECIMAL,
    JSON,
    BigInteger,
    Date,
    Index,
    Integer,
    String,
    UniqueConstraint,
    select,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import CURRENCY, CompanyOwned, words
from models.clock import now
from models.ids import new_id
from models.tenants import Company

Day = date  # a column has the name
# Groups must not take two spellings for one.
WORD = String(100, collation="utf8mb4_bin")
# Rows of one INSERT: more are no faster, and a statement stays far below the server's limit.
BATCH = 500


class EventType(StrEnum):
    """What an event is about, as the specification has it."""

    SUBSCRIPTION = "subscription"
    USAGE = "usage"
    PAYMENT = "payment"
    ERROR = "error"


class Source(StrEnum):
    """Who says so. Only our own events count as money: what an API was told is a customer's."""

    OWN = "own"
    API = "api"


class AnalyticsEvent(CompanyOwned):
    """One thing that happened. Never changed, but for `arrivals`: how often it was brought."""

    __tablename__ = "analytics_events"
    __table_args__ = (
        Index("idx_company_timestamp", "company_id", "timestamp"),
        Index("idx_event_type", "event_type"),
        Index("idx_module_id", "module_id"),
        # All that a day's roll-up reads.
        Index(
            "idx_analytics_events_day",
            *("company_id", "date", "name", "source", "currency", "dimension"),
            *("amount", "quantity"),
        ),
        # What is not exported yet, by days.
        Index("idx_analytics_events_export", "export_id", "date", "id"),
    )

    event_type: Mapped[EventType] = mapped_column(WORD)
    name: Mapped[str] = mapped_column(WORD)
    source: Mapped[Source] = mapped_column(words(Source))
    user_id: Mapped[UUID | None]
    module_id: Mapped[UUID | None]
    amount: Mapped[Decimal | None]
    currency: Mapped[str | None] = mapped_column(CURRENCY)
    quantity: Mapped[Decimal | None] = mapped_column(DECIMAL(15, 4))
    dimension: Mapped[str] = mapped_column(WORD, default="", server_default="")
    details: Mapped[dict[str, Any] | None] = mapped_column("metadata", JSON(none_as_null=True))
    timestamp: Mapped[datetime]
    date: Mapped[Day] = mapped_column(Date)  # in the zone that the company had when it was stored
    arrivals: Mapped[int] = mapped_column(Integer, default=1, server_default="1")
    # The batch in which it is exported, set once; models/exports.py.
    export_id: Mapped[int | None] = mapped_column(BigInteger)


class DirtyDay(CompanyOwned):
    """A day of a company that is to be rolled up; `marked` grows with each change of the day.

    Whoever rolls it up deletes the row if `marked` is still what it was before, and `claim` theirs.
    """

    __tablename__ = "analytics_dirty_days"
    __table_args__ = (
        UniqueConstraint("company_id", "date"),
        Index("idx_analytics_dirty_days_due", "claimed_until", "id"),
    )

    date: Mapped[Day] = mapped_column(Date)
    marked: Mapped[int] = mapped_column(BigInteger)
    claim: Mapped[UUID | None]
    # From then on anybody may have it; of one that nobody had yet, long ago.
    claimed_until: Mapped[datetime] = mapped_column(server_default="2000-01-01 00:00:00")


@dataclass(frozen=True, kw_only=True, slots=True)
class NewEvent:
    """An event to be stored. Its id says that it is the same when it comes again."""

    id: UUID
    company_id: UUID
    event_type: str
    name: str
    timestamp: datetime
    source: Source
    user_id: UUID | None = None
    module_id: UUID | None = None
    amount: Decimal | None = None
    currency: str | None = None
    quantity: Decimal | None = None
    dimension: str = ""
    metadata: dict[str, Any] | str | None = None  # as JSON if it is text


def event_id(company_id: UUID, *key: str) -> UUID:
    """Return the id of what a company calls by this key; a new one if there is no key."""
    return uuid5(company_id, "\x1f".join(key)) if key else new_id()


_COLUMNS = (
    *("id", "company_id", "event_type", "name", "source", "user_id", "module_id"),
    *("amount", "currency", "quantity", "dimension", "metadata", "timestamp", "date"),
    "created_at",
)
_DAY = _COLUMNS.index("date")
# An update that changes nothing would be counted like a new row: by `arrivals` they differ.
_INSERT = (
    f"INSERT INTO analytics_events (`{'`, `'.join(_COLUMNS)}`) "  # noqa: S608  our own names
    f"VALUES ({', '.join(['%s'] * len(_COLUMNS))}) "
    "ON DUPLICATE KEY UPDATE arrivals = arrivals + 1"
)
# A mark never comes back to what it was, also when its row was deleted in between.
_MARK = (
    "INSERT INTO analytics_dirty_days (id, company_id, `date`, marked, created_at) "
    "VALUES (%s, %s, %s, %s, %s) "
    "ON DUPLICATE KEY UPDATE marked = GREATEST(marked + 1, VALUES(marked))"
)


def store(session: Session, events: Sequence[NewEvent]) -> int:
    """Store events of any companies and mark their days; return how many were new.

    Safe twice, and at once with others. An event with an unknown company is a LookupError.
    """
    if not events:
        return 0
    # In one order, so that two who store the same wait for one another and never in a circle.
    unique = sorted({each.id: each for each in events}.values(), key=_id)
    zones = _zones(session, {each.company_id for each in unique})
    moment = now().replace(tzinfo=None)
    rows = [_row(each, zones, moment) for each in unique]
    connection = session.connection()
    new = 0
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        changed = connection.exec_driver_sql(_INSERT, part).rowcount
        new += 2 * len(part) - changed
    if new:
        days = {(each.company_id, row[_DAY]) for each, row in zip(unique, rows, strict=True)}
        mark_days(session, days)
    return new


def mark_days(session: Session, days: Iterable[tuple[UUID, date]]) -> None:
    """Have days of companies rolled up again."""
    moment = now().replace(tzinfo=None)
    version = int(now().timestamp() * 1_000_000)
    rows = [
        (new_id().bytes, company_id.bytes, day, version, moment) for company_id, day in sorted(days)
    ]
    if rows:
        session.connection().exec_driver_sql(_MARK, rows)


def day_of(at: datetime, zone: str) -> date:
    """Return which day it is then in a zone."""
    return at.astimezone(_zone(zone)).date()


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _id(event: NewEvent) -> bytes:
    return event.id.bytes


def _zones(session: Session, company_ids: set[UUID]) -> dict[UUID, str]:
    found = session.execute(
        select(Company.id, Company.time_zone).where(Company.id.in_(company_ids))
    )
    zones: dict[UUID, str] = {row.id: row.time_zone for row in found}
    if missing := company_ids - zones.keys():
        raise LookupError(f"no company {min(missing)}")
    return zones


def _row(event: NewEvent, zones: dict[UUID, str], moment: datetime) -> tuple[Any, ...]:
    at = event.timestamp.astimezone(_zone("UTC"))
    return (
        event.id.bytes,
        event.company_id.bytes,
        str(event.event_type),
        event.name,
        str(event.source),
        event.user_id.bytes if event.user_id else None,
        event.module_id.bytes if event.module_id else None,
        event.amount,
        event.currency,
        event.quantity,
        event.dimension,
        as_json(event.metadata),
        at.replace(tzinfo=None),
        day_of(at, zones[event.company_id]),
        moment,
    )


def as_json(metadata: dict[str, Any] | str | None) -> str | None:
    """Return metadata as JSON text, with its numbers exact."""
    if metadata is None or isinstance(metadata, str):
        return metadata
    return orjson.dumps(metadata, default=_exact).decode()


def _exact(value: Any) -> Any:
    if isinstance(value, Decimal):
        return orjson.Fragment(f"{value:f}")
    raise TypeError(f"{type(value).__name__} has no form in JSON")
