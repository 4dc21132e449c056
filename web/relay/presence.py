"""Presence: tells Redis which users this relay has, and reaps those whom no relay has."""

from __future__ import annotations

import logging
import queue
import random
import threading
from collections import Counter
from time import monotonic
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from models.clock import now
from worker.cache import CacheAway
from worker.presence import EXPIRY_S, GRACE_S, PATIENCE_S, REAP_S, REFRESH_S, Held, Presence

if TYPE_CHECKING:
    from web.relay.client import Client
    from worker.channels import Channels

log = logging.getLogger(__name__)

Who = tuple[str, UUID]

DRAIN_GRACE_S = 30.0
# Longer than a relay that leaves spreads the return of its clients to others.
AGAIN_S = 1.0
# When to try again while Redis is away.
GATHER_S = 0.02
# Who comes or goes meanwhile is told in the same round trip.


class PresenceWatcher:
    """The reactor's watcher. Its own thread asks Redis, so that the reactor never waits.

    Args:
        expiry_s, refresh_s, reap_s, patience_s, grace_s: see `worker.presence`; for tests.
    """

    def __init__(
        self,
        channels: Channels,
        *,
        expiry_s: float = EXPIRY_S,
        refresh_s: float = REFRESH_S,
        reap_s: float = REAP_S,
        patience_s: float = PATIENCE_S,
        grace_s: float = GRACE_S,
    ) -> None:
        self.name = uuid4().hex
        self._presence = Presence(channels, self.name, expiry_s=expiry_s, patience_s=patience_s)
        self._refresh_s = refresh_s
        self._reap_s = reap_s
        self._grace_s = grace_s
        # Who, and by how many sockets more or less; None wakes the thread.
        self._news: queue.SimpleQueue[tuple[Who, int] | None] = queue.SimpleQueue()
        self._sockets: Counter[Who] = Counter()
        self._held: dict[Who, Held] = {}
        self._changed: set[Who] = set()
        self._epoch = ""
        self._refresh_at = self._reap_at = self._tell_at = 0.0
        self._is_lost = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relay-presence", daemon=True)

    def start(self) -> None:
        """Begin to tell and to reap."""
        self._refresh_at = monotonic() + self._refresh_s
        self._reap_at = monotonic() + random.uniform(0, self._reap_s)  # noqa: S311  no secret
        self._thread.start()

    def joined(self, client: Client) -> None:
        """Count a client in."""
        self._news.put(((client.member.channel, client.member.user_id), 1))

    def left(self, client: Client) -> None:
        """Count a client out."""
        self._news.put(((client.member.channel, client.member.user_id), -1))

    def restore(self) -> None:
        """Hold everybody again now: Redis seems to have lost what it held."""
        self._is_lost.set()
        self._news.put(None)

    def stop(self, *, grace_s: float = DRAIN_GRACE_S) -> None:
        """Leave everybody to the other relays; nobody is offline for that within `grace_s`.

        Before the reactor lets its clients go: what it tells after this is not listened to.
        """
        self._stopping.set()
        self._news.put(None)
        self._thread.join()
        try:
            self._presence.let_go(list(self._held.values()), grace_s=grace_s)
        except CacheAway:
            log.warning("Redis is away; who was here expires by itself")
        except Exception:
            # They are still to be told to come back.
            log.exception("presence could not be let go of; who was here expires by itself")

    # Everything below runs in the thread.

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._listen()
            try:
                self._work()
            except CacheAway:
                self._tell_at = monotonic() + AGAIN_S
            except Exception:
                # A relay whose users seem to leave one by one would be worse.
                log.exception("presence could not be told")
                self._tell_at = monotonic() + AGAIN_S

    def _listen(self) -> None:
        """Take in who came and went, until there is something to tell."""
        due_at = min(self._refresh_at, self._reap_at)
        if self._changed or self._is_lost.is_set():
            due_at = min(due_at, monotonic() + GATHER_S)
        due_at = max(due_at, self._tell_at)
        while (left_s := due_at - monotonic()) > 0 and not self._stopping.is_set():
            try:
                news = self._news.get(timeout=left_s)
            except queue.Empty:
                return
            if news is not None:
                who, more = news
                self._sockets[who] += more
                self._changed.add(who)
            due_at = max(min(due_at, monotonic() + GATHER_S), self._tell_at)

    def _work(self) -> None:
        self._tell_changes()
        moment = monotonic()
        if moment >= self._refresh_at or self._is_lost.is_set():
            self._is_lost.clear()
            self._refresh()
            self._refresh_at = monotonic() + self._refresh_s
        if moment >= self._reap_at:
            self._reap_at = moment + self._reap_s
            self._note(self._presence.reap())

    def _tell_changes(self) -> None:
        gone = [who for who in self._changed if self._sockets[who] <= 0 and who in self._held]
        if gone:
            self._presence.let_go([self._held[who] for who in gone], grace_s=self._grace_s)
        for who in gone:
            del self._held[who]
        come = {
            who: Held(*who, now().isoformat())
            for who in self._changed
            if self._sockets[who] > 0 and who not in self._held
        }
        if come:
            self._note(self._presence.hold(list(come.values())))
            self._held.update(come)
        for who in self._changed:
            if self._sockets[who] <= 0:
                del self._sockets[who]
        self._changed.clear()

    def _refresh(self) -> None:
        held = list(self._held.values())
        self._epoch = self._presence.hold(held, known_epoch=self._epoch) if held else ""

    def _note(self, epoch: str) -> None:
        """Have everybody held again if this is not the epoch in which they were."""
        if self._epoch and epoch != self._epoch:
            self._is_lost.set()
        else:
            self._epoch = epoch
