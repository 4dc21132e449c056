"""What every table shares: column types, the declarative base and the fence between companies.

A row that belongs to a company is `CompanyOwned`. A query that touches such rows runs either in a
session that was opened for one company, which then sees that company's rows only, or under
`across_companies(...)`, which says why it may span them. Anything else raises `Unfenced`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import BINARY, CHAR, DECIMAL, Enum, MetaData, String, Table, event
from sqlalchemy.dialects.mysql import DATETIME
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Mapper,
    ORMExecuteState,
    Session,
    UOWTransaction,
    mapped_column,
    with_loader_criteria,
)
from sqlalchemy.sql import Executable
from sqlalchemy.sql.elements import TextClause
from sqlalchemy.sql.visitors import iterate
from sqlalchemy.types import TypeDecorator

from models.clock import now
from models.ids import new_id

COMPANY = "company_id"
SPANS = "spans_companies"
# An optimizer that reads a small table whole locks rows of others on its way, if for a moment.
BY_KEY = "FORCE INDEX (PRIMARY)"
# How often a session has turned to a company; what it wrote and whose it was found to be.
TURNS = "turns"
_VOUCHED = "vouched"

_Statement = TypeVar("_Statement", bound=Executable)


class Unfenced(Exception):
    """A query would see rows of more than one company without saying so."""


class Id(TypeDecorator[UUID]):
    """A UUID in 16 bytes, in its own byte order: UUIDv7 then sorts by time."""

    impl = BINARY(16)
    cache_ok = True

    def process_bind_param(self, value: UUID | None, dialect: Dialect) -> bytes | None:  # noqa: ARG002
        """Send bytes."""
        return None if value is None else value.bytes

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> UUID | None:  # noqa: ARG002
        """Return a UUID."""
        return None if value is None else UUID(bytes=value)


class Moment(TypeDecorator[datetime]):
    """A time in UTC with microseconds, always aware in Python."""

    impl = DATETIME(fsp=6)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Send UTC without a zone, as the column keeps it; refuse a naive time."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return an aware time in UTC."""
        return None if value is None else value.replace(tzinfo=UTC)


def words(kind: type[StrEnum]) -> Enum:
    """Return an ENUM column type that keeps the values of `kind`."""
    return Enum(kind, values_callable=lambda k: [word.value for word in k], validate_strings=True)


AMOUNT: DECIMAL[Decimal] = DECIMAL(15, 2)
CURRENCY = CHAR(3)
# Providers tell ids apart by case, MySQL's usual collations do not.
PROVIDER_ID = String(100, collation="utf8mb4_bin")


class Base(DeclarativeBase):
    """The declarative base. Constraint names are fixed so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "idx_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {UUID: Id, datetime: Moment, Decimal: AMOUNT}  # noqa: RUF012  SQLAlchemy's own name

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id, sort_order=-10)
    created_at: Mapped[datetime] = mapped_column(default=now, sort_order=90)


class Changing(Base):
    """A table whose rows change after they are made."""

    __abstract__ = True

    updated_at: Mapped[datetime] = mapped_column(default=now, onupdate=now, sort_order=91)


class CompanyOwned(Base):
    """A row of one company's. See the module's first lines for what that means to a query."""

    __abstract__ = True

    company_id: Mapped[UUID] = mapped_column(sort_order=-9)


def across_companies(statement: _Statement, *, because: str) -> _Statement:
    """Let `statement` see every company's rows; `because` says why to whoever reads the code."""
    return statement.execution_options(**{SPANS: because})


def _owned_tables(statement: Executable) -> bool:
    """Whether a company's rows are in it anywhere; text cannot be seen through, so it counts."""
    return isinstance(statement, TextClause) or any(
        isinstance(part, Table) and COMPANY in part.c and part.info.get("company_owned", True)
        for part in iterate(statement)  # type: ignore[arg-type]
    )


def _is_owned(mapper: Mapper[Any]) -> bool:
    return issubclass(mapper.class_, CompanyOwned)


@event.listens_for(Session, "do_orm_execute")
def _fence(state: ORMExecuteState) -> None:
    """Keep each query within the session's company, or refuse it."""
    if state.is_column_load or state.is_relationship_load or state.is_insert:
        return
    if SPANS in state.execution_options:
        return
    mappers = state.all_mappers
    if not any(map(_is_owned, mappers)) and not _owned_tables(state.statement):
        return
    company_id = state.session.info.get(COMPANY)
    if company_id is None:
        raise Unfenced(f"no company for: {str(state.statement)[:200]}")
    if not mappers:
        raise Unfenced("a Core statement on a company's rows must say that it spans companies")
    # In a lambda a bound value keeps its own type, not the column's: bytes, as the row has them.
    key = company_id.bytes
    state.statement = state.statement.options(
        with_loader_criteria(
            CompanyOwned, lambda table: table.company_id == key, include_aliases=True
        )
    )


@event.listens_for(Session, "before_flush")
def _fence_writes(session: Session, flush: UOWTransaction, instances: object) -> None:  # noqa: ARG001
    """Refuse to write a row of another company's than the session's."""
    _vouch(session)
    session.info.pop(_VOUCHED, None)


def turn_to(session: Session, company_id: UUID | None, *, request_id: str | None = None) -> None:
    """Let a session that acts for many act for this company from here on.

    What was written so far is checked to be of the company that it was written for.
    """
    _vouch(session)
    session.info[COMPANY] = company_id
    session.info["request_id"] = request_id
    session.info[TURNS] = session.info.get(TURNS, 0) + 1


def _vouch(session: Session) -> None:
    company_id = session.info.get(COMPANY)
    if company_id is None:
        return
    vouched: set[int] = session.info.setdefault(_VOUCHED, set())
    for row in (*session.new, *session.dirty):
        # By address: the session holds what it is yet to write.
        if id(row) in vouched:
            continue
        if isinstance(row, CompanyOwned) and row.company_id != company_id:
            raise Unfenced(f"{type(row).__name__} of another company")
        vouched.add(id(row))


class FencedSession(Session):
    """A session that gives out no other company's row, also of those that it has loaded."""

    def get(self, entity: Any, ident: Any, **how: Any) -> Any:
        """Return the session's company's row, or None."""
        row = super().get(entity, ident, **how)
        company_id = self.info.get(COMPANY)
        if company_id and isinstance(row, CompanyOwned) and row.company_id != company_id:
            return None
        return row
