"""What the relay itself tells a client, as frames."""

from __future__ import annotations

from typing import Final

import orjson

from web.relay.codec import frame
from worker.channels import Place


def _notice(kind: str, **data: object) -> bytes:
    return frame(orjson.dumps({"type": kind, "data": data} if data else {"type": kind}))


PONG: Final = _notice("relay.pong")


def hello(position: Place, *, is_resumed: bool, heartbeat_s: float) -> bytes:
    """Tell after which place the client's messages follow, always first."""
    return _notice(
        "relay.hello", position=str(position), resumed=is_resumed, heartbeat_s=heartbeat_s
    )


def refetch(position: Place, reason: str, spread_ms: int = 0) -> bytes:
    """Tell that what was missed cannot be told: messages go on after the position.

    Args:
        spread_ms: over how long those who are told so together shall fetch anew.
    """
    spread = {"spread_ms": spread_ms} if spread_ms else {}
    return _notice("relay.refetch", reason=reason, position=str(position), **spread)


def gap(epoch: str, after: int, through: int) -> bytes:
    """Tell which messages were skipped."""
    return _notice("relay.gap", after=f"{epoch}-{after}", through=f"{epoch}-{through}")
