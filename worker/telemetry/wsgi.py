"""The door: gives each request its id, binds it, answers with it, counts and times the request."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from worker.telemetry.context import bind, current, request_id_from
from worker.telemetry.metrics import count, timing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]

METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
IDS_KEY = "paybeat.ids"
# Where the access log, written after the context is gone, finds the ids.


class RequestContext:
    """WSGI middleware, outermost: `app.wsgi_app = RequestContext(app.wsgi_app)`."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request with its context bound."""
        request_id = request_id_from(environ.get("HTTP_X_REQUEST_ID"))
        status = "500"
        started = time.perf_counter()

        def start(
            line: str,
            headers: list[tuple[str, str]],
            exc_info: ExcInfo | None = None,
            /,
        ) -> Callable[[bytes], object]:
            nonlocal status
            status = line[:3]
            return start_response(line, [*headers, ("X-Request-Id", request_id)], exc_info)

        with bind(request_id=request_id):
            try:
                return self._app(environ, start)
            finally:
                environ[IDS_KEY] = current()
                method = environ.get("REQUEST_METHOD", "")
                tags = {"method": method if method in METHODS else "other", "status": status}
                count("http.requests", **tags)
                timing("http.seconds", time.perf_counter() - started, **tags)
