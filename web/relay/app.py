"""The application of a relay process: `gunicorn web.relay.app:create_app()`.

One of its own: what stands before the API's views would see an upgrade as a failed request.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from flask import Flask, Response, request
from flask_sock import Sock  # type: ignore[import-untyped]
from werkzeug.middleware.proxy_fix import ProxyFix

from web import problems
from web.api import health
from web.auth import guard, public, tokens
from web.headers import SecurityHeaders
from web.relay import door, handshake
from web.relay.process import Relay
from web.routes import respond
from worker import shared_clock, telemetry
from worker.settings import settings
from worker.telemetry.wsgi import RequestContext

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from simple_websocket import Server  # type: ignore[import-untyped]

SOCKETS = "/ws"


class _NoThread(threading.Thread):
    """For a server that shall not read: the reactor does, for all."""

    def start(self) -> None:
        """Don't."""


class _NoEvent:
    """For a server that nobody waits for."""

    def set(self) -> None:
        """Tell nobody."""


def create_app() -> Flask:
    """Return the application of this process, from its settings.

    Raises:
        InvalidSettings: what is set cannot be used.
    """
    given = settings()
    telemetry.configure(given, process="relay")
    shared_clock.follow()
    tokens.keys()
    app = Flask(__name__, static_folder=None)
    app.config["SOCK_SERVER_OPTIONS"] = {
        "subprotocols": [handshake.SUBPROTOCOL],
        "thread_class": _NoThread,
        "event_class": _NoEvent,
    }
    app.extensions["relay"] = Relay(given)
    problems.register(app)
    app.before_request(_knock)
    Sock(app).route(SOCKETS, endpoint="sockets")(public(_enter))
    app.add_url_rule("/healthz", view_func=public(healthz))
    if given.metrics_enabled:
        app.add_url_rule("/metrics", view_func=public(health.metrics))
    guard.check_marks(app)
    app.wsgi_app = _in_front_of(app.wsgi_app)  # type: ignore[method-assign, assignment]
    return app


def _knock() -> None:
    if request.endpoint == "sockets":
        door.knock()


def _enter(ws: Server) -> None:
    door.enter(ws)


def healthz() -> Response:
    """Tell that this process answers."""
    return respond({"status": "ok"})


def _in_front_of(app: WSGIApplication) -> WSGIApplication:
    """Return `app` with what a request passes before it; an upgrade is not to be counted as one."""
    given = settings()
    if given.trusted_proxies:
        app = ProxyFix(app, x_for=given.trusted_proxies, x_proto=given.trusted_proxies)
    measured = RequestContext(SecurityHeaders(app, is_production=given.is_production))

    def choose(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != SOCKETS:
            return measured(environ, start)
        with telemetry.bind(request_id=telemetry.request_id_from(environ.get("HTTP_X_REQUEST_ID"))):
            return app(environ, start)

    return choose
