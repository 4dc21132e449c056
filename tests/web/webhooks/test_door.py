"""The door before Flask: the same answers, and what follows an answer comes after it."""

from __future__ import annotations

import io
from typing import Any

import pytest
from flask import request_started
from werkzeug.test import EnvironBuilder

from tests.web.webhooks.door import PATH, Door, event, signature
from web.app import create_app
from web.webhooks import door as before_flask
from web.webhooks import storing


def call(door: Door, body: bytes) -> tuple[Any, list[str]]:
    """Call the application as a server does; return what it gives to be sent, and the status."""
    headers = {"Stripe-Signature": signature(body)}
    environ = EnvironBuilder(path=PATH, method="POST", data=body, headers=headers).get_environ()
    told: list[str] = []
    return door.app(environ, lambda status, _headers, _exc_info=None: told.append(status)), told


def test_the_bell_is_rung_once_the_answer_is_sent(door: Door) -> None:
    answer, told = call(door, event("evt_1"))
    assert b"".join(answer) == b'{"received":true}'
    assert told == ["200 OK"]
    assert len(door.owed()) == 1
    assert door.rung() == []
    answer.close()
    assert door.rung() == [str(door.owed()[0].id)]


def test_the_bell_is_rung_for_a_caller_who_does_not_wait_for_the_answer(door: Door) -> None:
    answer, _ = call(door, event("evt_1"))
    answer.close()
    assert door.rung() == [str(door.owed()[0].id)]


def test_the_door_is_open_also_where_requests_are_traced(
    open_door, migrated_engine, broker_url, monkeypatch
) -> None:
    monkeypatch.setenv("SENTRY_TRACES_RATE", "1")
    door = open_door(migrated_engine, broker_url)
    door.app = create_app()
    by_flask: list[object] = []
    with request_started.connected_to(by_flask.append):
        assert door.post(event("evt_1")).status_code == 200
        assert by_flask == []
        assert door.post(b"no event").status_code == 400
    assert by_flask == [door.app]


def test_flask_answers_as_the_door_does(door: Door) -> None:
    taken = door.post(event("evt_1"))
    body = event("evt_2")
    headers = {"Stripe-Signature": signature(body)}
    by_flask = door.app.test_client().post(f"{PATH}/", data=body, headers=headers)
    assert (by_flask.status_code, by_flask.data) == (taken.status_code, taken.data)
    names = set(by_flask.headers.keys())
    assert names == set(taken.headers.keys())
    assert all(by_flask.headers[n] == taken.headers[n] for n in names - {"X-Request-Id"})
    assert len(door.stored()) == len(door.owed()) == len(door.rung()) == 2


def test_a_bug_behind_the_door_is_one_500_without_internals(
    door: Door, monkeypatch, caplog
) -> None:
    tries: list[int] = []

    def fail() -> None:
        tries.append(1)
        raise LookupError("the cause")

    monkeypatch.setattr(storing, "intake", fail)
    response = door.post(event("evt_1"))
    assert response.status_code == 500
    assert response.content_type == "application/problem+json"
    assert "the cause" not in response.text
    assert "LookupError: the cause" in caplog.text
    assert len(tries) == 1
    assert door.stored() == []


@pytest.mark.parametrize("error", [None, LookupError("it was refused")])
def test_what_was_deferred_is_done_whatever_the_answer(error: Exception | None) -> None:
    done: list[str] = []

    def take(_body: bytes, _signature: str | None, defer) -> None:
        defer(lambda: done.append("deferred"))
        if error is not None:
            raise error

    def flask(environ, start_response) -> list[bytes]:
        assert environ[before_flask.MET] is error
        start_response("400 BAD REQUEST", [])
        return [b"refused"]

    body = b"{}"
    environ = EnvironBuilder(path=PATH, method="POST", data=body).get_environ()
    door = before_flask.Door(flask, PATH, "Stripe-Signature", take)
    answer = door(environ, lambda *_: None)
    assert b"".join(answer) == (before_flask.RECEIVED if error is None else b"refused")
    assert done == []
    answer.close()
    assert done == ["deferred"]


NOT_FOR_THE_DOOR = {
    "another path": {"PATH_INFO": f"{PATH}/"},
    "another method": {"REQUEST_METHOD": "PUT"},
    "no length": {"CONTENT_LENGTH": ""},
    "a length that is none": {"CONTENT_LENGTH": "1_0"},
    "a length that is too long": {"CONTENT_LENGTH": "1048577"},
    "two ways to tell the length": {"HTTP_TRANSFER_ENCODING": "chunked"},
    "a body that is cut short": {"wsgi.input": io.BytesIO(b"{}")},
}


@pytest.mark.parametrize("changed", NOT_FOR_THE_DOOR.values(), ids=NOT_FOR_THE_DOOR)
def test_what_is_not_plain_goes_on_to_flask_with_its_body(changed: dict[str, Any]) -> None:
    def take(*_: object) -> None:
        raise AssertionError("the door took it")

    def flask(environ, _start_response) -> list[bytes]:
        assert before_flask.MET not in environ
        return [environ["wsgi.input"].read()]

    environ = EnvironBuilder(path=PATH, method="POST", data=b'{"whole": 1}').get_environ()
    door = before_flask.Door(flask, PATH, "Stripe-Signature", take)
    wanted = b"{}" if "wsgi.input" in changed else b'{"whole": 1}'
    assert b"".join(door({**environ, **changed}, lambda *_: None)) == wanted
