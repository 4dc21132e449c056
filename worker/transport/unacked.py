"""What was taken and not acknowledged yet."""

from __future__ import annotations

import logging
from time import monotonic
from typing import Any

import redis
from kombu.transport import redis as stock
from kombu.transport import virtual

from worker.transport.scripts import OVERDUE

log = logging.getLogger(__name__)

CHUNK = 100
# Overdue messages looked at in one round trip.


class QoS(stock.QoS):  # type: ignore[misc]
    """What was delivered and not acknowledged yet; Redis knows it since the message was taken."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._swept_at = float("-inf")

    def append(self, message: Any, delivery_tag: str) -> None:
        """Count it as delivered."""
        virtual.QoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Forget it, here at once, in Redis with the next round trip."""
        self.channel.ack(delivery_tag)
        virtual.QoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002  kombu's
        """Drop it or put it last in its queue."""
        if requeue:
            self.channel.put_back([delivery_tag], side="LPUSH")
            virtual.QoS.ack(self, delivery_tag)
        else:
            self.ack(delivery_tag)

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002  kombu's
        """Put one back."""
        self.channel.put_back([tag], side="LPUSH" if leftmost else "RPUSH")

    def restore_unacked(self, client: Any = None) -> None:  # noqa: ARG002  kombu's
        """Put everything back that was delivered, the oldest to be taken first."""
        self._flush()
        tags = list(self._delivered)
        self._delivered.clear()
        self.channel.put_back(tags)

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """As above, at the end; acknowledgements that wait are told before."""
        try:
            self.channel.tell_acks()
            super().restore_unacked_once(stderr)
        except (*stock.Transport.connection_errors, redis.ResponseError) as error:
            log.warning("what was not acknowledged comes back by its timeout: %s", error)

    def restore_visible(self, start: int = 0, num: Any = None, interval: Any = None) -> None:  # noqa: ARG002  kombu's
        """Put back what dead workers held."""
        channel = self.channel
        # Half of it, as the timer that calls may be a little early.
        if monotonic() - self._swept_at < channel.unacked_restore_interval / 2:
            return
        self._swept_at = monotonic()
        while True:
            with channel.conn_or_acquire() as client:
                found = client.eval(
                    OVERDUE, 1, self.unacked_index_key, self.visibility_timeout, CHUNK
                )
            tags = [tag.decode() for tag in found]
            channel.put_back(tags)
            if len(tags) < CHUNK:
                return
