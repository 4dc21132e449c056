"""When a card ends and when its holder is told. All days are UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

NOTICE_DAYS = 30
# Before the card's last day: time enough to get a new one by post.
_DAY = timedelta(days=1)


def end_of(year: int, month: int) -> datetime:
    """Return the first moment after a card's last day, which is the last of its month."""
    return datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)


def notice_at(year: int, month: int) -> datetime:
    """Return when the holder of a card is told that it ends: 30 days before its last day."""
    return end_of(year, month) - _DAY - timedelta(days=NOTICE_DAYS)


def ended_by(moment: datetime) -> tuple[int, int]:
    """Return the latest year and month whose cards have ended at `moment`."""
    return (moment.year, moment.month - 1) if moment.month > 1 else (moment.year - 1, 12)


def told_by(moment: datetime) -> tuple[int, int]:
    """Return the latest year and month whose cards' holders are to be told at `moment`."""
    return ended_by(moment + _DAY + timedelta(days=NOTICE_DAYS))
