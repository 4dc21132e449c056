"""The database as reports see it: read only, one moment for all of a report, and not for long.

REPORTS_DATABASE_URL names a user who may read only, best of a replica. Without it the process's own
user reads; each transaction is READ ONLY either way, so that no question can write.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

from models.base import COMPANY, FencedSession
from worker.database import error_number
from worker.settings import settings

# MariaDB, and MySQL: the statement took longer than it may.
TOOK_TOO_LONG = frozenset({1969, 3024})
# Beyond the server's own limit: it only counts when the server hangs.
MARGIN_S = 5.0


class TooLong(Exception):
    """A question took longer than a report may."""


@cache
def reports_engine() -> Engine:
    """Return this process's engine for reports: few connections, none of which can write."""
    limit_s = settings().reports_time_limit_s
    made = create_engine(
        settings().reports_database_url or settings().database_url,
        isolation_level="REPEATABLE READ",
        pool_size=4,
        max_overflow=0,
        pool_timeout=limit_s,
        pool_recycle=1800,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 3, "read_timeout": limit_s + MARGIN_S},
    )
    event.listen(made, "connect", _forbid_writing)
    event.listen(made, "before_cursor_execute", _limit, retval=True)
    return made


def _forbid_writing(connection: Any, _record: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION READ ONLY")


def _limit(
    connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: Any
) -> tuple[str, Any]:
    """Have the server stop a statement that takes too long."""
    limit_s = settings().reports_time_limit_s
    if not statement.startswith("SELECT "):
        return statement, parameters
    if connection.dialect.is_mariadb:
        return f"SET STATEMENT max_statement_time={limit_s:f} FOR {statement}", parameters
    hint = f"SELECT /*+ MAX_EXECUTION_TIME({limit_s * 1000:.0f}) */ "
    return hint + statement.removeprefix("SELECT "), parameters


@contextmanager
def reading(*, company_id: UUID | None) -> Iterator[FencedSession]:
    """Open a session that only reads.

    Args:
        company_id: whose rows it may see; None sees none but by `across_companies`.

    Raises:
        TooLong: a statement took longer than REPORTS_TIME_LIMIT_S.
    """
    info = {COMPANY: company_id}
    try:
        with FencedSession(reports_engine(), expire_on_commit=False, info=info) as session:
            yield session
    except DBAPIError as error:
        if error_number(error) in TOOK_TOO_LONG:
            limit_s = settings().reports_time_limit_s
            raise TooLong(
                f"It took longer than {limit_s:g} s: ask for fewer days or metrics."
            ) from None
        raise
