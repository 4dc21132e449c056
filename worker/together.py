"""Acts of many threads in one transaction.

    record = Together(_record, hold=_hold)
    answer = record.run(Act(company_id, ...))

Under load a statement, a flush and a commit then serve many at once; a lone act is not kept
waiting. Should one of them fail, or need a row that another process holds, nothing of the group is
kept and each is run alone: what one does never decides what becomes of another.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import Context, copy_context
from typing import Generic, TypeVar

from sqlalchemy.orm import Session

from models.locks import IN_GROUP
from worker.database import in_transaction, transaction
from worker.group_commit import GroupCommit

log = logging.getLogger(__name__)

# Large enough that a group's own cost is small beside its acts', small enough to be short.
MOST = 32
# One makes the largest groups: with two, a thousand charges took half as long again.
LANES = 1

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class _Alone(Exception):
    """The group was given up: each acts in a transaction of its own."""


class Together(Generic[Item, Answer]):
    """Runs `act(session, item)` for the items of many threads in one transaction.

    Args:
        act: must turn the session to its company before it asks for rows. It locks with
            `models.locks`, and may be run again whole.
        hold: locks by few statements what the acts will ask for; it may leave out what others
            hold, and an act that needs it has the group given up.
    """

    def __init__(
        self,
        act: Callable[[Session, Item], Answer],
        hold: Callable[[Session, Sequence[Item]], None],
    ) -> None:
        self._act = act
        self._hold = hold
        self._commit: GroupCommit[tuple[Item, Context], Answer] = GroupCommit(
            self._flush, lanes=LANES, most=MOST
        )

    @property
    def waiting(self) -> int:
        """How many stand in line for the next group."""
        return self._commit.waiting

    def run(self, item: Item) -> Answer:
        """Return what `act` returned once that is committed, or raise what it raised."""
        # Left before the act runs alone: what that raises is not told as a consequence.
        with suppress(_Alone):
            return self._commit.put((item, copy_context()), size=1)
        return in_transaction(self._act, None, item)

    def _flush(
        self, group: list[tuple[Item, Context]]
    ) -> tuple[Sequence[Answer | Exception], Callable[[], None]]:
        try:
            return self._act_for(group), _nothing
        except Exception as error:  # noqa: BLE001  whoever caused it meets it again, alone
            log.debug("a group of %d is given up: %s", len(group), type(error).__name__)
            return [_Alone()] * len(group), _nothing

    def _act_for(self, group: list[tuple[Item, Context]]) -> list[Answer]:
        with transaction() as session, session.no_autoflush:
            session.info[IN_GROUP] = True
            self._hold(session, [item for item, _ in group])
            # Each in its own context, so that log lines carry its ids and not the leader's.
            return [context.run(self._act, session, item) for item, context in group]


def _nothing() -> None:
    pass
