"""The invariants, judged within a time limit and by one at a time."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import String, literal, select, text, union_all
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from models import invariants
from models.base import CompanyOwned, across_companies
from models.invariants import Part, Violation
from models.tenants import Company
from worker import telemetry
from worker.database import error_number, transaction

log = logging.getLogger(__name__)

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# A statement that took too long, at MariaDB and at MySQL.
TOO_LONG = (1969, 3024)
# Rows of a sentence; some are other tenants' and not shown.
MOST = 200
NEVER_LONGER_S = 5.0
# Purge waits for the oldest view, so none is long; and below what the driver waits for an answer,
# for the connection must outlive the statement.
ROWS = 20_000
# Of any table, in a part of the book.


@dataclass(frozen=True)
class Verdict:
    """Whether one sentence holds; None if there was no time to look."""

    invariant: str
    holds: bool | None
    violations: list[Violation] = field(default_factory=list)


def judge(
    *, limit_s: float, within: timedelta | None = None, part: Part | None = None
) -> list[Verdict]:
    """Return a verdict on each sentence that is looked at; lack of time is told as such.

    Each sentence has a transaction of its own, which is no longer than its statements.

    Args:
        within, part: of what, as `models.invariants.looks` has it.
    """
    looks = list(invariants.looks(limit=MOST, within=within, part=part))
    verdicts = {name: Verdict(name, None) for name, _ in looks}
    deadline = time.monotonic() + limit_s
    for name, look in looks:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            break
        try:
            with transaction() as session, _bounded(session, min(left_s, NEVER_LONGER_S)):
                found = look(session)
        except DBAPIError as error:
            if error_number(error) not in TOO_LONG:
                raise
            continue  # the others may be quick
        verdicts[name] = Verdict(name, not found, found)
    for verdict in verdicts.values():
        if verdict.holds is None:
            log.warning("there was no time to look whether %s", verdict.invariant)
            telemetry.count("invariants.skipped", invariant=verdict.invariant)
    return list(verdicts.values())


def next_part(since: bytes) -> Part:
    """Return the next part of the book, small enough for each of its looks to be a short one."""
    with transaction() as session:
        return invariants.part_from(session, since, rows=ROWS)


@contextmanager
def _bounded(session: Session, limit_s: float) -> Iterator[None]:
    """Have the server end a statement that takes longer."""
    connection = session.connection()
    is_mariadb = getattr(connection.dialect, "is_mariadb", False)
    name = "max_statement_time" if is_mariadb else "max_execution_time"
    limit = max(limit_s, 0.01) if is_mariadb else max(1, round(limit_s * 1000))
    connection.execute(text(f"SET SESSION {name} = {limit}"))
    try:
        yield
    finally:
        if not connection.invalidated:
            connection.execute(text(f"SET SESSION {name} = DEFAULT"))


@contextmanager
def alone(name: str) -> Iterator[bool]:
    """Whether nobody else in this database does what `name` says; it is ours until the end."""
    with transaction() as session:
        key = {"name": f"paybeat:{name}"}
        # Hashed: the name of a lock is no longer than 64 letters at MySQL.
        lock = text("SELECT GET_LOCK(MD5(CONCAT(DATABASE(), :name)), 0)")
        unlock = text("SELECT RELEASE_LOCK(MD5(CONCAT(DATABASE(), :name)))")
        because = "a lock is no row"
        is_ours = bool(session.scalar(across_companies(lock, because=because), key))
        try:
            yield is_ours
        finally:
            if is_ours:
                session.scalar(across_companies(unlock, because=because), key)


def companies_in(session: Session, violations: list[Violation]) -> dict[UUID, UUID]:
    """Return whose the rows are that violations name, by the rows' ids; a company is its own."""
    ids = {identity for each in violations for identity in ids_in(each)}
    if not ids:
        return {}
    kinds = [mapper.class_ for mapper in CompanyOwned.registry.mappers]
    owned: list[Any] = [kind for kind in kinds if issubclass(kind, CompanyOwned)]
    parts = [
        select(kind.id, kind.company_id, literal(kind.__tablename__, String(40))).where(
            kind.id.in_(ids)
        )
        for kind in owned
    ]
    parts.append(
        select(Company.id, Company.id, literal(Company.__tablename__, String(40))).where(
            Company.id.in_(ids)
        )
    )
    query = across_companies(union_all(*parts), because="whose they are is what is asked")
    return {identity: company_id for identity, company_id, _ in session.execute(query)}


def ids_in(violation: Violation) -> set[UUID]:
    """Return the ids that a violation names."""
    return {UUID(found) for found in _ID.findall(violation.detail)}
