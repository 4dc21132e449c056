"""Frames of RFC 6455: what is sent is built once, what comes is read in pieces.

Only what this relay speaks: text, control frames, no extension. What a peer does wrong ends in a
close code: 1002 for the protocol, 1003 for binary, 1007 for text that is no UTF-8, 1009 for size.
"""

from __future__ import annotations

import codecs
from enum import IntEnum
from typing import Final, NamedTuple

TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA
CONTINUATION: Final = 0x0

FINAL: Final = 0x80
RESERVED: Final = 0x70
OPCODE: Final = 0x0F
MASKED: Final = 0x80
LENGTH: Final = 0x7F
CONTROL: Final = 0x8

# Lengths up to 125 stand in the header; 126 and 127 say that 2 or 8 bytes tell it.
SHORT: Final = 125
IN_TWO: Final = 126
IN_EIGHT: Final = 127
TWO_BYTES: Final = 1 << 16
EIGHT_BYTES: Final = 1 << 63

MASK_LENGTH: Final = 4
# A header without its mask and without the longer lengths.
LEAST_HEADER: Final = 2
CODE_LENGTH: Final = 2


_decoder = codecs.getincrementaldecoder("utf-8")


class Code(IntEnum):
    """Why a connection ends, as the protocol numbers it."""

    PROTOCOL = 1002
    NOT_TEXT = 1003
    NO_CODE = 1005
    NOT_UTF8 = 1007
    TOO_BIG = 1009


# What a peer may send: what RFC 6455 and its registry define, and what they leave to others.
MAY_BE_SENT: Final = frozenset((*range(1000, 1004), *range(1007, 1014), *range(3000, 5000)))


class Arrival(NamedTuple):
    """Something that came whole.

    Args:
        opcode: TEXT, PING, PONG or CLOSE; a message's pieces are joined.
        code: of a CLOSE what the peer gave, NO_CODE if nothing.
    """

    opcode: int
    payload: bytes
    code: int = 0


class Wrong(NamedTuple):
    """What came breaks the protocol: end the connection with the code; nothing more is read."""

    code: Code
    reason: str


class _Frame(NamedTuple):
    opcode: int
    is_final: bool
    payload: bytes


class _Broken(Exception):
    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.wrong = Wrong(code, reason)


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return the payload as one whole frame of a server: not masked."""
    length = len(payload)
    if length <= SHORT:
        return bytes((FINAL | opcode, length)) + payload
    if length < TWO_BYTES:
        return bytes((FINAL | opcode, IN_TWO)) + length.to_bytes(2, "big") + payload
    return bytes((FINAL | opcode, IN_EIGHT)) + length.to_bytes(8, "big") + payload


def closing(code: int, reason: str = "") -> bytes:
    """Return a close frame; NO_CODE makes an empty one. The reason is cut at 123 bytes."""
    if code == Code.NO_CODE:
        return frame(b"", CLOSE)
    room = reason.encode()[: SHORT - CODE_LENGTH].decode(errors="ignore").encode()
    return frame(code.to_bytes(CODE_LENGTH, "big") + room, CLOSE)


def masked(payload: bytes, key: bytes) -> bytes:
    """Return the payload under the key, or out of it: the same works both ways."""
    length = len(payload)
    mask = int.from_bytes((key * (length // MASK_LENGTH + 1))[:length], "little")
    return (int.from_bytes(payload, "little") ^ mask).to_bytes(length, "little")


class Parser:
    """Reads what one peer sends, cut anywhere.

    While `is_idle` it holds nothing of the peer, and may serve another.

    Args:
        largest: the most bytes that a message may have. A header that announces more is refused
            before the payload comes.
    """

    __slots__ = ("_buffer", "_decoder", "_message", "_read", "frames", "largest")

    def __init__(self, largest: int) -> None:
        self.largest = largest
        # Frames read by the last `feed`, for limits: a message may be cut into empty ones.
        self.frames = 0
        self._buffer = bytearray()
        self._read = 0
        self._message: bytearray | None = None
        self._decoder: codecs.IncrementalDecoder | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no frame and no message is half read."""
        return not self._buffer and self._message is None

    def feed(self, data: bytes) -> list[Arrival | Wrong]:
        """Return what is whole with `data`. After a CLOSE or a Wrong all is forgotten."""
        self._buffer += data
        self._read = self.frames = 0
        arrived: list[Arrival | Wrong] = []
        try:
            while (found := self._frame()) is not None:
                self.frames += 1
                arrival = self._arrival(found)
                if arrival is None:
                    continue
                arrived.append(arrival)
                if arrival.opcode == CLOSE:
                    self._forget()
                    return arrived
        except _Broken as broken:
            arrived.append(broken.wrong)
            self._forget()
            return arrived
        del self._buffer[: self._read]
        return arrived

    def _forget(self) -> None:
        self._buffer.clear()
        self._message = self._decoder = None

    def _frame(self) -> _Frame | None:
        """Return the next frame if it is whole; judge its header as soon as that is there."""
        buffer, start = self._buffer, self._read
        if len(buffer) - start < LEAST_HEADER:
            return None
        first, second = buffer[start], buffer[start + 1]
        opcode, is_final = first & OPCODE, bool(first & FINAL)
        self._check_first(first, opcode, is_final=is_final)
        if not second & MASKED:
            raise _Broken(Code.PROTOCOL, "not masked")
        sized = self._length(second & LENGTH, start + LEAST_HEADER, opcode)
        if sized is None:
            return None
        length, at = sized
        self._check_kind(length, opcode)
        end = at + MASK_LENGTH + length
        if len(buffer) < end:
            return None
        self._read = end
        payload = bytes(buffer[at + MASK_LENGTH : end])
        key = bytes(buffer[at : at + MASK_LENGTH])
        return _Frame(opcode, is_final, masked(payload, key))

    def _check_first(self, first: int, opcode: int, *, is_final: bool) -> None:
        if first & RESERVED:
            raise _Broken(Code.PROTOCOL, "reserved bits")
        if opcode not in {CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG}:
            raise _Broken(Code.PROTOCOL, "unknown opcode")
        if opcode & CONTROL:
            if not is_final:
                raise _Broken(Code.PROTOCOL, "a control frame in pieces")
        elif (opcode == CONTINUATION) is (self._message is None):
            raise _Broken(Code.PROTOCOL, "pieces out of order")

    def _length(self, told: int, at: int, opcode: int) -> tuple[int, int] | None:
        """Return the payload's length and where its mask begins, or None if more must come."""
        if told <= SHORT:
            return told, at
        if opcode & CONTROL:
            raise _Broken(Code.PROTOCOL, "a long control frame")
        width = 2 if told == IN_TWO else 8
        if len(self._buffer) < at + width:
            return None
        length = int.from_bytes(self._buffer[at : at + width], "big")
        least = SHORT + 1 if told == IN_TWO else TWO_BYTES
        if not least <= length < EIGHT_BYTES:
            raise _Broken(Code.PROTOCOL, "a length not told the shortest way")
        return length, at + width

    def _check_kind(self, length: int, opcode: int) -> None:
        if opcode & CONTROL:
            return
        if opcode == BINARY:
            raise _Broken(Code.NOT_TEXT, "only text is understood")
        if length + len(self._message or b"") > self.largest:
            raise _Broken(Code.TOO_BIG, f"more than {self.largest} bytes")

    def _arrival(self, found: _Frame) -> Arrival | None:
        opcode, is_final, payload = found
        if opcode == CLOSE:
            return _closed(payload)
        if opcode & CONTROL:
            return Arrival(opcode, payload)
        if is_final and self._message is None:
            _check_text(_decoder(), payload, is_final=True)
            return Arrival(TEXT, payload)
        return self._piece(payload, is_final=is_final)

    def _piece(self, payload: bytes, *, is_final: bool) -> Arrival | None:
        if self._message is None or self._decoder is None:
            self._message, self._decoder = bytearray(), _decoder()
        _check_text(self._decoder, payload, is_final=is_final)
        self._message += payload
        if not is_final:
            return None
        whole = bytes(self._message)
        self._message = self._decoder = None
        return Arrival(TEXT, whole)


def _check_text(decoder: codecs.IncrementalDecoder, payload: bytes, *, is_final: bool) -> None:
    try:
        decoder.decode(payload, is_final)
    except UnicodeDecodeError:
        raise _Broken(Code.NOT_UTF8, "not UTF-8") from None


def _closed(payload: bytes) -> Arrival:
    if not payload:
        return Arrival(CLOSE, b"", Code.NO_CODE)
    if len(payload) < CODE_LENGTH:
        raise _Broken(Code.PROTOCOL, "half a close code")
    code, reason = int.from_bytes(payload[:CODE_LENGTH], "big"), payload[CODE_LENGTH:]
    if code not in MAY_BE_SENT:
        raise _Broken(Code.PROTOCOL, "a close code that is not for sending")
    _check_text(_decoder(), reason, is_final=True)
    return Arrival(CLOSE, reason, code)
