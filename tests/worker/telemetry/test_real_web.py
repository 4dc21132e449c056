"""The real web process, given secrets wherever a caller can put them."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from sandbox.children import free_port
from sandbox.stripe.deliveries import signature
from tests.waiting import wait_for
from tests.worker.telemetry.canaries import CANARIES, QUERY, leaked
from tests.worker.telemetry.conftest import Observed, observed

WEBHOOK_KEY = "whsec_of_this_test"
TRIED = ("/healthz", "/api/v1/auth/login", "/api/v1/payments/create-intent", "/nowhere")


@pytest.fixture(scope="module")
def web(folder: Path, migrated: dict[str, str]) -> Iterator[Observed]:
    """gunicorn with the real application, after a caller who spills secrets everywhere."""
    port = free_port()
    argv = ["gunicorn", "web.app:create_app()", "-c", "web/gunicorn.py"]
    environ = {**migrated, "PORT": str(port), "WEB_WORKERS": "1", "WEB_THREADS": "4"}
    environ["STRIPE_WEBHOOK_KEY"] = WEBHOOK_KEY
    with observed(argv, folder, **environ) as process:
        process.url = f"http://127.0.0.1:{port}"
        wait_for(lambda: process.child.exit_code() is not None or is_up(process.url))
        for path in TRIED:
            for method in ("GET", "POST"):
                process.ask(
                    f"{path}?client_secret={QUERY}&token={QUERY}",
                    method=method,
                    body={"email": "ada@example.com", **CANARIES} if method == "POST" else None,
                    X_Request_Id=f"tried{path.replace('/', '-')}.{method}",
                    Authorization=f"Bearer {CANARIES['jwt']}",
                    Cookie=CANARIES["cookie"],
                    Stripe_Signature=f"t=1,v1={CANARIES['password']}",
                )
        wait_for(lambda: "tried-nowhere.POST" in process.log.read_text())
        yield process


def is_up(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_no_secret_of_a_caller_leaves_the_process(web):
    assert [line for line in web.told().splitlines() if leaked(line)] == []


def test_every_request_is_one_line_with_its_id(web):
    access = {line["request_id"]: line for line in web.lines_of("web.access")}
    for path in TRIED:
        for method in ("GET", "POST"):
            if path != "/healthz":
                line = access[f"tried{path.replace('/', '-')}.{method}"]
                assert (line["path"], line["method"]) == (path, method)


def test_probes_are_not_told_at_info(web):
    assert "/healthz" not in {line["path"] for line in web.lines_of("web.access")}


def test_a_webhook_is_traced_under_the_name_of_its_view(web):
    event = {"id": f"evt_{uuid4().hex}", "object": "event", "type": "charge.captured"}
    event["data"] = {"object": {"id": "ch_1"}}
    body = json.dumps(event).encode()
    signed = signature(body, WEBHOOK_KEY.encode(), int(time.time()))
    path = "/api/v1/webhooks/stripe"
    assert web.ask(path, method="POST", body=event, Stripe_Signature=signed)[0] == 200
    wait_for(
        lambda: (
            "webhooks.receive_stripe"
            in {each["transaction"] for each in web.sentry.of_type("transaction")}
        )
    )


def test_metrics_are_shown_and_name_no_caller(web):
    status, text, _ = web.ask("/metrics")
    assert status == 200
    assert 'paybeat_http_requests_total{method="GET",status="404"}' in text
    assert leaked(text) == []
