"""Every error is problem+json, and bad input is never our fault."""

from __future__ import annotations

import logging

import pymysql
import pytest
from sqlalchemy.exc import DataError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.test import create_environ

from models.ids import new_id
from models.money import InvalidAmount
from tests.web.visitor import problem_of
from web.problems import KINDS, TABLE

ECHO = "/api/v1/probe/echo"
LOGIN = "/api/v1/auth/login"
JSON = "application/json"


def test_an_unknown_path_is_404(visitor):
    problem = problem_of(visitor.get("/api/v1/nothing"), 404, "not-found")
    assert problem["detail"] == "There is nothing at this address."


@pytest.mark.parametrize("path", ["//api/v1/auth/login", "/api/v1//auth/login", "//"])
def test_a_slash_too_many_is_404_and_no_redirect(visitor, path):
    environ = create_environ(method="POST", json={}) | {"PATH_INFO": path}
    problem_of(visitor.app.test_client().open(environ), 404, "not-found")


def test_a_wrong_method_is_405_and_names_the_right_ones(visitor):
    answer = visitor.get(LOGIN)
    assert "GET" in problem_of(answer, 405, "method-not-allowed")["detail"]
    assert "POST" in answer.headers["Allow"]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{'a': 1}",
        b'{"a": 1,}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "b": 1}}',
        b'{"a": "\xff"}',
        b'{"a": "\\ud800"}',
        b'{"\\udfff": 1}',
        b'\xef\xbb\xbf{"a": 1}',
        '{"a": 1}'.encode("utf-16"),
        b'{"a": 1e99999999999999999999}',
        b'{"a": 1e401}',
        b'{"a": 0e999999}',
        b'{"a": 1e-401}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": ' + b"[" * 40 + b"]" * 40 + b"}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_a_malformed_body_is_400(visitor, body):
    answer = visitor.send("POST", ECHO, data=body, content_type=JSON)
    problem_of(answer, 400, "malformed-json")


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"{}"', b"true"])
def test_a_body_that_is_no_object_is_422(visitor, body):
    answer = visitor.send("POST", ECHO, data=body, content_type=JSON)
    problem_of(answer, 422, "invalid")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": JSON, "Content-Encoding": "gzip"},
    ],
)
def test_another_content_type_is_415(visitor, headers):
    answer = visitor.send("POST", ECHO, data=b"{}", headers=headers)
    problem_of(answer, 415, "unsupported-media-type")


@pytest.mark.parametrize("headers", [{}, {"Content-Type": JSON}])
def test_a_body_of_which_nothing_is_required_may_be_left_out(visitor, headers):
    answer = visitor.send("POST", ECHO, headers=headers)
    assert (answer.status_code, answer.json) == (200, {})


@pytest.mark.parametrize(
    ("headers", "status", "kind"),
    [
        ({}, 415, "unsupported-media-type"),
        ({"Content-Type": JSON}, 400, "malformed-json"),
    ],
)
def test_a_body_of_which_something_is_required_is_asked_for(visitor, headers, status, kind):
    problem_of(visitor.send("POST", LOGIN, headers=headers), status, kind)


def test_a_body_over_1_mib_is_413(visitor):
    body = b'{"a":"' + b"x" * (1024 * 1024) + b'"}'
    answer = visitor.send("POST", ECHO, data=body, content_type=JSON)
    assert "larger" in problem_of(answer, 413, "too-large")["detail"]


def test_a_body_of_just_1_mib_is_read(visitor):
    body = b'{"a":"' + b"x" * (1024 * 1024 - 8) + b'"}'
    assert visitor.send("POST", ECHO, data=body, content_type=JSON).status_code == 200


def test_numbers_go_through_exactly(visitor):
    body = b'{"a":10000000000000000.01,"b":0.10,"c":[1.10]}'
    answer = visitor.send("POST", ECHO, data=body, content_type=JSON)
    assert answer.data == body


def test_unknown_and_wrong_fields_are_422_each_by_name(visitor):
    answer = visitor.post(LOGIN, {"email": 1, "passwort": "x"})
    body = problem_of(answer, 422, "invalid")
    assert {error["field"] for error in body["errors"]} == {"email", "password", "passwort"}


def test_a_word_that_is_none_of_several_is_told_which_there_are(owner):
    body = {"invoice_id": str(new_id()), "amount": 1, "provider": "bank_transfer"}
    problem = problem_of(owner.post("/api/v1/payments/create-intent", body), 422, "invalid")
    told = "Input should be 'stripe' or 'paypal'"
    assert problem["errors"] == [{"field": "provider", "detail": told}]


def test_what_was_sent_is_never_told_back(visitor):
    answer = visitor.post(LOGIN, {"email": "canary-1234", "password": ["canary-1234"]})
    assert answer.status_code == 422
    assert "canary-1234" not in answer.text


@pytest.mark.parametrize("query", ["?limit=x", "?limit=1&limit=2", "?other=1"])
def test_a_wrong_query_is_422(owner, query):
    problem_of(owner.get(f"/api/v1/probe/things{query}"), 422, "invalid")


def test_a_query_may_list(owner):
    answer = owner.get("/api/v1/probe/things?tags=a&tags=b&limit=3")
    assert answer.json == {"limit": 3, "tags": ["a", "b"]}


def test_a_query_where_none_is_taken_is_422(owner):
    problem_of(owner.get("/api/v1/auth/me?x=1"), 422, "invalid")


def test_an_id_that_is_none_is_404(owner):
    problem_of(owner.get("/api/v1/probe/things/not-an-id"), 404, "not-found")


def fault(kind, number):
    original = pymysql.err.OperationalError(number, "secret detail")
    return kind("SELECT secret", {}, original)


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (fault(OperationalError, 2003), 503, "unavailable"),
        (fault(OperationalError, 2013), 503, "unavailable"),
        (fault(OperationalError, 1213), 503, "unavailable"),
        (fault(OperationalError, 1020), 503, "unavailable"),
        (PoolTimeoutError("secret"), 503, "unavailable"),
        (StaleDataError("secret"), 503, "unavailable"),
        (fault(IntegrityError, 1062), 409, "conflict"),
        (fault(DataError, 1406), 422, "invalid"),
        (fault(IntegrityError, 1452), 500, "internal"),
        (fault(OperationalError, 1054), 500, "internal"),
        (InvalidAmount("is not a number"), 422, "invalid"),
        (ZeroDivisionError("secret"), 500, "internal"),
        (KeyError("secret"), 500, "internal"),
    ],
)
def test_each_error_has_its_place_in_the_table(probe, visitor, error, status, kind):
    probe.error = error
    answer = visitor.get("/api/v1/probe/fails")
    problem_of(answer, status, kind)
    assert "secret" not in answer.text
    assert ("Retry-After" in answer.headers) == (status == 503)


def test_a_bug_is_logged_with_its_traceback(probe, visitor, caplog):
    probe.error = ZeroDivisionError("by accident")
    with caplog.at_level(logging.ERROR):
        visitor.get("/api/v1/probe/fails")
    assert "by accident" in caplog.text


def test_an_amount_that_is_none_names_its_field(probe, visitor):
    probe.error = InvalidAmount("is not a number")
    body = problem_of(visitor.get("/api/v1/probe/fails"), 422, "invalid")
    assert body["errors"] == [{"field": "amount", "detail": "is not a number"}]


def test_every_kind_is_used_or_reachable_and_the_table_has_no_base_exception():
    assert all(400 <= status < 600 for status, _ in KINDS.values())
    assert Exception not in TABLE


def test_every_answer_has_its_headers(visitor):
    answer = visitor.get("/api/v1/nothing", X_Request_Id="from-the-caller-1")
    assert answer.headers["X-Request-Id"] == "from-the-caller-1"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
