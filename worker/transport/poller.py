"""The sockets of all channels, watched by Celery's event loop or by `drain_events`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from queue import Empty
from time import monotonic
from typing import Any

from kombu.transport import redis as stock

from worker.transport.channel import WAIT_S

log = logging.getLogger(__name__)

LOOK_ROUND_S = 1.0
# Without an event loop's timers: how often to look for lost connections and dead workers.


class Poller(stock.MultiChannelPoller):  # type: ignore[misc]
    """Watches the sockets of all channels."""

    _chan_to_sock: dict[Any, Any]
    _fd_to_chan: dict[int, Any]
    add_reader: Callable[..., None] | None = None

    @property
    def is_evented(self) -> bool:
        """Whether an event loop drives this, and not calls of `drain_events`."""
        return self.add_reader is not None

    @property
    def fds(self) -> dict[int, Any]:
        """What to add to the event loop: nothing, `_register` does it once a socket."""
        return {} if self.is_evented else self._fd_to_chan

    def _register(self, channel: Any, client: Any, type: Any) -> None:  # noqa: A002  kombu's
        super()._register(channel, client, type)
        if self.add_reader is not None:
            fileno = client.connection._sock.fileno()  # noqa: SLF001  as kombu's own
            self.add_reader(fileno, self.on_readable, fileno)

    def forget(self, channel: Any) -> None:
        """Let go of a channel that is closed; kombu would keep it as long as the connection."""
        self._chan_to_sock = {k: v for k, v in self._chan_to_sock.items() if k[0] is not channel}
        self._fd_to_chan = {k: v for k, v in self._fd_to_chan.items() if v[0] is not channel}

    def on_poll_start(self) -> None:
        """Send what there is to send."""
        for channel in list(self._channels):
            if channel.active_queues or channel._acks:  # noqa: SLF001  our own channel
                channel.work()
            if channel.active_fanout_queues:
                self._register_LISTEN(channel)

    def on_readable(self, fileno: int) -> Any:
        """Read what came on one socket; true if a message was delivered."""
        found = self._fd_to_chan.get(fileno)
        if found is None:
            return False
        channel, kind = found
        return channel.handlers[kind]()

    def get(self, callback: Any, timeout: float | None = None) -> None:  # noqa: ARG002  kombu's
        """Wait until messages were delivered, at most `timeout` seconds.

        Raises:
            Empty: none came.
        """
        ends = monotonic() + (WAIT_S if timeout is None else timeout)
        self._in_protected_read = True
        try:
            self.maybe_refresh_binding_expiry()
            while True:
                self.on_poll_start()
                events = self.poller.poll(max(0.0, min(ends - monotonic(), LOOK_ROUND_S)))
                delivered = [self.on_readable(fileno) for fileno, _ in events or ()]
                if any(delivered):
                    return
                if not events:
                    self.maybe_check_brpop_health()
                    self.maybe_restore_messages()
                if monotonic() >= ends:
                    raise Empty
        finally:
            self._in_protected_read = False
            while self.after_read:
                self.after_read.pop()()

    def maybe_check_brpop_health(self) -> None:
        """Drop connections that died unheard."""
        for channel in list(self._channels):
            for connection in channel.overdue(monotonic()):
                log.warning("the broker owes an answer for too long; connecting anew")
                connection.disconnect()
