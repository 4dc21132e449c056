"""Pages of a list, newest first. Ids are ordered by time, so a page ends at an id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import Select, select, union_all
from sqlalchemy.orm import InstrumentedAttribute, Session

from models.base import Base

Row = TypeVar("Row", bound=Base)
AnyOf = tuple[InstrumentedAttribute[Any], Sequence[Any]]


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
    any_of: AnyOf | None = None,
) -> Page[Row]:
    """Return the newest `limit` rows of `query` that are older than `after`, in one query.

    Args:
        any_of: the values that a column may have, where there are several.
    """
    if after is not None:
        query = query.where(table.id < after)
    if any_of is not None:
        query = _merged(table, query, any_of, limit + 1)
    return page(list(session.scalars(query.order_by(table.id.desc()).limit(limit + 1))), limit)


def _merged(table: type[Row], query: Select[Row], any_of: AnyOf, limit: int) -> Select[Row]:
    """Return the newest of each value's rows: an index has no order over several values."""
    column, values = any_of
    ids = query.with_only_columns(table.id).order_by(table.id.desc()).limit(limit)
    of_each = [ids.where(column == value).subquery() for value in values]
    found = union_all(*(select(each.c.id) for each in of_each)).subquery()
    merged = select(table).select_from(found).join(table, table.id == found.c.id)
    return merged.prefix_with("STRAIGHT_JOIN")


def page(found: list[Row], limit: int) -> Page[Row]:
    """Return the page of which one row more than `limit` was asked for."""
    rows = found[:limit]
    return Page(rows, rows[-1].id if len(found) > limit else None)
