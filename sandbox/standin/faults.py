"""What shall go wrong and how often: set over `/sandbox/faults`, taken by the next that fits."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any

from sandbox.standin.refusal import Refusal
from sandbox.standin.wire import HangUp, Request

WIRE = frozenset(
    {
        "drop_after",  # the connection is cut after execution
        "drop_before",  # ... before anything was executed
        "rate_limit",  # 429
        "server_error",  # 500; `executed` says whether the work was done
        "timeout_after",  # executed, then silence for delay_ms or until the caller gives up
        "timeout_before",  # silence, not executed
    }
)
SLOW = frozenset({"slow"})  # delay_ms before execution, on top of any other fault
SILENCE_MS = 120_000
# Longer than any client waits.


@dataclass(slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong, `count` times or (None) until it is cleared."""

    kind: str
    method: str = "POST"
    path: str = "/v[123]/*"
    count: int | None = 1
    delay_ms: int = 0
    executed: bool = True
    decline_code: str | None = None
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
    """The faults that are set, oldest first.

    Args:
        kinds: what can go wrong at this provider besides the wire.
    """

    def __init__(self, kinds: frozenset[str]) -> None:
        self.kinds = kinds | WIRE | SLOW
        self._lock = threading.Lock()
        self._set: list[Fault] = []

    def add(self, given: dict[str, Any]) -> Fault:
        """Set a fault.

        Raises:
            Refusal: an unknown kind or field.
        """
        if given.get("kind") not in self.kinds:
            raise Refusal(f"kind must be one of {', '.join(sorted(self.kinds))}")
        for name in given.keys() - NAMES:
            raise Refusal(f"A fault has no {name}")
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


def strike_before(fault: Fault | None, request: Request) -> None:
    """Cut the connection, or keep silent, before anything is executed."""
    if fault and fault.kind == "drop_before":
        raise HangUp
    if fault and fault.kind == "timeout_before":
        _keep_silent(fault, request)


def strike_after(fault: Fault | None, request: Request) -> None:
    """Cut the connection, or keep silent, when all is done."""
    if fault and fault.kind == "drop_after":
        raise HangUp
    if fault and fault.kind == "timeout_after":
        _keep_silent(fault, request)


def _keep_silent(fault: Fault, request: Request) -> None:
    request.wait_until_gone((fault.delay_ms or SILENCE_MS) / 1000)
    raise HangUp
