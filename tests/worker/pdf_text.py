"""Reads what is written in a PDF of ours, by the tables of letters that its fonts bring."""

from __future__ import annotations

import re
import zlib

_STREAM = re.compile(rb"stream\r?\n(.*?)\r?\nendstream", re.DOTALL)
# Which font is meant, or a run of glyphs within one block of text, or the block's end.
_TOKEN = re.compile(rb"/F(\d+) [\d.]+ Tf|\(((?:\\.|[^\\()])*)\) Tj|(ET)", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}


def texts_of(document: bytes) -> list[str]:
    """Return the pieces of text in the order in which they are written, page after page."""
    streams = [_opened(each) for each in _STREAM.findall(document)]
    letters = [_letters(each) for each in streams if b"beginbfchar" in each]
    found: list[str] = []
    for stream in streams:
        if b" Tj" in stream:
            found += _read(stream, letters)
    return found


def _opened(stream: bytes) -> bytes:
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return stream


def _letters(table: bytes) -> dict[int, str]:
    pairs = re.findall(rb"<([0-9A-F]{4})> <([0-9A-F]+)>\n", table)
    return {
        int(glyph, 16): bytes.fromhex(text.decode()).decode("utf-16-be") for glyph, text in pairs
    }


def _read(stream: bytes, letters: list[dict[int, str]]) -> list[str]:
    found, block, font = [], "", 0
    for number, run, _end in _TOKEN.findall(stream):
        if number:
            font = int(number) - 1
        elif run:
            plain = re.sub(rb"\\(.)", lambda m: _ESCAPED.get(m[1], m[1]), run, flags=re.DOTALL)
            glyphs = zip(plain[::2], plain[1::2], strict=True)
            block += "".join(letters[font].get(high * 256 + low, "") for high, low in glyphs)
        elif block:
            found.append(block.strip())
            block = ""
    return found
