"""Whether what runs here is only tried: nothing of it is kept, told or counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_is_on: ContextVar[bool] = ContextVar("dry_run", default=False)


def is_on() -> bool:
    """Whether this is a dry run."""
    return _is_on.get()


@contextmanager
def only_trying() -> Iterator[None]:
    """Let a block be a dry run."""
    token = _is_on.set(True)
    try:
        yield
    finally:
        _is_on.reset(token)
