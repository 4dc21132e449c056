"""Letting the console's page steer a stand-in from the browser: CORS, for `/sandbox/…` only.

The page's origin is another one, as its port is; it must be of this machine. The provider's own
API is for servers, so no page is let at it.
"""

from __future__ import annotations

import re
from dataclasses import replace

from sandbox.standin.wire import Answer, Application, Request

LOOPBACK_ORIGIN = re.compile(r"http://(127\.0\.0\.1|localhost)(:[0-9]{1,5})?", re.ASCII)
FORGOTTEN_AFTER_S = 600


def for_console(desk: Application) -> Application:
    """Return the desk with what a browser asks for before it lets a page speak to it."""

    def answer(request: Request) -> Answer:
        origin = request.headers.get("origin", "")
        is_ours = LOOPBACK_ORIGIN.fullmatch(origin) is not None
        if request.method == "OPTIONS" and "access-control-request-method" in request.headers:
            return _allowed(origin) if is_ours else Answer(403, b"", {"Vary": "Origin"})
        answered = desk(request)
        if not is_ours:
            return answered
        return replace(answered, headers={**answered.headers, **_named(origin)})

    return answer


def _allowed(origin: str) -> Answer:
    return Answer(
        204,
        b"",
        {
            **_named(origin),
            "Access-Control-Allow-Methods": "GET, POST, DELETE",
            "Access-Control-Allow-Headers": "Content-Type",
            "Access-Control-Max-Age": str(FORGOTTEN_AFTER_S),
        },
    )


def _named(origin: str) -> dict[str, str]:
    return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
