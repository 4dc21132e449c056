"""What was sent, and what was told of it."""

from __future__ import annotations

from sandbox.standin.book import Book as AnyBook
from sandbox.standin.refusal import Refusal

MESSAGE = "message"
EVENT = "event"


class Book(AnyBook):
    """Messages, one a recipient, and events."""

    indexed = {  # noqa: RUF012  declared as ClassVar where it is inherited from
        EVENT: ("mail_id",),
        MESSAGE: ("mail_id", "to"),
    }
    key_life_s = 0

    def missing(self, kind: str, object_id: str, *, param: str) -> Refusal:  # noqa: ARG002
        """Return the answer to what is not known."""
        return Refusal(f"No {kind} {object_id}", status=404)
