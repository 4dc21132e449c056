"""What the caller prefers, wherever they sign in."""

from __future__ import annotations

from typing import Annotated
from zoneinfo import available_timezones

from flask import Response
from pydantic import AfterValidator, BaseModel, Field, StrictBool, WithJsonSchema

from models.tenants import Language
from web.api.companies import TimeZone
from web.auth import allowed, caller
from web.routes import Input, Routes, respond
from worker import preferences
from worker.mail.catalogue import TEMPLATES
from worker.preferences import CurrencyDisplay, Preferences, Theme

routes = Routes("preferences", __name__, url_prefix="/api/v1/me/preferences")

OPTIONAL = sorted(name for name, template in TEMPLATES.items() if template.is_optional)


def _optional(letters: dict[str, bool]) -> dict[str, bool]:
    if unknown := sorted(letters.keys() - OPTIONAL):
        raise ValueError(f"has what cannot be switched: {', '.join(unknown)}")
    return letters


Letters = Annotated[
    dict[str, StrictBool],
    AfterValidator(_optional),
    WithJsonSchema(
        {
            "type": "object",
            "properties": {name: {"type": "boolean"} for name in OPTIONAL},
            "additionalProperties": False,
            "description": "Whether each letter is wanted that one may do without.",
        }
    ),
]
Zone = Annotated[
    TimeZone, WithJsonSchema({"type": "string", "enum": sorted(available_timezones())})
]


class PreferencesChange(Input):
    """What is to be changed: what is left out stays, null is as by default again."""

    language: Language | None = None
    time_zone: Zone | None = None
    currency_display: CurrencyDisplay | None = None
    theme: Theme | None = None
    notifications: Letters | None = Field(None, description="Those that are named are changed.")


class PreferencesAnswer(BaseModel):
    """What the caller prefers, as the console shows it.

    In the language amounts and times are written, not words; one that is null, or a time zone, is
    the browser's.
    """

    language: Language | None
    time_zone: str | None
    currency_display: CurrencyDisplay
    theme: Theme
    notifications: dict[str, bool] = Field(
        description="Whether each letter is wanted that one may do without."
    )


@routes.get("", responses={200: PreferencesAnswer})
@allowed()
def read_preferences() -> Response:
    """Return what the caller prefers."""
    return respond(_shown(preferences.preferences_of(caller().user_id)))


@routes.patch("", responses={200: PreferencesAnswer})
@allowed()
def change_preferences(body: PreferencesChange) -> Response:
    """Change what the caller prefers."""
    chosen = body.model_dump(mode="json", exclude_unset=True)
    return respond(_shown(preferences.choose(caller().user_id, chosen)))


def _shown(found: Preferences) -> PreferencesAnswer:
    letters = {name: found.notifications.get(name, True) for name in OPTIONAL}
    return PreferencesAnswer.model_validate({**found.model_dump(), "notifications": letters})
