"""Thousands of WebSocket clients in one process: it counts what comes, and reads a few clients.

    python -m benchmarks.sockets          commands and answers are one line of JSON each

    {"do": "connect", "port": …, "groups": [{"path": …, "headers": […], "clients": …}], …}
    {"do": "count"}                       what came since the last `count`

It must not be what is measured: one epoll loop, one read an event, and no frame is taken apart. A
message holds `MARK` once and nothing else does, so counting that byte counts messages. Only of
the sampled clients the times are read.
"""

from __future__ import annotations

import json
import os
import re
import resource
import select
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.load import quantile

MARK = b"@"
# Followed by the moment of sending, in nanoseconds of the monotonic clock, which all share.
_SENT_AT = re.compile(MARK + rb"(\d{19})")
STAMP_LENGTH = 20
CHUNK = 1 << 18
AT_ONCE = 64
# Handshakes in hand.
SMALL_BUFFER = 4096
# Of a stalled reader: the kernel shall not read for it.
SEGMENT = 1400
# As on a real network: with loopback's of 64 KB the sender's kernel would hold megabytes for it.
END_OF_HEAD = b"\r\n\r\n"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


class Clients:
    """All clients. `sample` of a hundred are read, `stalled` of a hundred never are."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._sampled: dict[int, bytes] = {}
        self._buffer = bytearray(CHUNK)
        self._views = (memoryview(self._buffer),)
        self.reset()

    def reset(self) -> None:
        """Count from here."""
        self.messages = 0
        self.times_ns: list[int] = []
        self.lost = 0
        self._began = (time.perf_counter(), time.process_time())

    def connect(
        self, *, port: int, groups: list[dict[str, Any]], sample: int = 0, stalled: int = 0
    ) -> dict[str, int]:
        """Open all connections, a few at a time; return how many read."""
        waiting = [group for group in groups for _ in range(group["clients"])]
        # From the last: the groups are mixed, as people are.
        waiting = [group for i in range(len(groups)) for group in waiting[i :: len(groups)]]
        kinds = dict.fromkeys(range(1, len(waiting), 100 // stalled), "stalled") if stalled else {}
        kinds |= dict.fromkeys(range(0, len(waiting), 100 // sample), "sample") if sample else {}
        shaking: dict[int, tuple[socket.socket, str | None]] = {}
        number = 0
        while number < len(waiting) or shaking:
            while number < len(waiting) and len(shaking) < AT_ONCE:
                kind = kinds.get(number)
                sock = _knock(port, waiting[number], is_stalled=kind == "stalled")
                shaking[sock.fileno()] = (sock, kind)
                self._poll.register(sock, select.EPOLLIN)
                number += 1
            for found, _ in self._poll.poll(30):
                if found in shaking:
                    self._enter(*shaking.pop(found))
                else:
                    self._read(found)
        return {"reading": len(waiting) - [*kinds.values()].count("stalled")}

    def _enter(self, sock: socket.socket, kind: str | None) -> None:
        """Read the answer to the handshake, to the end of its head."""
        head = b""
        while not head.endswith(END_OF_HEAD):
            # What follows the head stays where it is.
            seen = sock.recv(4096, socket.MSG_PEEK)
            end = seen.find(END_OF_HEAD)
            head += sock.recv(len(seen) if end < 0 else end + len(END_OF_HEAD))
            if not seen:
                break
        if not head.startswith(b"HTTP/1.1 101"):
            raise SystemExit(f"a client was refused: {head!r}")
        sock.settimeout(0)
        number = sock.fileno()
        self._sockets[number] = sock
        if kind == "sample":
            self._sampled[number] = b""
        if kind == "stalled":
            self._poll.unregister(number)

    def serve(self, timeout_s: float, commands: int) -> bool:
        """Read what comes; True when a command waits."""
        is_commanded = False
        for number, _ in self._poll.poll(timeout_s, 4096):
            if number == commands:
                is_commanded = True
            else:
                self._read(number)
        return is_commanded

    def _read(self, number: int) -> None:
        try:
            length = os.readv(number, self._views)
        except BlockingIOError:
            return
        except OSError:
            length = 0
        if not length:
            self.lost += 1
            self._poll.unregister(number)
            self._sockets.pop(number).close()
            return
        self.messages += self._buffer.count(MARK, 0, length)
        if number in self._sampled:
            self._read_times(number, bytes(self._buffer[:length]))

    def _read_times(self, number: int, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        data = self._sampled[number] + data
        end = 0
        for found in _SENT_AT.finditer(data):
            self.times_ns.append(now_ns - int(found[1]))
            end = found.end()
        # A stamp may have come in part.
        self._sampled[number] = data[max(end, len(data) - STAMP_LENGTH) :]

    def watch(self, number: int) -> None:
        """Wake up for commands as well."""
        self._poll.register(number, select.EPOLLIN)

    def count(self) -> dict[str, Any]:
        """Return what came since the last time."""
        wall, cpu = self._began
        times_s = [each / 1e9 for each in self.times_ns]
        counted = {
            "messages": self.messages,
            "p99_ms": quantile(times_s, 0.99) * 1000,
            "lost": self.lost,
            "own_cpu": (time.process_time() - cpu) / (time.perf_counter() - wall),
        }
        self.reset()
        return counted


def _knock(port: int, group: dict[str, Any], *, is_stalled: bool) -> socket.socket:
    sock = socket.socket()
    if is_stalled:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
    sock.settimeout(30)
    sock.connect(("127.0.0.1", port))
    lines = (
        f"GET {group['path']} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {KEY}",
        *group["headers"],
    )
    sock.sendall("".join(f"{line}\r\n" for line in (*lines, "")).encode())
    return sock


def raise_descriptors(need: int) -> str | None:
    """Allow this process so many descriptors, or return a sentence that says that it cannot."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < need:
        return f"Only {hard} descriptors are allowed here and {need} are needed (ulimit -n)."
    if soft < need:
        resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))
    return None


def main() -> None:
    clients = Clients()
    commands = sys.stdin.buffer.raw  # type: ignore[attr-defined]
    clients.watch(commands.fileno())
    does: dict[str, Callable[..., Any]] = {
        "connect": clients.connect,
        "count": clients.count,
    }
    while True:
        if not clients.serve(60, commands.fileno()):
            continue
        line = commands.readline()
        if not line:
            return
        command = json.loads(line)
        answer = does[command.pop("do")](**command)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
