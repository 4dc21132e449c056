"""Our side of a comparison: rows as lists of text, in keyset pages by when we heard of them.

The database packs a page into one value: a driver in Python takes longer to read two thousand rows
of seven columns than all the rest of the comparison does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BINARY,
    BigInteger,
    ColumnElement,
    Select,
    String,
    and_,
    cast,
    func,
    literal,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.orm import Session

from models.base import across_companies
from models.disputes import Dispute
from models.methods import PaymentMethod, ProviderCustomer
from models.refunds import Refund
from models.transactions import Provider, Transaction
from worker.gateways.books import Subject

LONG_AGO = "1970-01-01 00:00:00.000000"  # of a row that came before we wrote such times down
WHY = "a provider's account is everybody's"
PAGE = 2000  # rows of ours that are held at once
KEYS = 1000  # ids of one look-up


# What of a row of ours is compared: the provider's id, our row's id and its company's without
# hyphens, cents, currency, status, and when we heard of it.
Row = list[str]
MOST_BYTES = 4_000_000  # of a page that the database packs; two thousand rows need a tenth
_NEXT_VALUE, _NEXT_ROW = "\x1f", "\x1e"  # ASCII's own separators, which no id has


@dataclass(frozen=True, slots=True)
class Place:
    """Where our side goes on: beyond this moment and row."""

    at: datetime
    id: str

    @classmethod
    def of(cls, row: Row) -> Place:
        """Return the place of a row."""
        return cls(heard_at(row), row[1])


@dataclass(frozen=True)
class _Source:
    columns: tuple[Any, ...]
    object_id: Any
    at: Any
    id: Any
    provider: Any
    others: tuple[Any, ...] = ()

    def query(self, provider: Provider) -> Select[Any]:
        packed = func.concat_ws(_NEXT_VALUE, *self.columns, func.coalesce(self.at, LONG_AGO))
        found = select(packed.label("packed")).where(self.provider == provider)
        for other in self.others:
            found = found.join(*other)
        return found


def _cents(amount: Any) -> ColumnElement[int]:
    return cast(amount * 100, BigInteger)


def _raw(column: Any) -> ColumnElement[str]:
    return func.lower(func.hex(type_coerce(column, BINARY(16))))


def _text(column: Any) -> ColumnElement[str]:
    return type_coerce(column, String)


def heard_at(row: Row) -> datetime:
    """Return when we heard of what a row is about."""
    return datetime.fromisoformat(row[6]).replace(tzinfo=UTC)


SOURCES = {
    Subject.CHARGE: _Source(
        (
            Transaction.payment_processor_id,
            _raw(Transaction.id),
            _raw(Transaction.company_id),
            _cents(Transaction.amount),
            Transaction.currency,
            _text(Transaction.status),
        ),
        Transaction.payment_processor_id,
        Transaction.charged_at,
        Transaction.id,
        Transaction.payment_method,
    ),
    Subject.REFUND: _Source(
        (
            Refund.provider_refund_id,
            _raw(Refund.id),
            _raw(Refund.company_id),
            _cents(Refund.amount),
            Transaction.currency,
            _text(Refund.status),
        ),
        Refund.provider_refund_id,
        Refund.created_at,
        Refund.id,
        Transaction.payment_method,
        ((Transaction, Transaction.id == Refund.transaction_id),),
    ),
    Subject.DISPUTE: _Source(
        (
            Dispute.provider_dispute_id,
            _raw(Dispute.id),
            _raw(Dispute.company_id),
            _cents(Dispute.amount),
            Dispute.currency,
            _text(Dispute.status),
        ),
        Dispute.provider_dispute_id,
        Dispute.created_at,
        Dispute.id,
        Dispute.provider,
    ),
    Subject.CUSTOMER: _Source(
        (
            ProviderCustomer.provider_id,
            _raw(ProviderCustomer.id),
            _raw(ProviderCustomer.company_id),
            literal("0"),
            literal(""),
            literal("active"),
        ),
        ProviderCustomer.provider_id,
        ProviderCustomer.created_at,
        ProviderCustomer.id,
        ProviderCustomer.provider,
    ),
    Subject.METHOD: _Source(
        (
            PaymentMethod.provider_id,
            _raw(PaymentMethod.id),
            _raw(PaymentMethod.company_id),
            literal("0"),
            literal(""),
            _text(PaymentMethod.status),
        ),
        PaymentMethod.provider_id,
        PaymentMethod.created_at,
        PaymentMethod.id,
        PaymentMethod.provider,
    ),
}
# Of these a missing one is seen from the provider's side only.
ONE_SIDED = frozenset({Subject.CUSTOMER, Subject.METHOD})


def pages(  # noqa: PLR0913  both borders, and the way between them
    session: Session,
    subject: Subject,
    provider: Provider,
    *,
    after: Place | None,
    until: datetime,
    limit: datetime,
    is_newest_first: bool,
) -> Iterator[list[Row]]:
    """Yield our rows in the order of the provider's book, some at a time.

    Args:
        after: where the last chunk ended; the window's own border at first.
        until: as far as the provider's side has been read, included.
        limit: the window's border on the far side of `after`, used where there is no `after`.
    """
    if subject in ONE_SIDED:
        return
    source = SOURCES[subject]
    order = (source.at.desc(), source.id.desc()) if is_newest_first else (source.at, source.id)
    base = source.query(provider).where(
        source.object_id.is_not(None),
        source.at >= until if is_newest_first else source.at <= until,
    )
    while True:
        query = base.where(_beyond(source, after, limit, is_newest_first=is_newest_first))
        rows = _unpacked(session, query.order_by(*order).limit(PAGE))
        if rows:
            yield rows
        if len(rows) < PAGE:
            return
        after = last_of(rows, is_newest_first=is_newest_first)


def last_of(rows: list[Row], *, is_newest_first: bool) -> Place:
    """Return the place beyond which the next page begins; a packed page has no order."""
    furthest = min if is_newest_first else max
    return Place.of(furthest(rows, key=_order))


def _order(row: Row) -> str:
    return row[6] + row[1]


def _unpacked(session: Session, query: Select[Any]) -> list[Row]:
    session.connection().exec_driver_sql(f"SET SESSION group_concat_max_len = {MOST_BYTES}")
    inner = query.subquery()
    packed: str | None = session.scalar(
        across_companies(select(func.aggregate_strings(inner.c.packed, _NEXT_ROW)), because=WHY)
    )
    if not packed:
        return []
    return [each.split(_NEXT_VALUE) for each in packed.split(_NEXT_ROW)]


def _beyond(
    source: _Source, after: Place | None, limit: datetime, *, is_newest_first: bool
) -> ColumnElement[bool]:
    at, raw = source.at, type_coerce(source.id, BINARY(16))
    if after is None:
        return and_(at < limit) if is_newest_first else and_(at >= limit)
    if is_newest_first:
        # Both forms: the first is what an index is walked by.
        return and_(at <= after.at, or_(at < after.at, raw < bytes.fromhex(after.id)))
    return and_(at >= after.at, or_(at > after.at, raw > bytes.fromhex(after.id)))


def by_object_id(
    session: Session, subject: Subject, provider: Provider, ids: Collection[str]
) -> dict[str, Row]:
    """Return our rows of the provider's objects, by the provider's ids."""
    source = SOURCES[subject]
    wanted = list(ids)
    found: dict[str, Row] = {}
    for first in range(0, len(wanted), KEYS):
        query = source.query(provider).where(source.object_id.in_(wanted[first : first + KEYS]))
        found |= {row[0]: row for row in _unpacked(session, query)}
    return found


def owners(session: Session, provider: Provider, customers: Collection[str]) -> dict[str, str]:
    """Return whose the provider's customers are, as far as we know them."""
    rows = by_object_id(session, Subject.CUSTOMER, provider, customers)
    return {customer: row[2] for customer, row in rows.items()}
