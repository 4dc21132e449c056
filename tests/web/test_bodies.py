"""JSON in and out, for whatever anybody sends."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.ids import new_id
from models.tenants import Role
from web.bodies import canonical, read_object, write
from web.problems import Problem

SCALARS = st.none() | st.booleans() | st.integers() | st.text()
AMOUNTS = st.decimals(allow_nan=False, allow_infinity=False, places=2)
VALUES = st.recursive(
    SCALARS | AMOUNTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def is_object_or_problem(raw):
    try:
        return isinstance(read_object(raw), dict)
    except Problem as problem:
        return problem.status in {400, 422}


@given(st.binary(max_size=300))
def test_any_bytes_are_an_object_or_a_problem(raw):
    assert is_object_or_problem(raw)


@given(st.text(alphabet='{}[]",:0123456789.eE+-\\uadnulfrtsNI ', max_size=60))
def test_almost_json_is_an_object_or_a_problem(text):
    assert is_object_or_problem(b'{"a":' + text.encode() + b"}")


@given(st.dictionaries(st.text(), VALUES, max_size=5))
def test_what_is_read_can_be_written_and_read_again(found):
    sent = json.dumps(found, default=lambda amount: 7).encode()
    read = read_object(sent)
    assert read_object(write(read)) == read == json.loads(sent)


@pytest.mark.parametrize("digits", [18, 19, 20, 400])
def test_a_number_of_many_digits_is_exact(digits):
    raw = b'{"a":' + b"9" * digits + b"}"
    assert write(read_object(raw)) == raw


@given(AMOUNTS)
def test_an_amount_is_written_to_the_last_digit(amount):
    written = write({"amount": amount})
    assert read_object(written)["amount"] == amount
    assert b"e" not in written.lower().replace(b'"amount"', b"")


def test_ids_times_and_words_are_text():
    identity = new_id()
    moment = datetime(2026, 11, 23, 4, 30, tzinfo=UTC)
    found = json.loads(write({"id": identity, "at": moment, "role": Role.OWNER}))
    assert found == {"id": str(identity), "at": "2026-11-23T04:30:00Z", "role": "owner"}


def test_what_has_no_form_in_json_is_a_bug():
    with pytest.raises(TypeError):
        write({"what": object()})


def test_bodies_that_mean_the_same_are_spelt_alike():
    one, two = (read_object(raw) for raw in (b'{"a":1,"b":[1.50]}', b'{ "b": [1.50], "a": 1 }'))
    assert canonical(one) == canonical(two)
    assert canonical(one) != canonical(read_object(b'{"a":1,"b":[1.51]}'))
