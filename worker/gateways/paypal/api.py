"""PayPal's REST API: JSON over the shared wire, with a token and a deadline for the whole call."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

import orjson

from worker.gateways.base import GatewayError, Rejected, Unavailable
from worker.gateways.calls import Calls
from worker.gateways.paypal.failures import PayPalError, failure_of
from worker.gateways.paypal.tokens import Tokens
from worker.gateways.wire import LOST, Wire

LIVE = "https://api-m.paypal.com"
SANDBOX = "https://api-m.sandbox.paypal.com"
REQUEST_ID = "PayPal-Request-Id"
DEBUG_ID = "Paypal-Debug-Id"
REQUEST_ID_CHARACTERS = 108
UNAUTHORIZED = 401
THREADS = 64  # a worker's threads: each keeps a connection

Params = Mapping[str, str]


class Answer(NamedTuple):
    """The JSON of a success, empty where there is none, and the id of the call at PayPal."""

    body: Any
    request_id: str


class Api:
    """One account at PayPal. Thread-safe."""

    def __init__(self, *, client_id: str, client_secret: str, base: str, timeout_s: float) -> None:
        self.base = base.rstrip("/")
        self._login = base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()
        self._timeout_s = timeout_s
        self._wire = Wire(threads=THREADS)
        self._tokens = Tokens(self._fetch_token)

    def close(self) -> None:
        """Drop the idle connections."""
        self._wire.close()

    def get(self, path: str, query: Params | None = None) -> Answer:
        """Read an object or a list."""
        return self._authorized("GET", path + (f"?{urlencode(query)}" if query else ""))

    def post(
        self,
        path: str,
        body: object = None,
        *,
        key: str = "",
        content: tuple[str, bytes] | None = None,
    ) -> Answer:
        """Change something, under an idempotency key where the path takes one.

        Args:
            content: a content type and the bytes of it, where the body is not JSON.
        """
        if len(key) > REQUEST_ID_CHARACTERS:
            raise ValueError(f"a key of {len(key)} characters is longer than PayPal keeps")
        kind, data = content or ("application/json", orjson.dumps({} if body is None else body))
        headers = {"Content-Type": kind, "Prefer": "return=representation"}
        if key:
            headers[REQUEST_ID] = key
        return self._authorized("POST", path, headers=headers, data=data)

    def delete(self, path: str) -> Answer:
        """Remove an object."""
        return self._authorized("DELETE", path)

    def _authorized(
        self,
        method: str,
        path: str,
        *,
        headers: Params | None = None,
        data: bytes | None = None,
    ) -> Answer:
        """Send with the token; one that PayPal refuses is renewed once."""
        deadline = time.monotonic() + self._timeout_s
        token = self._tokens.current(deadline)
        for is_last in (False, True):
            try:
                return self._send(
                    method,
                    path,
                    {**(headers or {}), "Authorization": f"Bearer {token.text}"},
                    data,
                    deadline,
                )
            except PayPalError as error:
                if error.status != UNAUTHORIZED or is_last:
                    raise
            self._tokens.forget(token)
            token = self._tokens.current(deadline)
        raise AssertionError("unreachable")

    def _fetch_token(self, deadline: float) -> tuple[str, float]:
        """Ask for a token. Whatever goes wrong, the call that needs it was not sent."""
        headers = {
            "Authorization": f"Basic {self._login}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        failure: GatewayError
        try:
            answer = self._send(
                "POST", "/v1/oauth2/token", headers, b"grant_type=client_credentials", deadline
            )
            return str(answer.body["access_token"]), float(answer.body["expires_in"])
        except PayPalError as error:
            failure = failure_of(error, is_read=True)
        except (LookupError, TypeError, ValueError) as error:
            failure = Unavailable(message=f"no token ({type(error).__name__})", code="unreadable")
        if not isinstance(failure, Unavailable):
            failure = Rejected(
                message=f"PayPal gives us no token: {failure.message}",
                code="no_token",
                provider_request_id=failure.provider_request_id,
                http_status=failure.http_status,
            )
        raise failure

    def _send(
        self, method: str, path: str, headers: Params, data: bytes | None, deadline: float
    ) -> Answer:
        lost: Exception | None = None
        try:
            raw, status, met = self._wire.send(
                method,
                self.base + path,
                headers={"Accept": "application/json", **headers},
                body=data,
                deadline=deadline,
            )
        except LOST as error:
            lost = error
        if lost is not None:
            raise PayPalError(cause=lost)
        try:
            body = orjson.loads(raw) if raw else {}
        except ValueError:
            body = None
        if not 200 <= status < 300 or not isinstance(body, dict):  # noqa: PLR2004  HTTP's success
            raise PayPalError(status=status, body=body, headers=met)
        return Answer(body, str(met.get(DEBUG_ID) or ""))


calls = Calls(
    provider="paypal",
    errors=(PayPalError,),
    failure_of=failure_of,
    answer_of=lambda answer: answer,
    not_executed=frozenset({"RATE_LIMIT_REACHED"}),
)
write = calls.write
read = calls.read
