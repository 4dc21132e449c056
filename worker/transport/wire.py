"""Connections of redis-py, and what counts as a lost one."""

from __future__ import annotations

import threading
from typing import Any

import redis

# Anywhere in the text: a script puts words of its own before Redis's.
NOT_NOW = (
    "NOREPLICAS",
    "MISCONF",
    "OOM",
    "READONLY",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "LOADING",
    "BUSY",
    "UNBLOCKED",
)


class Refused(redis.ConnectionError):
    """Redis answers, but does nothing for us now: full, read-only, too few replicas, loading."""


class ChannelClosed(redis.ConnectionError):
    """The connection that this channel belonged to was given up."""


class Wire:
    """Mixed into redis-py's connections: a refusal is a lost connection."""

    def read_response(self, *args: Any, **options: Any) -> Any:
        """Read one answer."""
        try:
            return super().read_response(*args, **options)  # type: ignore[misc]
        except redis.ResponseError as error:
            told = f"{getattr(error, 'status_code', '')} {error}"
            if any(word in told for word in NOT_NOW):
                raise Refused(told.strip()) from error
            raise


class Herald:
    """Sends commands whose answer nobody needs: it is read before the next, when it is long there.

    A worker's loop sends several events a task; to wait for each answer would be most of its time.
    """

    def __init__(self, pool: Any) -> None:
        self.pool = pool
        self._connection: Any = None
        self._is_owed = False
        self._lock = threading.Lock()

    def send(self, *command: Any) -> None:
        """Send a command.

        Raises:
            ConnectionError: it was not sent. One that is lost on its way is not told.
        """
        with self._lock:
            if self._connection is None:
                self._connection = self.pool.get_connection()
            try:
                self._hear()
                is_closed = self._connection.can_read(timeout=0)
            except (redis.ConnectionError, redis.TimeoutError):
                is_closed = True
            if is_closed:
                # By Redis, since the last time; the next command opens it again.
                self._connection.disconnect()
            self._connection.send_command(*command)
            self._is_owed = True

    def close(self) -> None:
        """Wait until the last command arrived."""
        with self._lock:
            if self._connection is not None:
                try:
                    self._hear()
                finally:
                    self.pool.release(self._connection)
                    self._connection = None

    def _hear(self) -> None:
        if self._is_owed:
            self._is_owed = False
            self._connection.read_response()
