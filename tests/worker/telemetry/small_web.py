"""The smallest web process that has our telemetry: what the tests start under gunicorn."""

from __future__ import annotations

import logging

from flask import Flask, Response, request

from tests.worker.telemetry.canaries import CANARIES, spill
from worker.settings import settings
from worker.telemetry import configure, count, metrics_page, note, timed
from worker.telemetry.wsgi import RequestContext

log = logging.getLogger("small.web")
configure(settings(), process="web")
app = Flask(__name__)
app.wsgi_app = RequestContext(app.wsgi_app)  # type: ignore[method-assign]


@app.get("/work")
def work() -> str:
    note(company_id="a-company", user_id="a-user")
    with timed("provider.seconds", provider="stripe", call="charge", outcome="succeeded"):
        log.info("working with %s", CANARIES["stripe_key"], extra={"canaries": CANARIES})
    count("payments.charged", provider="stripe", outcome=CANARIES["token"])
    return request.headers.get("X-Request-Id", "")


@app.post("/fail")
def fail() -> str:
    note(company_id="a-company")
    log.warning("a breadcrumb with %(password)s", {"password": f"password={CANARIES['password']}"})
    spill()
    return "never"


@app.get("/metrics")
def metrics() -> Response:
    return Response(metrics_page(settings()), content_type="text/plain")
