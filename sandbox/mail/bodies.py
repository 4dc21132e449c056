"""The body of `POST /v3/mail/send`, as strictly as SendGrid reads it, and no field more."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

ADDRESS = re.compile(r"[^@\s<>,;]{1,64}@[^@\s<>,;]+\.[A-Za-z0-9-]+")
# What SendGrid sets itself.
RESERVED = frozenset(
    "x-sg-id x-sg-eid received dkim-signature content-type content-transfer-encoding to from"
    " subject reply-to cc bcc".split()
)


def _address(value: str) -> str:
    if not ADDRESS.fullmatch(value):
        raise ValueError("Does not contain a valid address.")
    return value


def _base64(value: str) -> str:
    try:
        base64.b64decode(value, validate=True)
    except (ValueError, binascii.Error):
        raise ValueError("The attachment content must be base64 encoded.") from None
    return value


def _headers(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        if name.lower() in RESERVED:
            raise ValueError(f"The header {name} is reserved.")
        if not name.isascii() or "\n" in text or "\r" in text:
            raise ValueError(f"The header {name} is not valid.")
    return value


class Strict(BaseModel):
    """No field more, and none of another kind."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)


class Mailbox(Strict):
    """An address, with a name."""

    email: Annotated[str, AfterValidator(_address)]
    name: str | None = None


class Personalization(Strict):
    """Who gets it, and what comes back with its events."""

    to: list[Mailbox] = Field(min_length=1, max_length=1000)
    cc: list[Mailbox] | None = None
    bcc: list[Mailbox] | None = None
    subject: str | None = None
    headers: Annotated[dict[str, str], AfterValidator(_headers)] | None = None
    custom_args: dict[str, str] = {}
    send_at: int | None = None


class Content(Strict):
    """One form of its words."""

    type: str = Field(min_length=1)
    value: str = Field(min_length=1)


class File(Strict):
    """What goes with it."""

    content: Annotated[str, AfterValidator(_base64)]
    filename: str = Field(min_length=1)
    type: str | None = None
    disposition: str | None = Field(None, pattern="^(inline|attachment)$")
    content_id: str | None = None


class Send(Strict):
    """The whole body."""

    personalizations: list[Personalization] = Field(min_length=1, max_length=1000)
    sender: Mailbox = Field(alias="from")
    reply_to: Mailbox | None = None
    subject: str = Field(min_length=1)
    content: list[Content] = Field(min_length=1)
    attachments: list[File] = []
    headers: Annotated[dict[str, str], AfterValidator(_headers)] = {}
    categories: list[Annotated[str, Field(max_length=255)]] = Field([], max_length=10)
    custom_args: dict[str, str] = {}
    mail_settings: dict[str, Any] | None = None
    tracking_settings: dict[str, dict[str, Any]] | None = None

    @model_validator(mode="after")
    def _plainest_first(self) -> Send:
        kinds = [each.type for each in self.content]
        order = [each for each in ("text/plain", "text/html") if each in kinds]
        if kinds[: len(order)] != order:
            raise ValueError("text/plain must be first, followed by text/html.")
        return self
