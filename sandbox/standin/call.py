"""What an operation of any provider is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sandbox.standin.book import Book
from sandbox.standin.faults import Faults


@dataclass(slots=True, kw_only=True)
class Call:
    """One request while it is executed, under the book's lock."""

    book: Book
    faults: Faults
    base_url: str
    endpoints: int = 0
    """How many endpoints are owed the events of this."""
    afterwards: list[Callable[[], object]] = field(default_factory=list)
    """What happens at the provider right after the answer was made: a dispute, a refund that
    bounces."""
