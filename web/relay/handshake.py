"""What must be true of a request that asks for a WebSocket, before anybody asks who it is."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flask import request

from web import hosts
from web.problems import Problem
from worker.settings import settings

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

SUBPROTOCOL = "paybeat.v1"
TICKET = "ticket."
VERSION = "13"
KEY_BYTES = 16
# All that the upgrade is given to read. Without Sec-WebSocket-Extensions no compression is agreed
# on: a deflate a connection would cost a hundred times what the connection itself does.
KEPT = frozenset(
    {
        "HTTP_HOST",
        "HTTP_UPGRADE",
        "HTTP_CONNECTION",
        "HTTP_SEC_WEBSOCKET_KEY",
        "HTTP_SEC_WEBSOCKET_VERSION",
        "HTTP_SEC_WEBSOCKET_PROTOCOL",
    }
)


def check() -> None:
    """Refuse what cannot become a connection of this protocol.

    Raises:
        Problem: 400, 403 or 426.
    """
    for name in KEPT:
        if not request.environ.get(name, "").isascii():
            # The upgrade reads them as ASCII, without asking.
            header = name.removeprefix("HTTP_").replace("_", "-").title()
            raise Problem("bad-request", f"The header {header} is not ASCII.")
    if request.headers.get("Sec-WebSocket-Version") != VERSION:
        raise Problem(
            "bad-request",
            f"This speaks version {VERSION} of the WebSocket protocol.",
            status=426,
            headers={"Sec-WebSocket-Version": VERSION, "Upgrade": "websocket"},
        )
    if not _is_key(request.headers.get("Sec-WebSocket-Key", "")):
        raise Problem("bad-request", "Sec-WebSocket-Key must be 16 bytes in base64.")
    if set(request.args) - {"since"} or len(request.args.getlist("since")) > 1:
        # Addresses are logged, by us not and by others nearly always.
        raise Problem("bad-request", "The address takes `since` and nothing else, least a token.")
    _check_origin()
    if SUBPROTOCOL not in _offered():
        raise Problem("bad-request", f"Offer the subprotocol {SUBPROTOCOL}.")


def ticket() -> str | None:
    """Return the ticket that was shown.

    Raises:
        Problem: 400, more than one was.
    """
    shown = [each.removeprefix(TICKET) for each in _offered() if each.startswith(TICKET)]
    if len(shown) > 1:
        raise Problem("bad-request", "Show one ticket.")
    return shown[0] if shown else None


def strip(environ: WSGIEnvironment) -> None:
    """Leave in the request only what the upgrade needs."""
    for name in [name for name in environ if name.startswith("HTTP_") and name not in KEPT]:
        del environ[name]


def _offered() -> list[str]:
    given = request.headers.get("Sec-WebSocket-Protocol", "")
    return [each.strip() for each in given.split(",")]


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == KEY_BYTES
    except (binascii.Error, ValueError):
        return False


def _check_origin() -> None:
    """Let in pages of the relay's own host, at its port or at the web's, and of RELAY_ORIGINS.

    Who is no browser sends no Origin, and could send any.
    """
    origin = request.headers.get("Origin")
    if origin is None or origin in settings().allowed_origins:
        return
    own = {urlsplit(request.host_url).netloc, f"{hosts.asked()}:{settings().port}"}
    if origin not in {f"{scheme}://{host}" for scheme in ("http", "https") for host in own}:
        raise Problem("forbidden", "Pages of this origin may not connect; RELAY_ORIGINS names who.")
