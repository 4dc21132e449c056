"""The public side: access token, faults, PayPal-Request-Id, what was asked, execution, answer."""

from __future__ import annotations

import hashlib
import time
from email import message_from_bytes
from typing import Any
from urllib.parse import parse_qsl

import orjson
from pydantic import ValidationError

from sandbox.paypal import errors, routes, tokens
from sandbox.paypal.book import Book
from sandbox.paypal.call import Call
from sandbox.paypal.deliveries import CERTIFICATES, Deliveries
from sandbox.paypal.faults import STRIKING
from sandbox.standin.faults import SLOW, Fault, Faults, strike_after, strike_before
from sandbox.standin.keys import KeysInUse
from sandbox.standin.wire import Answer, Request

MAX_KEY = 108
MULTIPART = "multipart/"


class Api:
    """Answers what a client of PayPal's REST API asks."""

    def __init__(
        self, book: Book, faults: Faults, deliveries: Deliveries, clients: tokens.Clients
    ) -> None:
        self.book = book
        self.faults = faults
        self.deliveries = deliveries
        self.clients = clients
        self._keys = KeysInUse(errors.in_progress)

    def __call__(self, request: Request) -> Answer:
        """Answer one request, or hang up where a fault says so."""
        if request.path.startswith(CERTIFICATES):
            return self.deliveries.signer.answer(request.path.removeprefix(CERTIFICATES))
        debug_id = errors.debug_id()
        headers = {"Paypal-Debug-Id": debug_id}
        try:
            fault = self._before(request)
            answer = self._answer(request, fault)
        except errors.ApiError as error:
            body = orjson.dumps(error.body(debug_id))
            return Answer(error.status, body, headers)
        strike_after(fault, request)
        return Answer(answer.status, answer.body, headers | answer.headers)

    def _before(self, request: Request) -> Fault | None:
        fault = self.faults.take(STRIKING, request.method, request.path)
        strike_before(fault, request)
        if fault and fault.kind == "rate_limit":
            raise errors.ApiError(429)
        if fault and fault.kind == "key_in_use":
            raise errors.in_progress()
        if fault and fault.kind == "token_expired":
            raise errors.ApiError(401)
        if fault and fault.kind == "server_error" and not fault.executed:
            raise errors.ApiError(500)
        return fault

    def _answer(self, request: Request, fault: Fault | None) -> Answer:
        if (request.method, request.path) == ("POST", tokens.PATH):
            return self.clients.token(request, now=self.book.now())
        tokens.check(request, now=self.book.now())
        match = routes.found(request.method, request.path)
        if match is None:
            raise errors.ApiError(404)
        if code := _mocked(request):
            raise errors.mocked(code)
        answer = self._once(request, *match)
        if fault and fault.kind == "server_error":
            raise errors.ApiError(500)
        return answer

    def _once(self, request: Request, route: routes.Route, ids: tuple[str, ...]) -> Answer:
        given = request.headers.get("paypal-request-id")
        if route.key_life_s is None or given is None:
            if route.needs_key:
                raise errors.refused(
                    "MISSING_REQUIRED_PARAMETER", status=400, field="PayPal-Request-Id"
                )
            return self._executed(request, route, ids, None)
        if not 1 <= len(given) <= MAX_KEY:
            raise errors.refused("INVALID_STRING_LENGTH", status=400, field="PayPal-Request-Id")
        key = f"{request.path} {given}"
        with self._keys.holding(key):
            with self.book.lock:
                if saved := self.book.saved_answer(key):
                    if saved["fingerprint"] != _fingerprint(request):
                        raise errors.request_id_reused()
                    record = self.book.get(saved["kind"], saved["id"], param="id")
                    return _shown(self._call(request), route, record, status=routes.OK)
            return self._executed(request, route, ids, key)

    def _call(self, request: Request) -> Call:
        return Call(
            book=self.book,
            faults=self.faults,
            base_url="http://" + request.headers.get("host", "127.0.0.1"),
            request_id=request.headers.get("paypal-request-id"),
            is_whole="return=representation" in request.headers.get("prefer", ""),
            endpoints=self.deliveries.endpoints,
        )

    def _executed(
        self, request: Request, route: routes.Route, ids: tuple[str, ...], key: str | None
    ) -> Answer:
        params = _checked(request, route)
        if slow := self.faults.take(SLOW, request.method, request.path):
            time.sleep(slow.delay_s)
        call = self._call(request)
        with self.book.lock:
            record = route.run(call, params, *ids)
            answer = _shown(call, route, record, status=route.status)
            for follow in call.afterwards:
                follow()
            saved = None
            if key and record:
                saved = {
                    "at": self.book.now(),
                    "fingerprint": _fingerprint(request),
                    "id": record["id"],
                    "kind": record["object"],
                    "life_s": route.key_life_s,
                }
            self.book.commit(key=key, saved=saved)
            events = self.book.events_of_commit()
        self.deliveries.offer(events)
        return answer


def _shown(call: Call, route: routes.Route, record: errors.Object | None, *, status: int) -> Answer:
    if record is None:
        return Answer(status, b"")
    return Answer(status, orjson.dumps(route.show(call, record)))


def _checked(request: Request, route: routes.Route) -> Any:
    """Return what was asked, as the route takes it."""
    try:
        given = _given(request, route)
    except orjson.JSONDecodeError:
        raise errors.refused("MALFORMED_REQUEST_JSON", status=400, location="body") from None
    try:
        return route.takes.validate_python(given)
    except ValidationError as wrong:
        location = "query" if request.method in ("GET", "DELETE") else "body"
        raise errors.invalid(wrong.errors(), location=location) from None


def _given(request: Request, route: routes.Route) -> Any:
    kind = request.headers.get("content-type", "")
    if request.method in ("GET", "DELETE"):
        return dict(parse_qsl(request.query, keep_blank_values=True))
    if not request.body:
        return {}
    if route.is_multipart and kind.startswith(MULTIPART):
        return _input(kind, request.body)
    if not kind.startswith("application/json"):
        raise errors.ApiError(415)
    return orjson.loads(request.body)


def _input(content_type: str, body: bytes) -> Any:
    """Return the JSON in the part `input` of a form; the files beside it are not kept."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    for part in message_from_bytes(head + body).walk():
        if part.get_param("name", header="content-disposition") == "input":
            payload = part.get_payload(decode=True)
            return orjson.loads(payload) if isinstance(payload, bytes) else {}
    return {}


def _mocked(request: Request) -> str | None:
    """Return what PayPal's header for negative tests asks for."""
    header = request.headers.get("paypal-mock-response")
    if header is None:
        return None
    try:
        return str(orjson.loads(header)["mock_application_codes"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise errors.refused(
            "INVALID_PARAMETER_SYNTAX", status=400, field="PayPal-Mock-Response"
        ) from None


def _fingerprint(request: Request) -> str:
    return hashlib.sha256(f"{request.method} {request.path}\n".encode() + request.body).hexdigest()
