"""How long a caller wants to wait for a worker: `Prefer: wait=N`, `respond-async` (RFC 7240)."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from functools import cache
from typing import Any

from flask import request

from worker import replies
from worker.settings import settings

MAX_WAIT_S = 20
_WAIT = re.compile(r'wait\s*=\s*"?(\d{1,9})"?', re.ASCII)


@dataclass(frozen=True)
class Preference:
    """How long to wait, and what to say was honoured."""

    wait_s: float
    applied: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Return `Preference-Applied`, if there was a preference."""
        return {"Preference-Applied": self.applied} if self.applied else {}


def preference() -> Preference:
    """Read this request's preference; what is not understood is ignored, as RFC 7240 wants."""
    parts = [
        part.partition(";")[0].strip().lower()
        for line in request.headers.getlist("Prefer")
        for part in line.split(",")
    ]
    waits = [int(found[1]) for part in parts if (found := _WAIT.fullmatch(part))]
    if waits:
        wait_s = min(waits[0], MAX_WAIT_S)
        return Preference(wait_s, f"wait={wait_s}")
    if "respond-async" in parts:
        return Preference(0, "respond-async")
    return Preference(settings().wait_s)


def seats() -> threading.BoundedSemaphore:
    """Return the seats of those who wait: an eighth of the threads is kept for who need not.

    Else a provider that is slow would keep webhooks and health checks out.
    """
    with _SEATING:
        return _seats_of(settings().web_threads)


_SEATING = threading.Lock()
# `cache` alone would make new seats for each of those who come first together.


@cache
def _seats_of(threads: int) -> threading.BoundedSemaphore:
    return threading.BoundedSemaphore(max(1, threads - max(1, threads // 8)))


class NoSeat(Exception):
    """As many wait already as may: who comes now is told at once where to look."""


def wait_as_wished(reply_key: str | None) -> tuple[dict[str, Any] | None, dict[str, str]]:
    """Wait for a worker's reply for as long as this request prefers.

    Returns:
        The reply, None when none came, and the headers that tell what was honoured: nothing, if
        no seat was free for who wished to wait.
    """
    chosen = preference()
    try:
        return _wait(reply_key, chosen), chosen.headers
    except NoSeat:
        return None, {}


def wait_for(reply_key: str | None, chosen: Preference) -> dict[str, Any] | None:
    """Wait for a worker's reply.

    None when none came in time, when there is nothing to wait for, or when no seat is free.
    """
    try:
        return _wait(reply_key, chosen)
    except NoSeat:
        return None


def _wait(reply_key: str | None, chosen: Preference) -> dict[str, Any] | None:
    if reply_key is None or chosen.wait_s <= 0:
        return None
    if not seats().acquire(blocking=False):
        raise NoSeat
    try:
        return replies.wait(reply_key, timeout_s=chosen.wait_s)
    finally:
        seats().release()
