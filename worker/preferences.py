"""What people prefer, as every page asks for it: kept for an hour, and stale when it is changed."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy.orm import Session

from models import preferences
from models.tenants import Language
from worker.caching import get_or_fetch, invalidate_after_commit
from worker.database import in_transaction, transaction

LIFE_S = 3600


class Theme(StrEnum):
    """How the console looks."""

    SYSTEM = "system"
    LIGHT = "light"
    DARK = "dark"


class CurrencyDisplay(StrEnum):
    """How a currency is written beside an amount."""

    SYMBOL = "symbol"
    CODE = "code"
    NAME = "name"


class Preferences(BaseModel):
    """What a person prefers; a language or a zone that is None is the browser's.

    `notifications` holds the letters that were switched on or off; the others are on.
    """

    language: Language | None = None
    time_zone: str | None = None
    currency_display: CurrencyDisplay = CurrencyDisplay.SYMBOL
    theme: Theme = Theme.SYSTEM
    notifications: dict[str, bool] = {}


def preferences_of(user_id: UUID) -> Preferences:
    """Return what a person prefers."""

    def read() -> Preferences:
        with transaction() as session:
            return Preferences.model_validate(preferences.of_user(session, user_id))

    return get_or_fetch(_key(user_id), life_s=LIFE_S, kind=Preferences, fetch=read) or read()


def choose(user_id: UUID, chosen: Mapping[str, Any]) -> Preferences:
    """Keep what a person chooses; what they set to None is as by default again."""
    return in_transaction(_choose, None, user_id, chosen)


def _choose(session: Session, user_id: UUID, chosen: Mapping[str, Any]) -> Preferences:
    kept = preferences.choose(session, user_id, chosen)
    invalidate_after_commit(session, _key(user_id))
    return Preferences.model_validate(kept)


def _key(user_id: UUID) -> str:
    return f"user_prefs:{user_id}"
