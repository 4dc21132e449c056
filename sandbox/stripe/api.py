"""The public side, `/v1/…`: key, faults, idempotency, parameters, execution, answer."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from dataclasses import dataclass

import orjson

from sandbox.standin.faults import SLOW, Fault, Faults, strike_after, strike_before
from sandbox.standin.keys import KeysInUse
from sandbox.standin.wire import Answer, Request
from sandbox.stripe import errors, routes
from sandbox.stripe.book import Book
from sandbox.stripe.call import API_VERSION, Call, Params
from sandbox.stripe.deliveries import Deliveries
from sandbox.stripe.faults import STRIKING
from sandbox.stripe.forms import MixedForm, decoded
from sandbox.stripe.listing import expanded
from sandbox.stripe.parameters import checker

BROWSER_MAY = frozenset(
    {"payment_intent_confirm", "payment_intent_retrieve", "payment_method_create"}
)
MAX_KEY = 255


@dataclass(frozen=True, slots=True)
class Outcome:
    """A status, a body, and whether an idempotency key remembers them."""

    status: int
    body: bytes
    is_saved: bool


def _outcome(error: errors.ApiError, *, is_saved: bool) -> Outcome:
    return Outcome(error.status, orjson.dumps(error.body()), is_saved)


class Api:
    """Answers what stripe-python asks."""

    def __init__(self, book: Book, faults: Faults, deliveries: Deliveries) -> None:
        self.book = book
        self.faults = faults
        self.deliveries = deliveries
        self._keys = KeysInUse(errors.key_in_use)

    def __call__(self, request: Request) -> Answer:
        """Answer one request, or hang up where a fault says so."""
        request_id = "req_" + secrets.token_hex(7)
        headers = {"Request-Id": request_id, "Stripe-Version": API_VERSION}
        try:
            fault = self._before(request)
            outcome, more = self._once(request, request_id, fault)
        except errors.ApiError as error:
            outcome, more = _outcome(error, is_saved=False), {}
        else:
            strike_after(fault, request)
        return Answer(outcome.status, outcome.body, headers | more)

    def _before(self, request: Request) -> Fault | None:
        fault = self.faults.take(STRIKING, request.method, request.path)
        strike_before(fault, request)
        if fault and fault.kind == "rate_limit":
            raise errors.too_many_requests()
        if fault and fault.kind == "lock_timeout":
            raise errors.locked()
        if fault and fault.kind == "key_in_use":
            raise errors.key_in_use(request.headers.get("idempotency-key", ""))
        return fault

    def _once(
        self, request: Request, request_id: str, fault: Fault | None
    ) -> tuple[Outcome, dict[str, str]]:
        key = request.headers.get("idempotency-key") if request.method == "POST" else None
        if key is None:
            return self._executed(request, request_id, None, fault), {}
        if len(key) > MAX_KEY:
            raise errors.InvalidRequest(f"Idempotency keys are at most {MAX_KEY} characters.")
        own_headers = {"Idempotency-Key": key}
        with self._keys.holding(key):
            fingerprint = _fingerprint(request)
            with self.book.lock:
                saved = self.book.saved_answer(key)
            if saved is None:
                outcome = self._executed(request, request_id, key, fault)
                return outcome, own_headers | {"Original-Request": request_id}
            if saved["fingerprint"] != fingerprint:
                raise errors.key_reused(key)
            again = {"Idempotent-Replayed": "true", "Original-Request": saved["request"]}
            body = orjson.dumps(saved["body"])
            return Outcome(saved["status"], body, is_saved=True), own_headers | again

    def _executed(
        self, request: Request, request_id: str, key: str | None, fault: Fault | None
    ) -> Outcome:
        secret = _client_secret_of(request)
        route, ids, params, paths = _checked(request, is_browser=secret is not None)
        if slow := self.faults.take(SLOW, request.method, request.path):
            time.sleep(slow.delay_s)
        call = Call(
            book=self.book,
            faults=self.faults,
            base_url="http://" + request.headers.get("host", "127.0.0.1"),
            request_id=request_id,
            key=key,
            client_secret=secret,
            endpoints=self.deliveries.endpoints,
        )
        with self.book.lock:
            outcome = self._run(call, route, ids, params, paths, fault)
            for follow in call.afterwards:
                follow()
            saved = None
            if key and outcome.is_saved:
                saved = _saved(outcome, _fingerprint(request), request_id, self.book.now())
            self.book.commit(key=key, saved=saved)
            events = self.book.events_of_commit()
        self.deliveries.offer(events)
        return outcome

    def _run(
        self,
        call: Call,
        route: routes.Route,
        ids: list[str],
        params: Params,
        paths: list[str],
        fault: Fault | None,
    ) -> Outcome:
        is_broken = fault is not None and fault.kind == "server_error"
        if fault and is_broken and not fault.executed:
            return _outcome(errors.server_error(), is_saved=True)
        try:
            shown = route.run(call, params, *ids)
            outcome = Outcome(200, orjson.dumps(expanded(self.book, shown, paths)), is_saved=True)
        except errors.ApiError as error:
            outcome = _outcome(error, is_saved=error.is_saved)
        return _outcome(errors.server_error(), is_saved=True) if is_broken else outcome


def _checked(
    request: Request, *, is_browser: bool
) -> tuple[routes.Route, list[str], Params, list[str]]:
    match = routes.found(request.method, request.path)
    if match is None:
        raise errors.InvalidRequest(
            f"Unrecognized request URL ({request.method}: {request.path}). Please see "
            "https://stripe.com/docs or we can help at https://support.stripe.com/.",
            status=404,
        )
    route, ids = match
    if is_browser and route.parameters not in BROWSER_MAY:
        raise errors.ApiError(
            403,
            type="invalid_request_error",
            code="secret_key_required",
            message="This API call cannot be made with a publishable API key.",
        )
    try:
        text = request.body.decode() if request.method == "POST" else request.query
        form = decoded(text)
    except (MixedForm, UnicodeDecodeError):
        raise errors.InvalidRequest("The request's parameters can't be read.") from None
    if is_browser:
        form.pop("client_secret", None)
    params = checker(route.parameters)("", form)
    return route, ids, params, params.pop("expand", [])


def _client_secret_of(request: Request) -> str | None:
    """Check the API key; return the client secret of a caller with a publishable one."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            credentials = base64.b64decode(credentials).decode().partition(":")[0]
        except ValueError:
            credentials = ""
    if credentials.startswith("sk_test_"):
        return None
    if credentials.startswith("pk_test_"):
        text = request.query if request.method == "GET" else request.body.decode("latin-1")
        return str(decoded(text).get("client_secret", ""))
    if not credentials:
        raise errors.unauthorized(
            "You did not provide an API key. You need to provide your API key in the "
            "Authorization header, using Bearer auth (e.g. 'Authorization: Bearer "
            "YOUR_SECRET_KEY')."
        )
    raise errors.unauthorized(
        f"Invalid API Key provided: {credentials[:8]}{'*' * max(0, len(credentials) - 8)}"
    )


def _fingerprint(request: Request) -> str:
    return hashlib.sha256(
        f"{request.method} {request.path}?{request.query}\n".encode() + request.body
    ).hexdigest()


def _saved(outcome: Outcome, fingerprint: str, request_id: str, at: int) -> errors.Object:
    return {
        "at": at,
        "body": orjson.Fragment(outcome.body),
        "fingerprint": fingerprint,
        "request": request_id,
        "status": outcome.status,
    }
