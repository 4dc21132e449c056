"""What shall go wrong and how often: set over `/sandbox/faults`, taken by the next that fits."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any

from sandbox.stripe.errors import InvalidRequest

KINDS = frozenset(
    {
        "decline",  # the next confirmation is declined, with decline_code and the advice codes
        "drop_after",  # the connection is cut after execution
        "drop_before",  # ... before anything was executed
        "key_in_use",  # 409
        "lock_timeout",  # 429 with code lock_timeout
        "rate_limit",  # 429
        "refund_failed",  # the next refund ends failed
        "refund_pending",  # the next refund stays pending until it is settled on command
        "refund_requires_action",
        "server_error",  # 500, saved by the key; `executed` says whether the work was done
        "slow",  # delay_ms before execution, on top of any other fault
        "timeout_after",  # executed, then silence for delay_ms or until the caller gives up
        "timeout_before",  # silence, not executed
    }
)
WIRE = frozenset(
    {
        "drop_after",
        "drop_before",
        "key_in_use",
        "lock_timeout",
        "rate_limit",
        "server_error",
        "timeout_after",
        "timeout_before",
    }
)
SILENCE_MS = 120_000
# Longer than any client waits.


@dataclass(slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong, `count` times or (None) until it is cleared."""

    kind: str
    method: str = "POST"
    path: str = "/v1/*"
    count: int | None = 1
    delay_ms: int = 0
    executed: bool = True
    decline_code: str = "generic_decline"
    advice_code: str | None = None
    network_advice_code: str | None = None
    network_decline_code: str | None = None
    taken: int = field(default=0)

    @property
    def delay_s(self) -> float:
        """How long to wait, in seconds."""
        return self.delay_ms / 1000


NAMES = frozenset(f.name for f in fields(Fault)) - {"taken"}


class Faults:
    """The faults that are set, oldest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._set: list[Fault] = []

    def add(self, given: dict[str, Any]) -> Fault:
        """Set a fault.

        Raises:
            InvalidRequest: an unknown kind or field.
        """
        if given.get("kind") not in KINDS:
            raise InvalidRequest(f"kind must be one of {', '.join(sorted(KINDS))}", param="kind")
        for name in given.keys() - NAMES:
            raise InvalidRequest(f"A fault has no {name}", param=name)
        fault = Fault(**given)
        with self._lock:
            self._set.append(fault)
        return fault

    def clear(self) -> None:
        """Let everything go well from now on."""
        with self._lock:
            self._set.clear()

    def shown(self) -> list[dict[str, Any]]:
        """Return what is set."""
        with self._lock:
            return [asdict(fault) for fault in self._set]

    def take(self, kinds: frozenset[str], method: str, path: str) -> Fault | None:
        """Return the oldest fault of these kinds that fits, one use of it spent."""
        if not self._set:
            return None
        with self._lock:
            for fault in self._set:
                if (
                    fault.kind in kinds
                    and fault.method in (method, "*")
                    and fnmatchcase(path, fault.path)
                ):
                    self._spend(fault)
                    return fault
        return None

    def _spend(self, fault: Fault) -> None:
        fault.taken += 1
        if fault.count is not None:
            fault.count -= 1
            if fault.count <= 0:
                self._set.remove(fault)
