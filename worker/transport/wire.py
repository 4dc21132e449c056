"""Connections of redis-py, and what counts as a lost one."""

from __future__ import annotations

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
