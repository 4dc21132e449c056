"""The codec against wsproto: what is right passes, what is wrong ends in the same close code."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol, Opcode, ParseFailed

from tests.web.relay.peer import by_hand
from web.relay.codec import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    Arrival,
    Code,
    Parser,
    Wrong,
    closing,
    frame,
)

# Small, so that examples meet it.
LARGEST = 300
# Completes what a stream leaves open, so that nothing is left to be judged.
REST = bytes(LARGEST + 20)
QUICK = settings(max_examples=150, deadline=None, database=None, derandomize=True)


def ours(stream: bytes, cuts=()) -> list:
    parser, found, start = Parser(LARGEST), [], 0
    for end in [*sorted(cuts), len(stream)]:
        found += parser.feed(stream[start:end])
        start = end
        if found and is_end(found[-1]):
            assert parser.is_idle
            break
    assert not any(map(is_end, found[:-1]))
    return [f.code if isinstance(f, Wrong) else tuple(f) for f in found]


def is_end(found) -> bool:
    return isinstance(found, Wrong) or found.opcode == CLOSE


class Theirs:
    """What wsproto makes of a stream; it takes binary and has no limit, so those rules are ours."""

    def __init__(self) -> None:
        self.protocol = FrameProtocol(client=False, extensions=[])
        self.text = ""
        self.found: list = []

    def read(self, stream: bytes) -> list:
        # Byte by byte, so that a header is seen before its payload.
        for byte in stream:
            self.protocol.receive_bytes(bytes((byte,)))
            try:
                ended = any(map(self.take, self.protocol.received_frames()))
            except ParseFailed as failed:
                self.found.append(failed.code)
                return self.found
            if ended or self.refuses():
                return self.found
        return self.found

    def take(self, part) -> bool:
        if part.opcode is Opcode.CLOSE:
            self.found.append((CLOSE, part.payload[1].encode(), part.payload[0]))
        elif part.opcode is Opcode.BINARY:
            self.found.append(Code.NOT_TEXT)
        elif part.opcode.iscontrol():
            self.found.append((int(part.opcode), part.payload, 0))
        else:
            self.text += part.payload
            if part.message_finished:
                self.found.append((TEXT, self.text.encode(), 0))
                self.text = ""
        return part.opcode in {Opcode.CLOSE, Opcode.BINARY}

    def refuses(self) -> bool:
        """Judge a header whose payload is still to come."""
        frame, message = self.protocol._frame_decoder, self.protocol._message_decoder
        header = frame.header
        if header is None or header.opcode.iscontrol() or frame.payload_consumed:
            return False
        half = message.decoder.getstate()[0] if message.decoder else b""
        if (header.opcode is Opcode.CONTINUATION) is (message.opcode is None):
            self.found.append(Code.PROTOCOL)
        elif header.opcode is Opcode.BINARY:
            self.found.append(Code.NOT_TEXT)
        elif header.payload_len + len(self.text.encode() + half) > LARGEST:
            self.found.append(Code.TOO_BIG)
        else:
            return False
        return True


def theirs(stream: bytes) -> list:
    return Theirs().read(stream)


KEYS = st.binary(min_size=4, max_size=4)
CONTROLS = st.builds(
    by_hand, st.binary(max_size=125), st.sampled_from([PING, PONG]), key=KEYS
) | st.builds(by_hand, st.text(max_size=20).map(str.encode), st.just(PING), key=KEYS)


@st.composite
def messages(draw) -> bytes:
    """A text message, whole or in pieces with control frames in between."""
    text = draw(st.text(max_size=90)).encode()[:LARGEST]
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=3)))
    stream, start = b"", 0
    for number, end in enumerate([*cuts, len(text)]):
        is_final = number == len(cuts)
        opcode = TEXT if number == 0 else 0
        stream += by_hand(text[start:end], opcode, final=is_final, key=draw(KEYS))
        start = end
        if not is_final and draw(st.booleans()):
            stream += draw(CONTROLS)
    return stream


CODES = st.sampled_from([0, 999, 1000, 1001, 1004, 1005, 1006, 1012, 1014, 1015, 1016, 2999, 3000])
GOODBYES = st.builds(
    lambda code, reason: by_hand(code.to_bytes(2, "big") + reason, CLOSE),
    CODES | st.integers(0, 65535),
    st.text(max_size=20).map(str.encode) | st.binary(max_size=20),
)
ODD = st.builds(
    by_hand,
    st.binary(max_size=200),
    st.integers(0, 15),
    final=st.booleans(),
    reserved=st.sampled_from([0, 0, 0, 0x10, 0x40]),
    key=KEYS | st.none(),
)
STREAMS = st.lists(messages() | messages() | CONTROLS | GOODBYES | ODD, max_size=4).map(b"".join)
CUTS = st.lists(st.integers(0, 1500), max_size=8)


@st.composite
def mutated(draw) -> bytes:
    """A stream of which some bytes are changed, dropped, doubled or let in."""
    stream = bytearray(draw(STREAMS))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(stream) - 1)))
        old = draw(st.integers(0, 2))
        stream[at : at + old] = draw(st.binary(max_size=2))
    return bytes(stream)


@QUICK
@given(st.lists(messages() | CONTROLS, max_size=5).map(b"".join), CUTS)
def test_what_is_right_arrives_wherever_it_is_cut(stream, cuts):
    assert ours(stream, cuts) == theirs(stream)
    parser = Parser(LARGEST)
    parser.feed(stream)
    assert parser.is_idle


@QUICK
@given(STREAMS | mutated(), CUTS)
def test_what_is_wrong_ends_in_the_same_code_wherever_it_is_cut(stream, cuts):
    stream += REST
    assert ours(stream, cuts) == ours(stream) == theirs(stream)


@QUICK
@given(st.binary(max_size=400), CUTS)
def test_noise_breaks_nothing(stream, cuts):
    assert ours(stream, cuts) == ours(stream)


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (by_hand(b"hi", key=None), 1002),
        (by_hand(b"hi", reserved=0x40), 1002),
        (by_hand(b"hi", reserved=0x10), 1002),
        (by_hand(b"hi", 3), 1002),
        (by_hand(b"hi", 11), 1002),
        (by_hand(b"hi", PING, final=False), 1002),
        (by_hand(b"x" * 126, PING), 1002),
        (by_hand(b"hi", 0), 1002),
        (by_hand(b"hi", final=False) + by_hand(b"hi"), 1002),
        (b"\x81\xfe\x00\x05", 1002),
        (b"\x81\xff" + (5).to_bytes(8, "big"), 1002),
        (b"\x81\xff" + (1 << 63).to_bytes(8, "big"), 1002),
        (by_hand(b"\x03", CLOSE), 1002),
        (by_hand((1005).to_bytes(2, "big"), CLOSE), 1002),
        (by_hand((2000).to_bytes(2, "big"), CLOSE), 1002),
        (by_hand((5000).to_bytes(2, "big"), CLOSE), 1002),
        (by_hand((1000).to_bytes(2, "big") + b"\xff", CLOSE), 1007),
        (by_hand(b"hi", 2), 1003),
        (by_hand(b"\xff"), 1007),
        (by_hand(b"\xed\xa0\x80"), 1007),
        (by_hand("é".encode()[:1]), 1007),
        (by_hand("é".encode()[:1], final=False) + by_hand(b"", 0), 1007),
    ],
)
def test_each_breach_has_its_code(stream, code):
    [*_, last] = Parser(LARGEST).feed(stream)
    assert isinstance(last, Wrong)
    assert last.code == code


def test_a_character_may_be_cut_between_two_pieces():
    first, second = "é".encode()[:1], "é".encode()[1:]
    found = Parser(LARGEST).feed(by_hand(first, final=False) + by_hand(second, 0))
    assert found == [Arrival(TEXT, "é".encode())]


@pytest.mark.parametrize(
    "stream",
    [
        by_hand(b"x" * (LARGEST + 1))[:4],
        by_hand(b"x" * 70_000)[:10],
        by_hand(b"x" * LARGEST, final=False) + by_hand(b"x", 0)[:2],
    ],
)
def test_what_is_too_big_is_refused_before_it_has_come(stream):
    parser = Parser(LARGEST)
    assert [f.code for f in parser.feed(stream)] == [1009]
    assert parser.is_idle


def test_the_largest_message_is_taken():
    assert Parser(LARGEST).feed(by_hand(b"x" * LARGEST)) == [Arrival(TEXT, b"x" * LARGEST)]


def test_every_frame_counts_for_limits_even_an_empty_piece():
    parser = Parser(LARGEST)
    parser.feed(by_hand(b"", final=False) + by_hand(b"", 0, final=False) * 9)
    assert parser.frames == 10
    assert not parser.is_idle


def test_nothing_is_read_after_the_close_frame():
    assert Parser(LARGEST).feed(by_hand(b"", CLOSE) + b"nonsense") == [Arrival(CLOSE, b"", 1005)]


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536])
def test_a_peer_reads_what_is_framed(length):
    peer = FrameProtocol(client=True, extensions=[])
    peer.receive_bytes(frame(b"x" * length))
    [found] = peer.received_frames()
    assert (found.payload, found.message_finished) == ("x" * length, True)


@pytest.mark.parametrize("reason", ["", "bye", "é" * 100])
def test_a_peer_reads_why_it_is_closed(reason):
    peer = FrameProtocol(client=True, extensions=[])
    peer.receive_bytes(closing(4104, reason))
    [found] = peer.received_frames()
    assert found.payload == (4104, reason[:61])


def test_a_close_without_a_code_is_answered_without_one():
    assert closing(Code.NO_CODE) == b"\x88\x00"
