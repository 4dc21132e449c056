"""An entry of the stream: some events of one producer, numbered one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson

from models.analytics_events import NewEvent, Source, as_json
from models.analytics_producers import Numbers

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO = timedelta(microseconds=1)


class Unreadable(Exception):
    """What stands in an entry is none of ours."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as it stands in the stream."""

    id: str
    numbers: Numbers
    payload: str

    @property
    def number(self) -> int:
        """Return how many events it holds."""
        return self.numbers.last - self.numbers.first + 1

    @property
    def size(self) -> int:
        """Return how long its payload is, as Redis counts it."""
        return len(self.payload.encode())

    def events(self) -> list[NewEvent]:
        """Return its events.

        Raises:
            Unreadable: it is not as `written` wrote it.
        """
        try:
            found = [_read(each) for each in orjson.loads(self.payload)]
        except (ValueError, TypeError, ArithmeticError) as error:
            raise Unreadable(f"{type(error).__name__}: {error}") from error
        if len(found) != self.number:
            raise Unreadable(f"{len(found)} events under {self.number} numbers")
        return found

    def numbered(self) -> Iterator[tuple[Numbers, NewEvent]]:
        """Return each event with its own number."""
        of = self.numbers
        for place, event in enumerate(self.events(), of.first):
            yield Numbers(of.producer_id, of.name, place, place), event


def entry_of(entry_id: str, fields: Mapping[str, str]) -> Entry:
    """Return an entry.

    Raises:
        Unreadable: it has no numbers, so that it is nobody's.
    """
    try:
        first, number = int(fields["first"]), int(fields["count"])
        numbers = Numbers(
            UUID(fields["producer"]), fields.get("name", ""), first, first + number - 1
        )
        return Entry(entry_id, numbers, fields["events"])
    except (KeyError, ValueError) as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error


def written(events: Iterable[NewEvent]) -> str:
    """Return events as an entry holds them: numbers are exact, metadata is JSON in JSON."""
    return orjson.dumps([_written(each) for each in events]).decode()


def groups(entries: Sequence[Entry], most: int) -> Iterator[list[Entry]]:
    """Split entries into groups of about so many events, each for one transaction."""
    group: list[Entry] = []
    number = 0
    for entry in entries:
        if group and number + entry.number > most:
            yield group
            group, number = [], 0
        group.append(entry)
        number += entry.number
    if group:
        yield group


def _written(event: NewEvent) -> list[Any]:
    return [
        event.id.hex,
        event.company_id.hex,
        str(event.event_type),
        event.name,
        (event.timestamp - _EPOCH) // _MICRO,
        str(event.source),
        event.user_id.hex if event.user_id else None,
        event.module_id.hex if event.module_id else None,
        _text(event.amount),
        event.currency,
        _text(event.quantity),
        event.dimension,
        as_json(event.metadata),
    ]


def _text(number: Decimal | None) -> str | None:
    return None if number is None else f"{number:f}"


def _read(found: list[Any]) -> NewEvent:
    identity, company_id, event_type, name, at, source, user_id, module_id = found[:8]
    amount, currency, quantity, dimension, metadata = found[8:]
    return NewEvent(
        id=UUID(identity),
        company_id=UUID(company_id),
        event_type=event_type,
        name=name,
        timestamp=_EPOCH + at * _MICRO,
        source=Source(source),
        user_id=UUID(user_id) if user_id else None,
        module_id=UUID(module_id) if module_id else None,
        amount=None if amount is None else Decimal(amount),
        currency=currency,
        quantity=None if quantity is None else Decimal(quantity),
        dimension=dimension,
        metadata=metadata,
    )
