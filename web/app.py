"""The web application: `flask --app web.app ...`, `gunicorn web.app:create_app()`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_openapi3.openapi import OpenAPI
from werkzeug.middleware.proxy_fix import ProxyFix

from web import api, commands, console, pages, portal, problems, webhooks
from web.api import health
from web.auth import guard, public, tokens
from web.bodies import MAX_BYTES, ExactJSON, StrictRequest
from web.headers import SecurityHeaders
from web.openapi import INFO, SECURITY_SCHEMES
from web.pages import unsubscribe
from web.routes import Routes
from worker import shared_clock, telemetry
from worker.settings import settings
from worker.telemetry.wsgi import RequestContext

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

    from worker.settings import Settings


class Application(OpenAPI):
    """Flask with our way of reading requests."""

    request_class = StrictRequest

    def generate_spec_json(self) -> None:
        """Describe every route, once."""
        for blueprint in self.blueprints.values():
            if isinstance(blueprint, Routes):
                described = blueprint.described()
                self.paths.update(described.paths)
                self.components_schemas.update(described.components_schemas)
        super().generate_spec_json()  # type: ignore[no-untyped-call]  # the library says nothing


def create_app(*more: Routes) -> Application:
    """Return the application of this process, from its settings.

    Args:
        more: blueprints beside the API's own.

    Raises:
        InvalidSettings: what is set cannot be used.
    """
    given = settings()
    telemetry.configure(given, process="web")
    shared_clock.follow()
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
    # A redirect would be a page of HTML, and a POST need not survive it.
    app.url_map.merge_slashes = False
    problems.register(app)
    guard.register(app)
    for blueprint in (*api.BLUEPRINTS, *more):
        app.register_api(blueprint)
    app.register_blueprint(pages.routes)
    app.register_blueprint(unsubscribe.routes)
    for pages_of in (console.routes, *portal.BLUEPRINTS):
        app.register_blueprint(pages_of)
    app.register_blueprint(webhooks.blueprint)
    if given.metrics_enabled:
        app.add_url_rule("/metrics", view_func=public(health.metrics))
    commands.register(app)
    guard.check_marks(app)
    app.wsgi_app = _in_front_of(app.wsgi_app, given)  # type: ignore[method-assign, assignment]
    return app


def _in_front_of(app: WSGIApplication, given: Settings) -> WSGIApplication:
    """Return `app` with what each request passes before it, the outermost last."""
    app = webhooks.in_front_of(app)
    if given.trusted_proxies:
        app = ProxyFix(app, x_for=given.trusted_proxies, x_proto=given.trusted_proxies)
    return RequestContext(SecurityHeaders(app, is_production=given.is_production))
