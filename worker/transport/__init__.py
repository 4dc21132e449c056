"""Celery's road to Redis: kombu's transport, made to lose no message and to cost little.

What differs from kombu's own:

- A message goes from its queue to `unacked` in one script, so a worker that is killed loses none.
- One round trip takes as many messages as there are free threads, from all queues in turn, and
  tells what was acknowledged since the last one.
- A queue that was found empty is waited on by a connection of its own, with a BLMOVE onto itself,
  which changes nothing: whoever pushes, in whatever way, wakes the worker.
- Whatever Redis does that means "not now" is a lost connection, after which Celery connects anew.

What lies in Redis is what kombu keeps there, but for priorities: a queue is one list.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as stock

from worker.transport.channel import Channel
from worker.transport.poller import Poller
from worker.transport.wire import ChannelClosed, Herald, Refused

__all__ = ["Channel", "ChannelClosed", "Herald", "Refused", "Transport", "register"]


class Transport(stock.Transport):  # type: ignore[misc]
    """Kombu's transport with our channels."""

    Channel = Channel

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.cycle = Poller()

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Let Celery's event loop drive this."""
        self.cycle.add_reader = loop.add_reader
        super().register_with_event_loop(connection, loop)


def register() -> None:
    """Serve redis:// and rediss:// from here, in this process.

    By the scheme and not by `broker_transport`, so that Flower and logs still see a redis:// URL.
    """
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = "worker.transport:Transport"
