"""The SQL that this process sends while a block runs: `with queries() as sent`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import event

from worker.database import engine


@contextmanager
def queries() -> Iterator[list[str]]:
    sent: list[str] = []

    def note(_connection, _cursor, statement, *_rest):
        sent.append(statement)

    made = engine()
    event.listen(made, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(made, "before_cursor_execute", note)
