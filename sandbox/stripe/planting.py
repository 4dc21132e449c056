"""What a test plants in the book: objects that tell otherwise than they did, without an event."""

from __future__ import annotations

from typing import Any

from sandbox.stripe.book import kind_of
from sandbox.stripe.call import Call
from sandbox.stripe.errors import Object


def alter(call: Call, body: dict[str, Any]) -> Object:
    """Have an object tell other values of `fields`, and `movement` of its balance transaction's."""
    known = call.book.get(kind_of(body["id"]), body["id"])
    if movement := body.get("movement"):
        moved = call.book.get("balance_transaction", known["balance_transaction"])
        call.book.put(moved | movement)
    return call.book.put(known | body.get("fields", {}))
