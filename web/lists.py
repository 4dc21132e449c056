"""A page of a list, newest first, as it is answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from flask import Response
from sqlalchemy import Select

from models.base import Base
from models.paging import AnyOf, Row, newest
from web.routes import respond
from web.schemas import PageQuery, cursor_of
from worker.database import transaction


def made_within(table: type[Base], wanted: Select[Row], query: PageQuery) -> Select[Row]:
    """Narrow a query to what was made in the time that the caller names."""
    if query.created_from is not None:
        wanted = wanted.where(table.created_at >= query.created_from)
    if query.created_to is not None:
        wanted = wanted.where(table.created_at < query.created_to)
    return wanted


def answer_page(
    table: type[Row],
    wanted: Select[Row],
    query: PageQuery,
    shown: Callable[[Row], dict[str, Any]],
    *,
    company_id: UUID | None = None,
    any_of: AnyOf | None = None,
) -> Response:
    """Answer the page that is asked for; `company_id` as for a transaction."""
    wanted = made_within(table, wanted, query)
    with transaction(company_id=company_id) as session:
        page = newest(session, table, wanted, after=query.after, limit=query.limit, any_of=any_of)
        return respond(
            {"data": list(map(shown, page.rows)), "next_cursor": cursor_of(page.next_after)}
        )


def of_statuses(
    wanted: Select[Row], column: Any, statuses: Sequence[Any], *, is_searched: bool
) -> tuple[Select[Row], AnyOf | None]:
    """Narrow a list to any of these statuses, or return what `answer_page` merges it from.

    Each of several is read in the order of its own index; what a search finds has another.
    """
    distinct = list(dict.fromkeys(statuses))
    if len(distinct) > 1 and not is_searched:
        return wanted, (column, distinct)
    return (wanted.where(column.in_(distinct)) if distinct else wanted), None
