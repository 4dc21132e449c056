"""Whatever is posted, signed or not: 200, 400 or 413, and rows for what was answered 200 only.

PAYBEAT_FUZZ_EXAMPLES says how many inputs; the default is for every run of the tests.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.webhooks import HANDLED
from tests.web.webhooks.door import PATH, Door, event, signature

EXAMPLES = int(os.environ.get("PAYBEAT_FUZZ_EXAMPLES", "400"))

LATIN = st.text(st.characters(max_codepoint=255), max_size=80)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=10**18, max_value=10**320),
    st.floats(),
    st.text(st.characters(), max_size=30),  # lone surrogates too: they travel as \\uXXXX
    st.sampled_from(["event", "evt_1", "payment_intent.succeeded", "\x00", "a" * 101, "'\"\\%s"]),
)
NAMES = st.one_of(st.text(max_size=8), st.sampled_from(["client_secret", "object", "id"]))
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=12,
)
FIELDS = ("id", "object", "type", "data", "account", "created", "more")
ID = st.from_regex(r"\Aevt_[0-9a-zA-Z'\"\\%;-]{1,100}\Z")


@st.composite
def events(draw: st.DrawFn) -> bytes:
    """Draw an event, whole or with some fields of another kind."""
    replaced: dict[str, Any] = draw(
        st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=draw(st.integers(0, 3)))
    )
    return event(**{"id": draw(ID), "data": {"object": {"any": draw(ANYTHING)}}, **replaced})


@st.composite
def deep(draw: st.DrawFn) -> bytes:
    """Draw an event nested more or less deeply."""
    levels = draw(st.one_of(st.integers(1, 40), st.sampled_from([500, 1100, 20_000])))
    opening, closing = draw(st.sampled_from([(b"[", b"]"), (b'{"a":', b"}")]))
    inside = opening * levels + b"1" + closing * draw(st.sampled_from([levels, levels - 1]))
    return event(draw(ID)).replace(b"1099", inside)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Draw an event with some of its bytes cut, replaced or doubled."""
    body = draw(events())
    start = draw(st.integers(0, len(body)))
    end = draw(st.integers(start, min(len(body), start + 20)))
    return body[:start] + draw(st.binary(max_size=6)) + body[end:]


BODIES = st.one_of(
    events(),
    events(),
    damaged(),
    deep(),
    st.binary(max_size=200),
    ANYTHING.map(lambda value: json.dumps(value).encode()),
    events().map(lambda body: body.decode().encode("utf-16")),
)


@st.composite
def forgeries(draw: st.DrawFn, body: bytes) -> str:
    """Draw a header that must not hold for this body."""
    good = signature(body)
    start = draw(st.integers(0, len(good) - 1))
    pairs = st.lists(st.tuples(st.sampled_from(["t", "v0", "v1", ""]), LATIN), max_size=5)
    return draw(
        st.one_of(
            LATIN,
            pairs.map(lambda found: ",".join(f"{name}={value}" for name, value in found)),
            st.just(good[:start]),
            st.integers(300 + 60, 10**9).map(lambda s: signature(body, at=time.time() - s)),
            st.integers(300 + 60, 10**9).map(lambda s: signature(body, at=time.time() + s)),
            LATIN.map(lambda key: signature(body, key=f"whsec_{key}")),
            st.just(f"{good},{good}"),
            LATIN.map(lambda stamp: signature(body, at=f"x{stamp}")),
        )
    )


@st.composite
def posts(draw: st.DrawFn) -> tuple[bytes, dict[str, str], bool]:
    """Draw a body, its environment of a request, and whether its signature holds."""
    body = draw(BODIES)
    is_signed = draw(st.booleans())
    extra = draw(
        st.dictionaries(
            st.sampled_from(["CONTENT_TYPE", "HTTP_CONTENT_ENCODING", "HTTP_X_REQUEST_ID"]),
            LATIN,
            max_size=2,
        )
    )
    if is_signed:
        return body, {**extra, "HTTP_STRIPE_SIGNATURE": signature(body)}, True
    if draw(st.integers(0, 9)) == 0:
        return body, extra, False
    return body, {**extra, "HTTP_STRIPE_SIGNATURE": draw(forgeries(body))}, False


def test_no_input_breaks_the_door(door: Door) -> None:
    client = door.app.test_client()
    seen: Counter[tuple[int, bool]] = Counter()
    accepted: set[tuple[str, str]] = set()
    acted_on: set[tuple[str, str]] = set()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(posts())
    def post(drawn: tuple[bytes, dict[str, str], bool]) -> None:
        body, environ, is_signed = drawn
        answer = client.post(PATH, data=body, environ_overrides=environ)
        seen[answer.status_code, is_signed] += 1
        assert answer.status_code in ({200, 400, 413} if is_signed else {400, 413}), answer.text
        if answer.status_code == 200:
            read = json.loads(body)
            name = (read.get("account") or "", read["id"])
            if name not in accepted and read["type"] in HANDLED["stripe"]:
                acted_on.add(name)
            accepted.add(name)

    started = time.monotonic()
    post()
    seconds = time.monotonic() - started
    print(f"{seen.total()} inputs in {seconds:.0f} s: {dict(seen)}")  # noqa: T201  told with -s
    assert seen[200, True] > 0
    assert {(row.account, row.provider_event_id) for row in door.stored()} == accepted
    assert len(door.owed()) == len(acted_on) > 0
