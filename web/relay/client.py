"""A client: one upgraded socket, and what the reactor knows of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

if TYPE_CHECKING:
    import socket


@dataclass(frozen=True, slots=True)
class Member:
    """Who is at the other end, as the door found out.

    Args:
        channel: whose messages are heard: a company's or a tenant's id, as text.
        expires_at: when the session ends, in seconds since 1970.
    """

    channel: str
    user_id: UUID
    session_id: UUID
    company_id: UUID | None
    expires_at: float


class Client:
    """One connection. All of it belongs to the reactor's thread."""

    __slots__ = ("member", "sock")

    def __init__(self, sock: socket.socket, member: Member) -> None:
        self.sock = sock
        self.member = member


class Watcher(Protocol):
    """Who is told of clients, in the reactor's thread: it must not block."""

    def joined(self, client: Client) -> None:
        """A client was adopted."""

    def left(self, client: Client) -> None:
        """A client that had joined is gone, or on its way out; told once."""
