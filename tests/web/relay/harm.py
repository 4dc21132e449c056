"""What may become of Redis while a relay hears it."""

from __future__ import annotations

import os
import signal

from sandbox.servers import PrivateValkey
from tests.waiting import wait_for
from worker.cache import CacheAway
from worker.channels import Channels

BODY = b'{"type":"invoice.paid"}'


def publish(
    channels: Channels, channel: str, count: int = 1, *, bodies: list[bytes] | None = None
) -> None:
    """Publish, however often Redis has to be asked."""

    def is_published() -> bool:
        try:
            return channels.publish({channel: bodies or [BODY] * count}) == {}
        except CacheAway:
            return False

    wait_for(is_published)


def harm(act: str, server: PrivateValkey, channels: Channels) -> None:
    """Do something to Redis; a restart finds what was last saved, if anything was."""
    if act == "restart":
        os.kill(server.pid, signal.SIGKILL)
        server.stop()
        server.start()
        return

    def is_done() -> bool:
        try:
            channels.do(
                lambda r: {
                    "kill": lambda: r.client_kill_filter(_type="pubsub"),
                    "flush": r.flushall,
                    "save": r.save,
                }[act]()
            )
        except CacheAway:
            return False
        return True

    wait_for(is_done)
