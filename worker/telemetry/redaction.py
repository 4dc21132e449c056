"""What must never leave the process, found by the name of its field and by its own shape.

One filter for logs, Sentry and metric tags. It errs on the side of hiding: a reader can live with
a hidden word, a customer can't live with a shown card.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from socket import gethostname
from typing import Any

REDACTED = "[redacted]"
MAX_DEPTH = 20
# Deeper than anything that is worth reading, shallower than the interpreter's own limit.

SECRET_NAMES = (
    "access_key",
    "accesstoken",
    "access_token",
    "account_number",
    "api_key",
    "apikey",
    "app_id",
    "authorization",
    "broker_url",
    "card_number",
    "cookie",
    "credential",
    "csrf",
    "cvc",
    "cvv",
    "database_url",
    "flower_login",
    "iban",
    "id_token",
    "jwt",
    "passwd",
    "password",
    "private_key",
    "recipient",
    "redis_url",
    "refresh_token",
    "routing_number",
    "secret",
    "security_code",
    "sentry_dsn",
    "session_id",
    "signature",
    "smtp_url",
    "stripe_webhook_key",
    "webhook_key",
)
EXACT_NAMES = frozenset(
    {"auth", "otp", "pan", "passcode", "pin", "pwd", "session", "sessionid", "ticket", "token"}
)

_NAME = re.compile("|".join(SECRET_NAMES))
_TOKEN_NAME = re.compile(r"(?:^|_)token$")


def is_secret_name(name: str) -> bool:
    """Tell whether a field of this name holds a secret, whatever the value looks like."""
    plain = name.lower().replace("-", "_").replace(" ", "_")
    return plain in EXACT_NAMES or bool(_NAME.search(plain) or _TOKEN_NAME.search(plain))


_NAMES_IN_TEXT = "|".join(
    [
        *(name.replace("_", "[-_ ]?") for name in SECRET_NAMES),
        r"\b(?:auth|otp|pan|pwd|pin|session|ticket)\b",
    ]
)
_NAME_THEN = rf"(?i)((?:(?:{_NAMES_IN_TEXT})[a-z0-9_-]{{0,40}}|token)"


@dataclass(frozen=True)
class Shape:
    """How a secret looks within a text.

    Attributes:
        needles: without one of them, in lower case, the pattern cannot match; looking for them
            costs a hundredth of trying the pattern, and most texts hold no secret.
    """

    needles: tuple[str, ...]
    pattern: re.Pattern[str]
    replacement: str = REDACTED


# A part of each name, the same however the parts are joined: the rarer one, as `api` is in every
# path and `url` in every text about addresses.
_COMMON_PARTS = frozenset({"api", "app", "code", "id", "number", "url", "webhook"})
_STEMS = tuple(
    sorted(
        {
            # Where every part is in everything, the whole name.
            next((part for part in reversed(name.split("_")) if part not in _COMMON_PARTS), name)
            for name in SECRET_NAMES
        }
        | EXACT_NAMES
    )
)
NAMED_SHAPES = (
    # `"cvc": "123"`, `password='…'`, also as JSON within JSON, also cut off before its end.
    Shape(
        _STEMS,
        re.compile(
            rf"{_NAME_THEN}\\?['\"]?\s*(?:=>|[:=])\s*b?)"
            r"(\\?)(['\"])(?:(?!\2\3)(?:\\.|[^\\]))*(?:\2\3|$|(?=\\))"
        ),
        rf"\1\2\3{REDACTED}\2\3",
    ),
    # `{"cvc": 123, …}`: a quoted name and a bare value, up to the next delimiter.
    Shape(
        _STEMS,
        re.compile(rf"{_NAME_THEN}\\?['\"]\s*(?:=>|[:=])\s*)(?!\[redacted)[^\s,}}\]'\"\\]+"),
        rf"\1{REDACTED}",
    ),
    # `password=…`: anything up to a blank, as nothing tells where it ends.
    Shape(
        _STEMS,
        re.compile(rf"{_NAME_THEN}\s*(?:=>|[:=])\s*)(?!\\?['\"]?\[redacted)[^\s]+"),
        rf"\1{REDACTED}",
    ),
)
SHAPES = (
    # Headers take the rest of their line: `Cookie: a=b; c=d`, `Authorization: Digest x="y", …`.
    Shape(
        ("authorization", "cookie"),
        re.compile(r"(?i)((?:proxy-)?authorization|(?:set-)?cookie)(\s*:\s*)[^\r\n]+"),
        rf"\1\2{REDACTED}",
    ),
    *NAMED_SHAPES,
    Shape(
        ("bearer", "basic", "digest"),
        re.compile(r"(?i)\b(bearer|basic|digest)\s+(?=\S*[A-Z0-9=])[A-Za-z0-9._~+/=-]{6,}"),
        rf"\1 {REDACTED}",
    ),
    # The password of an address; greedy to the last @, as passwords hold @ more often than not.
    Shape(
        ("://",),
        re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,20}://[^\s:/@'\"]*):([^\s/'\"]+)@"),
        rf"\1:{REDACTED}@",
    ),
    Shape(("sk_", "rk_"), re.compile(r"(?:sk|rk)_(?:test|live|org)_[A-Za-z0-9_]+")),
    Shape(("sk_", "rk_"), re.compile(r"(?<![A-Za-z0-9])(?:sk|rk)_[A-Za-z0-9]{16,}")),
    Shape(("whsec_",), re.compile(r"whsec_[A-Za-z0-9+/=_-]+")),
    # The object's id before `_secret_` stays: it finds the payment and opens nothing.
    Shape(
        ("_secret_",),
        re.compile(
            r"((?:pi|seti|si|src|cs|cuss)_[A-Za-z0-9]+(?:_[A-Za-z0-9]+)?_secret)_[A-Za-z0-9_]+"
        ),
        rf"\1_{REDACTED}",
    ),
    Shape(("tok_",), re.compile(r"tok_[A-Za-z0-9_]{3,}")),
    # A way into the relay, as a browser shows it among its subprotocols.
    Shape(("ticket.",), re.compile(r"\bticket\.[A-Za-z0-9_-]{32,}"), f"ticket.{REDACTED}"),
    Shape(("eyj",), re.compile(r"eyJ[A-Za-z0-9_-]{2,600}\.[A-Za-z0-9_-]*\.?[A-Za-z0-9_-]*")),
    Shape(("sg.",), re.compile(r"SG\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}")),
    Shape(("a21a",), re.compile(r"A21A[A-Za-z0-9_-]{16,}")),
    Shape(("$argon2",), re.compile(r"\$argon2(?:id|i|d)\$[^\s'\"]+")),
    # Who is written to is nobody's business. What is at this very machine is a node of Celery's.
    Shape(
        ("@",),
        re.compile(
            rf"[A-Za-z0-9._%+-]{{1,64}}@(?!{re.escape(gethostname())}\b)"
            r"[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,5}\.[A-Za-z]{2,63}"
        ),
        "[address]",
    ),
    Shape(
        ("-----begin",),
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"
        ),
    ),
)
_NEEDLES = tuple(dict.fromkeys(needle for shape in SHAPES for needle in shape.needles))

_DIGITS = re.compile(r"\d(?:[ -]?\d){12,}")
_GROUP = re.compile(r"\d+")
_CARD_LENGTHS = range(13, 20)
_SMALLEST_CARD = 10 ** (_CARD_LENGTHS[0] - 1)


def redact(text: str) -> str:
    """Return the text with every secret in it replaced."""
    low = text.lower()
    found = {needle for needle in _NEEDLES if needle in low}
    if "=" not in low and ":" not in low:
        found.difference_update(_STEMS)  # a name without a value
    if found:
        for shape in SHAPES:
            if not found.isdisjoint(shape.needles):
                text = shape.pattern.sub(shape.replacement, text)
    return _DIGITS.sub(_hide_cards, text)


def _hide_cards(match: re.Match[str]) -> str:
    """Hide each card number in a run of digits: whole groups that make a number with a check digit.

    Groups, because `3-4242424242424242` and `4242 4242 4242 4242 12/27` are runs around a number.
    """
    run = match.group()
    groups = list(_GROUP.finditer(run))
    kept: list[str] = []
    done = first = 0
    while first < len(groups):
        last = _card_from(groups, first)
        if last is None:
            first += 1
            continue
        kept += [run[done : groups[first].start()], REDACTED]
        done = groups[last].end()
        first = last + 1
    return "".join([*kept, run[done:]])


def _card_from(groups: Sequence[re.Match[str]], first: int) -> int | None:
    """Return the last group of the card number that begins with group `first`."""
    digits = ""
    for last in range(first, len(groups)):
        digits += groups[last].group()
        if len(digits) > _CARD_LENGTHS[-1]:
            break
        if _is_card(digits):
            return last
    return None


def _is_card(digits: str) -> bool:
    """Tell whether digits have a card's length, a network's first digit and the check digit."""
    if len(digits) not in _CARD_LENGTHS or digits[0] not in "23456":
        return False
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


def scrub(value: Any) -> Any:
    """Return a copy of plain data with every secret in it replaced; other objects become text."""
    return _scrub(value, ())


def _scrub(value: Any, path: tuple[int, ...]) -> Any:
    """Scrub one value; `path` holds the containers around it, so that a cycle ends."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return (
            value if abs(value) < _SMALLEST_CARD or redact(str(value)) == str(value) else REDACTED
        )
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return redact(bytes(value).decode("utf-8", "backslashreplace"))
    if isinstance(value, Mapping | Sequence | AbstractSet):
        return _scrub_container(value, path)
    return redact(_text_of(value))


def _scrub_container(value: Any, path: tuple[int, ...]) -> Any:
    if id(value) in path or len(path) >= MAX_DEPTH:
        return "[cycle or too deep]"
    path = (*path, id(value))
    if isinstance(value, Mapping):
        return {
            shown: REDACTED
            if is_secret and item is not None and not isinstance(item, bool)
            else _scrub(item, path)
            for key, item in value.items()
            for shown, is_secret in [_read_name(str(key))]
        }
    return [_scrub(item, path) for item in value]


@lru_cache(1024)
def _read_name(name: str) -> tuple[str, bool]:
    """Return a field's name as it may be shown, and whether its value is secret."""
    return redact(name), is_secret_name(name)


def _text_of(value: Any) -> str:
    try:
        if isinstance(value, BaseException):
            return f"{type(value).__name__}: {value}"
        return str(value)
    except Exception as error:  # noqa: BLE001  a broken __str__ must not lose the line
        return f"<{type(value).__name__}: {type(error).__name__} in __str__>"
