"""Messages as receivers get them: `type`, `timestamp` and `data`, and whose it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson

# What a test of an endpoint sends.
TEST = "endpoint.test"


def message_name(message_id: UUID) -> str:
    """Return a message's id as receivers know it; the same for every attempt."""
    return f"msg_{message_id.hex}"


def written(event: Mapping[str, Any]) -> str:
    """Return the body of a message about an event, as it is announced.

    Beside what the standard asks for it tells the company, for who hears several.
    """
    parts = {name: event.get(name) for name in ("type", "timestamp", "company_id", "data")}
    return orjson.dumps(parts).decode()
