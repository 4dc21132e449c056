"""The door for webhooks before Flask's: the same answer for a third of what Flask costs by itself.

Only what is taken is answered here. Everything else (another method, a body without a length or
too long, what is refused or cannot be stored, a bug) goes on to Flask with what was met, and the
view raises it there: errors are answered, logged and reported in one place.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import orjson

from web.bodies import MAX_BYTES
from worker import telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from worker.group_commit import Defer

    Take = Callable[[bytes, str | None, Defer], None]

RECEIVED = orjson.dumps({"received": True})
MET = "paybeat.webhooks.met"
# Where the view finds the error that was met here.
_HEADERS = [("Content-Type", "application/json"), ("Content-Length", str(len(RECEIVED)))]


class Door:
    """WSGI middleware for one provider's webhooks.

    Args:
        app: Flask, with a view at `path` that raises what it finds under `MET`.
        header: the header with the signature.
        take: keeps a body with its signature, or raises; what may follow the answer it defers.
    """

    def __init__(self, app: WSGIApplication, path: str, header: str, take: Take) -> None:
        self._app = app
        self._path = path
        self._header = "HTTP_" + header.upper().replace("-", "_")
        self._take = take

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        length = self._length_of(environ)
        if length is None:
            return self._app(environ, start_response)
        body = _read(environ, length)
        deferred: list[Callable[[], None]] = []
        try:
            if len(body) == length:
                self._take(body, environ.get(self._header), deferred.append)
                start_response("200 OK", [*_HEADERS])
                return _Followed((RECEIVED,), deferred) if deferred else (RECEIVED,)
        except Exception as error:  # noqa: BLE001  the view raises it
            environ[MET] = error
        environ["wsgi.input"] = BytesIO(body)
        answer = self._app(environ, start_response)
        # Who leads a group and is refused itself has something to do for the others.
        return _Followed(answer, deferred) if deferred else answer

    def _length_of(self, environ: WSGIEnvironment) -> int | None:
        """Return the length of a body that may be read here."""
        if environ.get("PATH_INFO") != self._path or environ.get("REQUEST_METHOD") != "POST":
            return None
        length = environ.get("CONTENT_LENGTH", "")
        if not (length.isascii() and length.isdigit()) or "HTTP_TRANSFER_ENCODING" in environ:
            return None
        return int(length) if int(length) <= MAX_BYTES else None


def _read(environ: WSGIEnvironment, length: int) -> bytes:
    try:
        body: bytes = environ["wsgi.input"].read(length)
    except OSError:
        return b""  # the caller is gone
    return body


class _Followed:
    """A body that something follows, once the server has sent it.

    Args:
        deferred: is done in any case, as servers call `close` also when the caller is gone.
    """

    __slots__ = ("_body", "_deferred", "_request_id")

    def __init__(self, body: Iterable[bytes], deferred: list[Callable[[], None]]) -> None:
        self._body = body
        self._deferred = deferred
        self._request_id = telemetry.current().get("request_id")

    def __iter__(self) -> Iterator[bytes]:
        """Give the body."""
        return iter(self._body)

    def close(self) -> None:
        """Do what was deferred."""
        try:
            if hasattr(self._body, "close"):
                self._body.close()
        finally:
            with telemetry.bind(request_id=self._request_id):
                for each in self._deferred:
                    each()
