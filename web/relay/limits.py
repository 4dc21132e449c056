"""How many connections this process holds: in all, of one company, of one user."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

from web.relay.codes import COMPANY_FULL, RELAY_FULL, USER_FULL, Refusal

if TYPE_CHECKING:
    from uuid import UUID

    from web.relay.client import Client, Member


class Limits:
    """Counts who was let in until they have left.

    The door counts before it hands a socket over, so that of many who come at once no one more
    than the limit gets in; the reactor tells who has left.
    """

    def __init__(self, *, total: int, per_company: int, per_user: int) -> None:
        self._most = (total, per_company, per_user)
        self._lock = threading.Lock()
        self._total = 0
        self._of_channel: Counter[str | UUID] = Counter()
        self._of_user: Counter[str | UUID] = Counter()

    @property
    def total(self) -> int:
        """How many are counted now."""
        return self._total

    def admit(self, member: Member) -> Refusal | None:
        """Count one more of a member's connections, or return which limit it would be over."""
        total, per_company, per_user = self._most
        with self._lock:
            if self._total >= total:
                return RELAY_FULL
            if self._of_channel[member.channel] >= per_company:
                return COMPANY_FULL
            if self._of_user[member.user_id] >= per_user:
                return USER_FULL
            self._total += 1
            self._of_channel[member.channel] += 1
            self._of_user[member.user_id] += 1
            return None

    def release(self, member: Member) -> None:
        """Count one less; once for each that was admitted."""
        with self._lock:
            self._total -= 1
            _lower(self._of_channel, member.channel)
            _lower(self._of_user, member.user_id)

    def joined(self, client: Client) -> None:
        """Know it already."""

    def left(self, client: Client) -> None:
        """Count one less."""
        self.release(client.member)


def _lower(counts: Counter[str | UUID], key: str | UUID) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
