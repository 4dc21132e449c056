"""What an operation is given: the book, who asked, and the way to tell what happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox.paypal.book import Book, new_id
from sandbox.paypal.errors import Object, link
from sandbox.standin.book import frozen
from sandbox.standin.call import Call as AnyCall

EVENTS = "/v1/notifications/webhooks-events"


@dataclass(slots=True, kw_only=True)
class Call(AnyCall):
    """One request to PayPal while it is executed."""

    book: Book
    request_id: str | None = None
    is_whole: bool = False
    """Whether the caller prefers the representation to the minimum."""

    def link(self, path: str, rel: str, method: str = "GET") -> Object:
        """Return one HATEOAS link."""
        return link(self.base_url, path, rel, method)

    def happened(
        self, kind: str, resource_type: str, shown: Object, summary: str, *, about: str
    ) -> None:
        """Make an event of the resource as it is now; `about` is the id that it is found by."""
        event_id = f"WH-{new_id()}-{new_id()}"
        path = f"{EVENTS}/{event_id}"
        shown_event: Object = {
            "id": event_id,
            "event_version": "1.0",
            "create_time": self.book.time(),
            "resource_type": resource_type,
            "resource_version": "2.0",
            "event_type": kind,
            "summary": summary,
            "resource": frozen(shown),
            "links": [self.link(path, "self"), self.link(f"{path}/resend", "resend", "POST")],
        }
        self.book.keep(
            "event", shown_event, type=kind, about=about, pending_webhooks=self.endpoints
        )


Operation = Callable[..., Object | None]
"""Takes a Call, the checked body or query and the ids in the path; returns the record that was made
or is shown, or None where there is nothing to tell."""
Params = Any
