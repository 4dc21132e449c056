"""A letter as it is handed to a provider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID


@dataclass(frozen=True)
class Attachment:
    """A file that goes with a letter."""

    name: str
    content_type: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Letter:
    """One letter to one address; nothing of it is for logs but its id and its template.

    Attributes:
        id: that of the row; it comes back with the provider's events.
        sender: an address, or a name with an address in angle brackets.
        headers: beside the usual ones, such as List-Unsubscribe.
    """

    id: UUID
    template: str
    sender: str = field(repr=False)
    reply_to: str = field(repr=False)
    to: str = field(repr=False)
    subject: str = field(repr=False)
    text: str = field(repr=False)
    html: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    attachments: tuple[Attachment, ...] = ()
