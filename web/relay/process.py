"""What a relay process holds: reactor, feed, and who watches over those who are connected."""

from __future__ import annotations

import logging
import resource
from collections.abc import Collection
from typing import TYPE_CHECKING
from uuid import UUID

from web.relay.feed import RedisFeed
from web.relay.limits import Limits
from web.relay.lives import Lives
from web.relay.meter import Meter
from web.relay.presence import PresenceWatcher
from web.relay.reactor import LONGEST_SPREAD_S, RETURNS_PER_S, Reactor
from worker.channels import Place, channels

if TYPE_CHECKING:
    import socket

    from web.relay.lives import Guest
    from worker.settings import Settings

log = logging.getLogger(__name__)

# Handshakes, servers, logs and what Python holds open.
OTHER_DESCRIPTORS = 4_608
LEAVES_WITHIN_S = 5.0


class Relay:
    """One process's relay; `start` it, and let it `leave` before the process ends."""

    def __init__(self, given: Settings) -> None:
        self._most = given.ws_max_connections
        self.limits = Limits(
            total=given.ws_max_connections,
            per_company=given.ws_max_per_company,
            per_user=given.ws_max_per_user,
        )
        self.presence = PresenceWatcher(channels())
        self.feed = RedisFeed(channels(), on_new_epoch=self.presence.restore)
        self.lives = Lives(self._end_sessions)
        self.reactor = Reactor(self.feed, [self.limits, self.lives, self.presence])
        self.meter = Meter(self.reactor.stats, self.limits)

    def start(self) -> None:
        """Begin to hold connections."""
        self._raise_descriptors()
        self.feed.start(self.reactor)
        for thread in (self.presence, self.reactor, self.lives, self.meter):
            thread.start()

    def adopt(self, sock: socket.socket, guest: Guest, since: Place | None) -> None:
        """Hold a connection that the limits have admitted."""
        self.reactor.adopt(sock, guest, since)

    def leave(self) -> None:
        """Tell everybody to come back, spread over a while, and stop."""
        spread_s = min(LONGEST_SPREAD_S, 1.0 + self.limits.total / RETURNS_PER_S)
        log.info("the relay leaves; %d connections are told to come back", self.limits.total)
        self.lives.stop()
        # Before they go, so that who comes back to another relay was never offline.
        self.presence.stop()
        self.reactor.drain(spread_s=spread_s, within_s=LEAVES_WITHIN_S)
        self.meter.stop()
        self.feed.stop()

    def _end_sessions(self, session_ids: Collection[UUID], code: int, reason: str) -> None:
        self.reactor.end_sessions(session_ids, code, reason)

    def _raise_descriptors(self) -> None:
        """Allow this process as many descriptors as its connections need, if the machine does."""
        need = self._most + OTHER_DESCRIPTORS
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY and soft < need:
            allowed = need if hard == resource.RLIM_INFINITY else min(need, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
            if allowed < need:
                log.warning(
                    "only %d descriptors may be open: too few for WS_MAX_CONNECTIONS", allowed
                )
