"""JSON as it is let in and as it goes out: exact decimals, nothing ambiguous, bounded depth."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, NoReturn

import orjson
from flask import Request
from flask.json.provider import JSONProvider

from web.problems import Problem

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 32
MAX_DIGITS = 400
INT_DIGITS = 19
_JSON_OUT = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


class StrictRequest(Request):
    """A request whose JSON is read by our rules, whoever asks for it."""

    _read: Any = None

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:  # noqa: ARG002, FBT001, FBT002  Flask's own signature
        """Return the body as an object.

        Raises:
            Problem: 400, 413, 415 or 422; never silent.
        """
        if self._read is None:
            if self.mimetype != "application/json" or self.headers.get("Content-Encoding"):
                raise Problem("unsupported-media-type")
            self._read = read_object(self.get_data())
        return self._read


def read_object(raw: bytes) -> dict[str, Any]:
    """Parse one JSON object.

    Raises:
        Problem: 400 for what is not UTF-8, not JSON, ambiguous or too deep; 422 for no object.
    """
    try:
        found = json.loads(
            raw.decode(),
            parse_float=_decimal_of,
            parse_int=_whole_of,
            parse_constant=_refuse_constant,
            object_pairs_hook=_object,
        )
        if b"\\u" in raw:
            json.dumps(found, ensure_ascii=False, default=str).encode()  # lone surrogates
    except UnicodeEncodeError:
        detail = "A text of the body holds half of a character (a lone surrogate)."
        raise Problem("malformed-json", detail) from None
    except UnicodeDecodeError:
        raise Problem("malformed-json", "The body is not UTF-8.") from None
    except (ValueError, ArithmeticError) as error:
        raise Problem("malformed-json", f"The body is not valid JSON: {error}"[:300]) from None
    except RecursionError:
        raise Problem("malformed-json", "The body is nested too deeply.") from None
    _check_depth(found)
    if not isinstance(found, dict):
        raise Problem("invalid", "The body must be a JSON object.")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _decimal_of(text: str) -> Decimal:
    number = Decimal(text) if len(text) <= MAX_DIGITS else None
    # A huge exponent is cheap as a Decimal and ruinous as soon as somebody makes an int of it.
    if number is None or abs(number.adjusted()) > MAX_DIGITS:
        raise ValueError("a number is out of range")
    return number


def _whole_of(text: str) -> int | Decimal:
    # Beyond 64 bits a number can be read and told but not written as an int.
    return int(text) if len(text) < INT_DIGITS else _decimal_of(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _check_depth(found: Any) -> None:
    level = [found] if isinstance(found, dict | list) else []
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise Problem("malformed-json", "The body is nested too deeply.")


def canonical(found: Any) -> bytes:
    """Return what was read in one fixed spelling, to compare requests by."""
    return json.dumps(found, sort_keys=True, separators=(",", ":"), default=str).encode()


def write(body: Any) -> bytes:
    """Return `body` as JSON; decimals are exact numbers, times are UTC, ids are text."""
    return orjson.dumps(body, default=_decimal, option=_JSON_OUT)


def _decimal(value: Any) -> Any:
    if isinstance(value, Decimal):
        return orjson.Fragment(f"{value:f}")
    raise TypeError(f"{type(value).__name__} has no form in JSON")


class ExactJSON(JSONProvider):
    """Flask's door to `write` and `json.loads`."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:  # noqa: ARG002
        """Return JSON text."""
        return write(obj).decode()

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:  # noqa: ARG002
        """Read JSON with exact decimals."""
        return json.loads(s, parse_float=Decimal)
