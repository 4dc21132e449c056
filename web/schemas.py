"""Values that requests and answers share: exact amounts, currencies, times, pages."""

from __future__ import annotations

import base64
import re
from datetime import UTC, date, datetime
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
from web.routes import Input
from worker import telemetry

# What people write: lines and tabs, and of the control characters no other.
WRITTEN = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
ONE_LINE = r"^[^\x00-\x1f\x7f]*$"
MOST_SEARCHED = 100
_NUMBER = re.compile(r"-?\d{1,40}(\.\d{1,40})?", re.ASCII)


def whole(value: Any) -> Any:
    """Take 24.0 for 24: to a JSON schema both are whole."""
    is_whole = isinstance(value, Decimal) and value == value.to_integral_value()
    return int(value) if is_whole else value


def exact(value: Any) -> Decimal:
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
    if not value.isascii() or value.upper() not in CURRENCIES:
        raise ValueError("is not a currency that can be charged")
    return value.upper()


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("is out of range") from None


def _searchable(value: str) -> str:
    if not 1 <= len(value) <= MOST_SEARCHED or not re.fullmatch(ONE_LINE, value):
        raise ValueError(
            f"must be an id, a number or how it begins: 1 to {MOST_SEARCHED} characters in one line"
        )
    return value.strip()


def _spelled(pattern: str, told: str) -> BeforeValidator:
    """Take text of one spelling only: pydantic would read a number as seconds since 1970."""

    def check(value: Any) -> Any:
        if isinstance(value, str) and not re.fullmatch(pattern, value, re.ASCII):
            raise ValueError(told)
        if isinstance(value, int | Decimal):
            raise ValueError(told)  # noqa: TRY004  pydantic wants ValueErrors
        return value

    return BeforeValidator(check)


Exact = Annotated[
    Decimal,
    BeforeValidator(exact),
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
# Of an address, where all is text.
ExactText = Annotated[
    Decimal,
    BeforeValidator(exact),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^[0-9]{1,13}(\.[0-9]{1,2})?$",
            "description": "In the currency's main unit; exact.",
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
    Field(max_length=3),
    AfterValidator(_known_currency),
    WithJsonSchema({"type": "string", "enum": sorted(CURRENCIES)}),
]
Moment = Annotated[
    AwareDatetime,
    _spelled(r"\d{4}-\d\d-\d\d[Tt ].{5,30}", "must be a time as in RFC 3339, with its offset"),
    AfterValidator(_in_utc),
]
Search = Annotated[
    str,
    AfterValidator(_searchable),
    WithJsonSchema(
        {"type": "string", "minLength": 1, "maxLength": MOST_SEARCHED, "pattern": ONE_LINE}
    ),
]
Day = Annotated[date, _spelled(r"\d{4}-\d\d-\d\d", "must be a date as in 2026-12-31")]


class ErrorAnswer(BaseModel):
    """Why the provider refused."""

    code: str | None
    message: str | None


class PageQuery(Input):
    """Which page of a list. `cursor` is the `next_cursor` of the page before."""

    cursor: str | None = Field(None, pattern="^[A-Za-z0-9_-]{22}$")
    limit: int = Field(50, ge=1, le=100)
    created_from: Moment | None = None
    created_to: Moment | None = None

    @property
    def after(self) -> UUID | None:
        """Return the id that the cursor names."""
        if self.cursor is None:
            return None
        return UUID(bytes=base64.urlsafe_b64decode(f"{self.cursor}=="))


def cursor_of(identity: UUID | None) -> str | None:
    """Return the cursor that names `identity`."""
    if identity is None:
        return None
    return base64.urlsafe_b64encode(identity.bytes).decode().rstrip("=")


def cause(why: str) -> Cause:
    """Return this request as a cause for the timeline."""
    request_id = telemetry.current().get("request_id")
    by = caller().person
    return Cause(why=why if by else f"{why}, by a link", request_id=request_id, user_id=by)
