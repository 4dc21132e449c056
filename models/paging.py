"""Pages of a list, newest first. Ids are ordered by time, so a page ends at an id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

from sqlalchemy import Select
from sqlalchemy.orm import Session

from models.base import Base

Row = TypeVar("Row", bound=Base)


@dataclass(frozen=True)
class Page(Generic[Row]):
    """Some rows, and the id after which the next page begins; None at the end."""

    rows: list[Row]
    next_after: UUID | None


def newest(
    session: Session,
    table: type[Row],
    query: Select[Row],
    *,
    after: UUID | None,
    limit: int,
) -> Page[Row]:
    """Return the newest `limit` rows of `query` that are older than `after`, in one query."""
    if after is not None:
        query = query.where(table.id < after)
    return page(list(session.scalars(query.order_by(table.id.desc()).limit(limit + 1))), limit)


def page(found: list[Row], limit: int) -> Page[Row]:
    """Return the page of which one row more than `limit` was asked for."""
    rows = found[:limit]
    return Page(rows, rows[-1].id if len(found) > limit else None)
