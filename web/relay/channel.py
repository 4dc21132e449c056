"""A channel: the clients that hear one company, and its latest messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from worker.channels import Place


class Feed(Protocol):
    """Where messages come from. It is called in the reactor's thread and must not block.

    For an open channel it calls the reactor's `heard` without a hole, or `reset` in between.
    """

    def open(self, channel: str) -> None:
        """Subscribe; the answer is `Reactor.opened`."""

    def close(self, channel: str) -> None:
        """Unsubscribe; there is no answer."""

    def read(self, channel: str, client_ref: object, since: Place) -> None:
        """Fetch the messages after `since`; the answer is `Reactor.told` with `client_ref`."""
