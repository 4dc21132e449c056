"""A real gunicorn with two processes, watched from all sides."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sandbox.children import free_port
from tests.waiting import wait_for
from tests.worker.telemetry.canaries import CANARIES, QUERY, leaked
from tests.worker.telemetry.conftest import Observed, observed

FAILS = 4


def is_met_twice(process: Observed) -> bool:
    """Ask many at once, as one process alone takes what comes slowly; tell if both answered."""

    def ask(number: int) -> None:
        headers = {"X_Request_Id": f"work-request-{number}", "Cookie": CANARIES["cookie"]}
        process.ask(f"/work?token={QUERY}", **headers)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(16)))
    return len({line["pid"] for line in process.lines_of("small.web")}) == 2


@pytest.fixture(scope="module")
def web(folder: Path) -> Iterator[Observed]:
    """gunicorn after some requests that worked and some that failed."""
    port = free_port()
    argv = ["gunicorn", "tests.worker.telemetry.small_web:app", "--workers=2", "--threads=4"]
    argv += [f"--bind=127.0.0.1:{port}", "--worker-class=gthread", "--no-control-socket"]
    argv += ["--logger-class=worker.telemetry.gunicorn_log.GunicornLog"]
    with observed(argv, folder) as process:
        process.url = f"http://127.0.0.1:{port}"
        wait_for(lambda: "Booting worker" in process.log.read_text())
        wait_for(lambda: is_met_twice(process))
        for number in range(FAILS):
            process.ask(
                f"/fail?client_secret={QUERY}",
                method="POST",
                X_Request_Id=f"fail-request-{number}",
                Authorization=CANARIES["bearer"],
                Cookie=CANARIES["cookie"],
            )
        wait_for(lambda: "POST /fail 500" in process.lines_of("web.access")[-1]["message"])
        wait_for(lambda: process.sentry.of_type("event"))
        wait_for(lambda: process.statsd.of_name("paybeat.payments.charged"))
        yield process


def test_no_secret_leaves_the_process(web):
    assert web.sentry.raw
    assert web.statsd.lines
    assert [line for line in web.told().splitlines() if leaked(line)] == []


def test_every_line_is_json_and_carries_the_ids_of_its_request(web):
    lines = {line["request_id"]: line for line in web.lines_of("small.web")}
    assert {f"fail-request-{number}" for number in range(FAILS)} < lines.keys()
    told = lines["work-request-0"]
    assert (told["level"], told["process"]) == ("INFO", "web")
    assert (told["company_id"], told["user_id"]) == ("a-company", "a-user")
    assert told["message"] == "working with [redacted]"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", told["time"])


def test_the_access_line_has_the_ids_and_no_query(web):
    line = next(
        line for line in web.lines_of("web.access") if line["request_id"] == "work-request-3"
    )
    assert line["message"] == "GET /work 200"
    assert (line["path"], line["status"], line["company_id"]) == ("/work", 200, "a-company")
    assert line["duration_ms"] > 0


def test_a_traceback_is_one_field(web):
    line = next(line for line in web.lines() if line.get("request_id") == "fail-request-0"
                and "exception" in line)  # fmt: skip
    assert line["exception"].count("Traceback") == 2
    assert line["exception"].splitlines()[-1].startswith("ValueError: ")


def test_gunicorns_own_lines_are_ours(web):
    assert any(line["logger"] == "gunicorn.error" for line in web.lines())


def test_the_answer_names_the_request(web):
    status, _, headers = web.ask("/work", X_Request_Id="my-own-request")
    assert (status, headers["X-Request-Id"]) == (200, "my-own-request")
    status, _, headers = web.ask("/nowhere", X_Request_Id="x y")
    assert status == 404
    assert re.fullmatch(r"[0-9a-f-]{36}", headers["X-Request-Id"])


def test_sentry_learns_of_a_failure_with_its_ids_and_no_locals(web):
    wait_for(lambda: len(web.sentry.of_type("event")) >= FAILS)
    event = next(
        event
        for event in web.sentry.of_type("event")
        if event["tags"].get("request_id") == "fail-request-0"
    )
    assert event["tags"]["company_id"] == "a-company"
    assert event["environment"] == "sandbox"
    errors = event["exception"]["values"]
    assert [error["type"] for error in errors] == ["LookupError", "ValueError"]
    assert "vars" not in str([error["stacktrace"]["frames"][0].keys() for error in errors])
    assert any("breadcrumb" in crumb.get("message", "") for crumb in event["breadcrumbs"]["values"])


def test_sentry_learns_how_long_requests_take(web):
    wait_for(lambda: web.sentry.of_type("transaction"))
    names = {event["transaction"] for event in web.sentry.of_type("transaction")}
    assert names <= {"work", "fail", "metrics", "generic WSGI request", "static"}


def test_dogstatsd_gets_counters_and_timings_with_their_tags(web):
    wait_for(lambda: "method:POST,status:500" in str(web.statsd.of_name("paybeat.http.requests")))
    counted = web.statsd.of_name("paybeat.http.requests")
    assert all(re.search(r":\d+\|c\|#.*method:[A-Z]+,status:\d{3}", line) for line in counted)
    charged = web.statsd.of_name("paybeat.payments.charged")[0]
    assert "env:sandbox,process:web" in charged
    assert "outcome:_redacted_" in charged
    assert any(re.search(r":[\d.]+\|ms\|", line) for line in
               web.statsd.of_name("paybeat.provider.seconds"))  # fmt: skip


def test_prometheus_adds_up_both_processes(web):
    answered = sum(line["path"] == "/work" for line in web.lines_of("web.access"))
    text = web.ask("/metrics")[1]
    assert re.search(r'paybeat_payments_charged_total\{[^}]*stripe"\} ' + f"{answered}.0", text)
    assert 'paybeat_http_requests_total{method="POST",status="500"} ' + f"{FAILS}.0" in text
    assert re.search(r'paybeat_http_seconds_bucket\{le="30\.0",method="POST",status="500"\} 4\.0',
                     text)  # fmt: skip
    assert leaked(text) == []
