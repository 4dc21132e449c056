"""A reactor that only keeps what the feed tells it, and checks that nothing is missing."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from worker.channels import Place


class Ledger:
    """What was told of each channel. `broken` names what no reactor may be told."""

    def __init__(self) -> None:
        self.places: dict[str, Place] = {}
        self.heard_ids: dict[str, list[Place]] = {}
        self.resets: list[tuple[str, str]] = []
        self.answers: list[tuple[object, Place, list[int] | None, Place, str | None]] = []
        self.broken: list[str] = []
        # One id is one message, for ever.
        self._bodies: dict[tuple[str, Place], bytes] = {}
        self._lock = threading.Lock()

    def opened(self, channel: str, place: Place) -> None:
        with self._lock:
            if self.places.setdefault(channel, place) != place:
                self.broken.append(f"opened at {place}, was at {self.places[channel]}")

    def heard(self, channel: str, messages: Sequence[tuple[int, bytes]]) -> None:
        with self._lock:
            for seq, body in messages:
                place = self.places[channel]
                if Place.of(body) != Place(place.epoch, place.seq + 1) or Place.of(body).seq != seq:
                    self.broken.append(f"heard {Place.of(body)} as {seq} after {place}")
                if self._bodies.setdefault((channel, Place.of(body)), body) != body:
                    self.broken.append(f"{Place.of(body)} is two messages")
                self.places[channel] = Place.of(body)
                self.heard_ids.setdefault(channel, []).append(Place.of(body))

    def reset(self, channel: str, place: Place, reason: str) -> None:
        with self._lock:
            self.resets.append((channel, reason))
            self.places[channel] = place

    def told(self, client_ref, since, messages, place, reason) -> None:
        with self._lock:
            numbers = None if messages is None else [seq for seq, _ in messages]
            self.answers.append((client_ref, since, numbers, place, reason))

    def seqs(self, channel: str) -> list[int]:
        """Return the numbers heard, in order."""
        return [place.seq for place in self.heard_ids.get(channel, [])]
