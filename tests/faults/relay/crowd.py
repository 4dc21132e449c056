"""Thousands of clients of real relays in one loop, each as docs/relay.md wants it.

Nothing here runs beside the test: whoever waits does so in `Crowd.until`, and the crowd reads
meanwhile. What a relay did against its protocol stands in `Crowd.wrong`.
"""

from __future__ import annotations

import heapq
import itertools
import json
import random
import re
import resource
import select
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from tests.waiting import PATIENCE_S
from tests.web.relay.knocking import SUBPROTOCOL, UPGRADE, request
from tests.web.relay.peer import by_hand
from worker.channels import Place

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
HELD_BYTES = 256 << 10
# What the kernel takes in for a client: all that a short test says, however late it is read.
STALLED_BYTES = 4096
SEGMENT = 1400
# For who reads nothing: with loopback's segments of 64 KB the kernel would hold megabytes.
AT_ONCE = 64
# Handshakes in hand.
LONGEST_WAIT_S = 1.0
# Before coming back; in earnest it would be longer.
END_OF_HEAD = b"\r\n\r\n"
_ID = re.compile(rb'\{"id":"([0-9a-f]+)-(\d+)"')


@dataclass(frozen=True)
class Person:
    """Somebody with a session, who may have many tabs."""

    user_id: str
    session_id: str
    token: str
    channel: str


class Ear:
    """One client: it takes the message that follows its last, or goes on from where it is told."""

    def __init__(self, person: Person, *, url: str | None = None, is_stalled: bool = False) -> None:
        self.person = person
        # Where alone it goes, instead of to any relay that is up.
        self.url = url
        self.is_stalled = is_stalled
        self.comes_back = True
        self.sock: socket.socket | None = None
        # The relay that it is, or was last, connected to.
        self.at = ""
        self.epoch, self.seq = "", 0
        self.heard = self.refetches = self.gaps = self.tries = 0
        # A gap was told and not filled; one was told since the connection began.
        self.has_gap = self.had_gap = False
        self.is_upgraded = self.is_greeted = False
        # Why it was told to fetch anew.
        self.reasons: Counter[str] = Counter()
        # How its connections ended: the codes, None for without a word.
        self.ends: list[int | None] = []
        self.waits_ms: list[int] = []
        self.told: tuple[int, str] | None = None
        self.data = b""

    @property
    def place(self) -> Place | None:
        return Place(self.epoch, self.seq) if self.epoch else None

    @property
    def is_ended(self) -> bool:
        """Whether it was told not to come back."""
        return bool(self.ends) and self.ends[-1] is not None and 4000 <= self.ends[-1] < 4100


class Crowd:
    """All clients of a test. `urls` are the relays that one may go to.

    Args:
        notes: told each event that somebody is the first to hear, as the bytes that came.
    """

    def __init__(
        self, urls: Sequence[str], *, notes: Callable[[bytes], None] = lambda _: None
    ) -> None:
        self.urls = list(urls)
        self.wrong: list[str] = []
        self.refused: Counter[str] = Counter()
        self.ears: list[Ear] = []
        self._notes = notes
        self._poll = select.epoll()
        self._by_fd: dict[int, Ear] = {}
        self._shaking: set[int] = set()
        # When to come back, a number that breaks ties, and who.
        self._due: list[tuple[float, int, Ear]] = []
        self._ties = itertools.count()
        # One id is one message for everybody, for ever.
        self._bodies: dict[tuple[str, bytes, bytes], int] = {}

    def add(self, ears: Iterable[Ear]) -> None:
        """Have them connect, a few at a time."""
        for ear in ears:
            self.ears.append(ear)
            self._come_back(ear, 0)

    def drop(self, ear: Ear, *, comes_back: bool = True) -> None:
        """Cut a client's connection from its side."""
        self._forget(ear)
        if comes_back:
            self._come_back(ear, random.uniform(0, 0.2))

    def leave(self) -> None:
        """Close all."""
        for ear in self.ears:
            self._forget(ear)
        self._due.clear()
        self.ears.clear()

    def wake(self) -> None:
        """Let those who read nothing read."""
        for ear in self.ears:
            if ear.is_stalled:
                ear.is_stalled = False
                if ear.sock is not None:
                    ear.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, HELD_BYTES)
                    self._poll.modify(ear.sock, select.EPOLLIN)

    def until(self, holds: Callable[[], object], timeout_s: float = PATIENCE_S) -> None:
        """Live on until it holds and nobody has met anything wrong."""
        deadline = time.monotonic() + timeout_s
        while not holds():
            assert not self.wrong, self.wrong[:5]
            assert time.monotonic() < deadline, f"it did not come about: {self}"
            self.turn(0.05)
        assert not self.wrong, self.wrong[:5]

    def are_at(self, place: Place, ears: Iterable[Ear] | None = None) -> bool:
        """Return whether all are in and have heard up to there, or more."""
        return all(
            ear.is_greeted and ear.seq >= place.seq and ear.epoch == place.epoch
            for ear in (self.ears if ears is None else ears)
        )

    def __str__(self) -> str:
        held = sum(ear.is_greeted for ear in self.ears)
        ends = Counter(end for ear in self.ears for end in ear.ends)
        return f"{held} of {len(self.ears)} in, refused {dict(self.refused)}, ends {dict(ends)}"

    def turn(self, timeout_s: float) -> None:
        """Do what there is to do now, or wait so long for it."""
        now = time.monotonic()
        while self._due and self._due[0][0] <= now and len(self._shaking) < AT_ONCE:
            ear = heapq.heappop(self._due)[2]
            if ear.sock is None:
                self._knock(ear)
        if self._due and len(self._shaking) < AT_ONCE:
            timeout_s = min(timeout_s, max(0.0, self._due[0][0] - now))
        for fd, _ in self._poll.poll(timeout_s, 1024):
            ear = self._by_fd.get(fd)
            if ear is not None:
                self._read(ear)

    def _knock(self, ear: Ear) -> None:
        ear.at = ear.url or random.choice(self.urls)
        place = urlsplit(ear.at)
        sock = socket.socket()
        size = STALLED_BYTES if ear.is_stalled else HELD_BYTES
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
        if ear.is_stalled:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
        since = f"?since={ear.place}" if ear.epoch else ""
        said = {
            **UPGRADE,
            "Sec-WebSocket-Protocol": SUBPROTOCOL,
            "Authorization": f"Bearer {ear.person.token}",
        }
        try:
            # On loopback this is done at once, or refused.
            sock.connect((place.hostname, place.port))
            sock.settimeout(0)
            sock.sendall(request(f"/ws{since}", place.netloc, said))
        except OSError:
            sock.close()
            self._come_back(ear)
            return
        ear.sock, ear.data, ear.told = sock, b"", None
        ear.is_upgraded = ear.is_greeted = ear.has_gap = ear.had_gap = False
        self._by_fd[sock.fileno()] = ear
        self._shaking.add(sock.fileno())
        self._poll.register(sock, select.EPOLLIN)

    def _come_back(self, ear: Ear, wait_s: float | None = None) -> None:
        if wait_s is None:
            wait_s = random.uniform(0, min(LONGEST_WAIT_S, 0.1 * 2**ear.tries))
            ear.tries += 1
        heapq.heappush(self._due, (time.monotonic() + wait_s, next(self._ties), ear))

    def _forget(self, ear: Ear) -> None:
        if ear.sock is None:
            return
        self._by_fd.pop(ear.sock.fileno(), None)
        self._shaking.discard(ear.sock.fileno())
        ear.sock.close()
        ear.sock, ear.is_greeted = None, False

    def _read(self, ear: Ear) -> None:
        try:
            data = ear.sock.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._ended(ear)
            return
        ear.data += data
        if not ear.is_upgraded and not self._enter(ear):
            return
        self._take_frames(ear)

    def _enter(self, ear: Ear) -> bool:
        head, end, rest = ear.data.partition(END_OF_HEAD)
        if not end:
            return False
        self._shaking.discard(ear.sock.fileno())
        if not head.startswith(b"HTTP/1.1 101"):
            self.refused[head[:12].decode()] += 1
            ear.told = (0, head.decode())
            self._ended(ear)
            return False
        ear.is_upgraded, ear.data = True, rest
        if ear.is_stalled:
            self._poll.modify(ear.sock, 0)
        return True

    def _ended(self, ear: Ear) -> None:
        """Come back, or not, as the close code wants it."""
        code, reason = ear.told or (None, "")
        ear.ends.append(code)
        self._forget(ear)
        if ear.is_ended or not ear.comes_back:
            return
        if code is not None and 4100 <= code < 4200:
            self.refused[str(code)] += 1
        wait_ms = re.fullmatch(r"retry_ms=(\d+)", reason) if code == 4200 else None
        if wait_ms is not None:
            ear.waits_ms.append(int(wait_ms[1]))
            self._come_back(ear, int(wait_ms[1]) / 1000)
        else:
            self._come_back(ear)

    def _take_frames(self, ear: Ear) -> None:
        data, at, end = ear.data, 0, len(ear.data)
        while end - at >= 2:
            length, start = data[at + 1], at + 2
            if length == 126:
                length, start = int.from_bytes(data[at + 2 : at + 4]), at + 4
            elif length == 127:
                length, start = int.from_bytes(data[at + 2 : at + 10]), at + 10
            if start + length > end:
                break
            self._take(ear, data[at] & 15, data[start : start + length])
            at = start + length
        ear.data = data[at:]

    def _take(self, ear: Ear, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            found = _ID.match(payload)
            if found is not None:
                self._take_event(ear, found[1], found[2], payload)
            else:
                self._take_word(ear, json.loads(payload))
        elif opcode == PING:
            self._say(ear, payload, PONG)
        elif opcode == CLOSE:
            code = int.from_bytes(payload[:2])
            ear.told = (code, payload[2:].decode())
            self._say(ear, payload[:2], CLOSE)
        else:
            self.wrong.append(f"opcode {opcode}")

    def _take_event(self, ear: Ear, epoch: bytes, seq: bytes, payload: bytes) -> None:
        number = int(seq)
        if ear.epoch.encode() != epoch or number != ear.seq + 1:
            # After a gap what follows it comes until the relay has heard `resume`, and what was
            # asked for twice comes twice.
            is_known = ear.epoch.encode() == epoch and number <= ear.seq
            if not (ear.has_gap or (ear.had_gap and is_known)) or not ear.is_greeted:
                self.wrong.append(f"{epoch!r}-{number} after {ear.place}, {ear.ends}")
            return
        ear.seq, ear.has_gap = number, False
        ear.heard += 1
        key = (ear.person.channel, epoch, seq)
        if key not in self._bodies:
            self._bodies[key] = hash(payload)
            self._notes(payload)
        elif self._bodies[key] != hash(payload):
            self.wrong.append(f"two messages are {epoch!r}-{number}")

    def _take_word(self, ear: Ear, message: dict) -> None:
        kind, data = message["type"], message.get("data", {})
        if kind == "relay.hello":
            ear.is_greeted, ear.tries = True, 0
            if data["resumed"] and data["position"] != str(ear.place):
                self.wrong.append(f"resumed at {data['position']}, not {ear.place}")
            if not data["resumed"] and not ear.epoch:
                self._go_on(ear, data["position"])
        elif kind == "relay.refetch":
            ear.refetches += 1
            ear.reasons[data["reason"]] += 1
            ear.has_gap = False
            self._go_on(ear, data["position"])
        elif kind == "relay.gap":
            ear.gaps += 1
            ear.has_gap = ear.had_gap = True
            self._say(ear, json.dumps({"type": "resume", "since": str(ear.place)}).encode())
        else:
            self.wrong.append(f"{message}")

    def _go_on(self, ear: Ear, position: str) -> None:
        place = Place.parse(position)
        ear.epoch, ear.seq = place.epoch, place.seq

    def _say(self, ear: Ear, payload: bytes, opcode: int = TEXT) -> None:
        try:
            ear.sock.send(by_hand(payload, opcode))
        except OSError:
            return


def raise_descriptors(clients: int) -> None:
    """Allow this process descriptors for so many clients, or fail the test: fewer prove nothing."""
    need = clients + 500
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < need:
        pytest.fail(f"only {hard} descriptors are allowed here, {need} are needed (ulimit -Hn)")
    if soft != resource.RLIM_INFINITY and soft < need:
        resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))
