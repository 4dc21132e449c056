"""Access tokens by client credentials; one says itself until when it is taken."""

from __future__ import annotations

import base64
import hashlib
from urllib.parse import parse_qsl

import orjson

from sandbox.paypal.errors import ApiError, Object
from sandbox.standin.wire import Answer, Request

PATH = "/v1/oauth2/token"
LIFE_S = 9 * 60 * 60
PREFIX = "A21AA"


class Clients:
    """Who may ask: the one client that was named, or anybody with an id and a secret."""

    def __init__(self, client_id: str, secret: str) -> None:
        self._known = (client_id, secret)

    def token(self, request: Request, *, now: int) -> Answer:
        """Answer `POST /v1/oauth2/token`."""
        if not self._is_known(request):
            return _refused(401, "invalid_client", "Client Authentication failed")
        form = dict(parse_qsl(request.body.decode("latin-1")))
        if form.get("grant_type") != "client_credentials":
            told = "Grant Type is NULL" if "grant_type" not in form else "unsupported grant_type"
            return _refused(400, "unsupported_grant_type", told)
        shown: Object = {
            "scope": "https://uri.paypal.com/services/payments/payment",
            "access_token": _token(now + LIFE_S),
            "token_type": "Bearer",
            "app_id": "APP-80W284485P519543T",
            "expires_in": LIFE_S,
            "nonce": f"{now}sandbox",
        }
        return Answer(200, orjson.dumps(shown))

    def _is_known(self, request: Request) -> bool:
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            client_id, _, secret = base64.b64decode(credentials).decode().partition(":")
        except ValueError:
            return False
        if all(self._known):
            return (client_id, secret) == self._known
        return bool(client_id and secret)


def check(request: Request, *, now: int) -> None:
    """Refuse a request without an access token that is still good.

    Raises:
        ApiError: PayPal's 401.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    until = token.removeprefix(PREFIX).partition(".")[0]
    is_ours = until.isdecimal() and token == _token(int(until))
    if scheme.lower() != "bearer" or not is_ours or int(until) <= now:
        raise ApiError(401)


def _token(until: int) -> str:
    mark = hashlib.sha256(f"sandbox {until}".encode()).hexdigest()
    return f"{PREFIX}{until}.{mark}"


def _refused(status: int, error: str, description: str) -> Answer:
    told = {"error": error, "error_description": description}
    return Answer(status, orjson.dumps(told))
