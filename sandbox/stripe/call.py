"""What an operation is given: the book, who asked, and the way to tell what happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox.standin.book import frozen
from sandbox.standin.call import Call as AnyCall
from sandbox.stripe.book import Book, new_id
from sandbox.stripe.errors import Object

API_VERSION = "2026-10-28.endive"

Params = dict[str, Any]
Operation = Callable[..., Object]
"""Takes a Call, the checked parameters and the ids in the path; returns what is answered."""


@dataclass(slots=True, kw_only=True)
class Call(AnyCall):
    """One request to Stripe while it is executed."""

    book: Book
    request_id: str | None = None
    key: str | None = None
    client_secret: str | None = None

    def happened(self, kind: str, shown: Object, previous: Object | None = None) -> None:
        """Make an event that carries the object as it is now."""
        data: Object = {"object": frozen(shown)}
        if previous is not None:
            data["previous_attributes"] = previous
        self.book.put(
            {
                "id": new_id("event"),
                "object": "event",
                "api_version": API_VERSION,
                "created": self.book.now(),
                "data": data,
                "livemode": False,
                "pending_webhooks": self.endpoints,
                "request": {"id": self.request_id, "idempotency_key": self.key},
                "type": kind,
            }
        )


def merged_metadata(known: dict[str, str], given: dict[str, str] | str | None) -> dict[str, str]:
    """Return metadata after an update: an empty value unsets a key, an empty hash all of them."""
    if given is None:
        return known
    if isinstance(given, str):
        return {}
    return {key: value for key, value in (known | given).items() if value != ""}
