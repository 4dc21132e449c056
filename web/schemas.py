"""Values that requests and answers share: exact amounts, currencies, times, pages."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

from models.money import CURRENCIES
from models.timeline import Cause
from web.auth import caller
from web.problems import invalid
from web.routes import Input
from worker import telemetry

_NUMBER = re.compile(r"-?\d{1,40}(\.\d{1,40})?", re.ASCII)
_CURSOR_BYTES = 16


def _exact(value: Any) -> Decimal:
    """Read a JSON number or a string of digits, exactly; a boolean or a word is neither."""
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise ValueError("must be a number")  # noqa: TRY004  pydantic wants ValueErrors
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        raise ValueError("is not a number")
    try:
        return Decimal(value)
    except InvalidOperation:
        raise ValueError("is not a number") from None


def _known_currency(value: str) -> str:
    if value.upper() not in CURRENCIES:
        raise ValueError("is not a currency that can be charged")
    return value.upper()


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("is out of range") from None


Exact = Annotated[
    Decimal,
    BeforeValidator(_exact),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0, "maximum": 9999999999999.99},
                {"type": "string", "pattern": r"^[0-9]{1,13}(\.[0-9]{1,2})?$"},
            ],
            "description": "In the currency's main unit, as a number or a string; exact.",
        }
    ),
]
Amount = Annotated[
    Decimal,
    PlainSerializer(lambda amount: amount),
    WithJsonSchema({"type": "number", "description": "In the currency's main unit; exact."}),
]
Currency = Annotated[
    str,
    Field(min_length=3, max_length=3, pattern="^[A-Za-z]{3}$", examples=["INR"]),
    AfterValidator(_known_currency),
]
Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]


class ErrorAnswer(BaseModel):
    """Why the provider refused."""

    code: str | None
    message: str | None


class PageQuery(Input):
    """Which page of a list. `cursor` is the `next_cursor` of the page before."""

    cursor: str | None = Field(None, max_length=100)
    limit: int = Field(50, ge=1, le=100)
    created_from: Moment | None = None
    created_to: Moment | None = None

    @property
    def after(self) -> UUID | None:
        """Return the id that the cursor names."""
        if self.cursor is None:
            return None
        try:
            raw = base64.urlsafe_b64decode(self.cursor + "=" * (-len(self.cursor) % 4))
        except ValueError:
            raw = b""
        if len(raw) != _CURSOR_BYTES:
            raise invalid("cursor", "is not one that this list gave")
        return UUID(bytes=raw)


def cursor_of(identity: UUID | None) -> str | None:
    """Return the cursor that names `identity`."""
    if identity is None:
        return None
    return base64.urlsafe_b64encode(identity.bytes).decode().rstrip("=")


def cause(why: str) -> Cause:
    """Return this request as a cause for the timeline."""
    request_id = telemetry.current().get("request_id")
    return Cause(why=why, request_id=request_id, user_id=caller().user_id)
