"""The other end of a relay's socket: frames of a client, written by hand and read by wsproto."""

from __future__ import annotations

import json
import socket
from contextlib import suppress

from wsproto.frame_protocol import FrameProtocol, Opcode

KEY = b"\x01\x02\x03\x04"


def by_hand(
    payload: bytes = b"",
    opcode: int = 1,
    *,
    final: bool = True,
    reserved: int = 0,
    key: bytes | None = KEY,
) -> bytes:
    """Return a frame of a client, right or wrong."""
    length, mask = len(payload), 0 if key is None else 0x80
    head = bytes((final << 7 | reserved | opcode,))
    if length < 126:
        head += bytes((mask | length,))
    elif length < 1 << 16:
        head += bytes((mask | 126,)) + length.to_bytes(2, "big")
    else:
        head += bytes((mask | 127,)) + length.to_bytes(8, "big")
    if key is None:
        return head + payload
    return head + key + bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))


class Peer:
    """A client that reads when it is told to."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.settimeout(60)
        self._protocol = FrameProtocol(client=True, extensions=[])
        self._text = ""
        # What came: messages as JSON, and pings.
        self.heard: list[dict] = []
        self.pings = 0
        self.pongs: list[bytes] = []
        # As a client must: pings, and the close frame.
        self.answers = True
        # The close frame, and whether the socket was closed after it or without it.
        self.closed: tuple[int, str] | None = None
        self.is_cut = False

    def read(self, size: int = 1 << 16) -> bool:
        """Read once what is there, or wait for it; False at the end."""
        try:
            data = self.sock.recv(size)
        except ConnectionResetError:
            data = b""
        self.is_cut = not data
        if data:
            self._protocol.receive_bytes(data)
        for found in self._protocol.received_frames() if data else ():
            self._take(found)
        return bool(data)

    def _take(self, found) -> None:
        if found.opcode is Opcode.PING:
            self.pings += 1
            self.answer(found.payload, Opcode.PONG)
        elif found.opcode is Opcode.PONG:
            self.pongs.append(found.payload)
        elif found.opcode is Opcode.CLOSE:
            code, reason = found.payload
            self.closed = (int(code), reason)
            self.answer(int(code).to_bytes(2, "big"), Opcode.CLOSE)
        elif found.opcode is Opcode.TEXT:
            self._text += found.payload
            if found.message_finished:
                self.heard.append(json.loads(self._text))
                self._text = ""

    def answer(self, payload: bytes, opcode: int) -> None:
        if self.answers:
            with suppress(OSError):
                self.sock.sendall(by_hand(payload, int(opcode)))

    def until(self, holds) -> None:
        """Read until it holds of this peer."""
        while not holds(self):
            assert self.read(), f"the relay hung up: {self.closed}"

    def end(self) -> tuple[int, str] | None:
        """Read to the end and return the close frame."""
        while self.read():
            pass
        return self.closed

    def say(self, **message: object) -> None:
        self.sock.sendall(by_hand(json.dumps(message).encode()))

    def of(self, kind: str) -> list[dict]:
        """Return the data of what came of a kind."""
        return [message.get("data", {}) for message in self.heard if message.get("type") == kind]

    @property
    def seqs(self) -> list[int]:
        """The numbers of the events that came."""
        return [int(m["id"].rpartition("-")[2]) for m in self.heard if "id" in m]
