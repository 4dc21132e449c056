"""A row of any table with only what a test says of it; the rest is filled with what fits."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import CHAR, JSON, Boolean, Column, Date, Enum, Integer, Numeric, String, inspect
from sqlalchemy.orm import Session

from models.base import Base, Id, Moment
from models.clock import now
from models.ids import new_id


def add(session: Session, kind: type[Base], **columns: Any) -> UUID:
    """Add a row and return its id. Keys to other rows that must be there are to be given."""
    values = {"id": new_id(), **columns}
    attributes = {each.columns[0].name: each.key for each in inspect(kind).column_attrs}
    for column in kind.__table__.columns:
        name = attributes[column.name]
        if name not in values and _must_be_given(column):
            values[name] = _filling(column)
    session.add(kind(**values))
    session.flush()
    return values["id"]


def _must_be_given(column: Column[Any]) -> bool:
    has_own = column.default is not None or column.server_default is not None
    return not column.nullable and not has_own and column.computed is None


def _filling(column: Column[Any]) -> Any:
    kind = column.type
    if isinstance(kind, Id | Moment):
        return new_id() if isinstance(kind, Id) else now()
    if isinstance(kind, Enum):
        return kind.enum_class(kind.enums[0]) if kind.enum_class else kind.enums[0]
    if isinstance(kind, CHAR) and kind.length == len("INR"):
        return "INR"
    simple: list[tuple[type, Any]] = [
        (String, new_id().hex[-(getattr(kind, "length", None) or 32) :]),
        (Boolean, False),
        (Integer, 0),
        (Numeric, Decimal("1.00")),
        (Date, now().date()),
        (JSON, {}),
    ]
    for each, value in simple:
        if isinstance(kind, each):
            return value
    raise TypeError(f"{column} of {kind!r} must be given")
