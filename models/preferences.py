"""What a person prefers: one row a name, and none where the default will do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, ForeignKey, String, UniqueConstraint, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Changing
from models.tenants import User


class UserPreference(Changing):
    """One thing that a person has chosen."""

    __tablename__ = "user_preferences"
    __table_args__ = (UniqueConstraint("user_id", "name"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(String(50))
    value: Mapped[Any] = mapped_column(JSON)


def of_user(session: Session, user_id: UUID) -> dict[str, Any]:
    """Return what a person has chosen, by name."""
    rows = session.scalars(select(UserPreference).where(UserPreference.user_id == user_id))
    return {row.name: row.value for row in rows}


def choose(session: Session, user_id: UUID, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what a person chooses, and forget what they set to None; return all that they chose.

    Of what has names of its own, those that are chosen are changed and the others stay.
    """
    # Two changes of the same person take turns: each sees what the other has made.
    session.get_one(User, user_id, with_for_update=True)
    rows = {
        row.name: row
        for row in session.scalars(select(UserPreference).where(UserPreference.user_id == user_id))
    }
    for name, value in chosen.items():
        row = rows.get(name)
        if value is None:
            if row is not None:
                session.delete(rows.pop(name))
        elif row is None:
            rows[name] = UserPreference(user_id=user_id, name=name, value=value)
            session.add(rows[name])
        elif isinstance(value, dict) and isinstance(row.value, dict):
            # A new one: SQLAlchemy does not see what is put into the old one.
            row.value = {**row.value, **value}
        else:
            row.value = value
    session.flush()
    return {name: row.value for name, row in rows.items()}
