"""The web application: `flask --app web.app ...`, `gunicorn web.app:create_app()`."""

from __future__ import annotations

from flask import Response, request
from flask_openapi3.openapi import OpenAPI
from werkzeug.middleware.proxy_fix import ProxyFix

from web import api, commands, pages, problems, webhooks
from web.api import health
from web.auth import guard, public, tokens
from web.bodies import MAX_BYTES, ExactJSON, StrictRequest
from web.openapi import INFO, SECURITY_SCHEMES
from web.routes import Routes
from worker import telemetry
from worker.settings import settings
from worker.telemetry.wsgi import RequestContext

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class Application(OpenAPI):
    """Flask with our way of reading requests."""

    request_class = StrictRequest


def create_app(*more: Routes) -> Application:
    """Return the application of this process, from its settings.

    Args:
        more: blueprints beside the API's own.

    Raises:
        InvalidSettings: what is set cannot be used.
    """
    given = settings()
    telemetry.configure(given, process="web")
    tokens.keys()  # a key set that cannot be read is told now, not at the first login
    app = Application(
        __name__,
        info=INFO,
        security_schemes=SECURITY_SCHEMES,
        doc_ui=False,
        static_folder=None,
    )
    app.json = ExactJSON(app)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BYTES
    app.url_map.strict_slashes = False
    problems.register(app)
    guard.register(app)
    app.after_request(_secure)
    for blueprint in (*api.BLUEPRINTS, *more):
        app.register_api(blueprint)
    app.register_blueprint(pages.routes)
    app.register_blueprint(webhooks.blueprint)
    if given.metrics_enabled:
        app.add_url_rule("/metrics", view_func=public(health.metrics))
    commands.register(app)
    guard.check_marks(app)
    if given.trusted_proxies:
        count = given.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count)  # type: ignore[method-assign]
    app.wsgi_app = RequestContext(app.wsgi_app)  # type: ignore[method-assign]
    return app


def _secure(response: Response) -> Response:
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    if request.path.startswith("/api/"):
        response.headers["Cache-Control"] = "no-store"
    if settings().is_production:
        response.headers["Strict-Transport-Security"] = "max-age=31536000"
    return response
