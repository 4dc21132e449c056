"""Metrics of what a transaction does, told once it has committed.

A transaction may be run again whole, or given up for a group whose acts are then run alone: what it
counted before its commit would be counted twice.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.orm import Session

from worker.telemetry.metrics import counting

_COUNTED = "counted"


def tally(session: Session, name: str, number: int = 1, /, **tags: str) -> None:
    """Raise a counter of the table with the commit. KeyError or ValueError for what it lacks."""
    counted: list[Callable[[], None]] = session.info.setdefault(_COUNTED, [])
    counted.append(counting(name, number, **tags))


def tell(session: Session) -> None:
    """Tell what a transaction has counted; to be called after its commit."""
    for raise_counter in session.info.pop(_COUNTED, ()):
        raise_counter()
