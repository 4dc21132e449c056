"""The console's page steers the stand-ins from the browser, and no page reaches their APIs."""

from __future__ import annotations

import pytest
import requests

from tests.sandbox_fixture import SandboxProcess

CONSOLE = "http://127.0.0.1:8000"
ORIGINS = [CONSOLE, "http://localhost:8000", "http://127.0.0.1"]
FOREIGN = [
    "https://127.0.0.1:8000",
    "http://127.0.0.1.example.com",
    "http://evil.example",
    "http://localhost:8000.evil.example",
    "null",
    "",
]


def preflight(url: str, origin: str, method: str = "POST") -> requests.Response:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "content-type",
    }
    return requests.options(url, headers=asked, timeout=10)


def lets_in(answer: requests.Response, origin: str) -> bool:
    return answer.headers.get("Access-Control-Allow-Origin") == origin


@pytest.mark.parametrize("origin", ORIGINS)
def test_a_page_of_this_machine_may_steer(sandbox: SandboxProcess, origin):
    answer = preflight(f"{sandbox.url}/sandbox/faults", origin, "DELETE")
    assert (answer.status_code, answer.content) == (204, b"")
    assert lets_in(answer, origin)
    assert "DELETE" in answer.headers["Access-Control-Allow-Methods"]
    assert answer.headers["Access-Control-Allow-Headers"].lower() == "content-type"
    set_it = requests.post(
        f"{sandbox.url}/sandbox/faults",
        json={"kind": "rate_limit", "path": "/v1/nowhere"},
        headers={"Origin": origin},
        timeout=10,
    )
    assert set_it.ok
    assert lets_in(set_it, origin)
    assert set_it.headers["Vary"] == "Origin"
    sandbox.control.clear_faults()


def test_what_the_desk_refuses_can_be_read_by_the_page_too(sandbox: SandboxProcess):
    refused = requests.post(
        f"{sandbox.url}/sandbox/faults",
        json={"kind": "nonsense"},
        headers={"Origin": CONSOLE},
        timeout=10,
    )
    assert refused.status_code == 400
    assert lets_in(refused, CONSOLE)


@pytest.mark.parametrize("origin", FOREIGN)
def test_no_other_page_may(sandbox: SandboxProcess, origin):
    asked = preflight(f"{sandbox.url}/sandbox/faults", origin)
    assert asked.status_code == 403
    read = requests.get(f"{sandbox.url}/sandbox/book", headers={"Origin": origin}, timeout=10)
    for answer in (asked, read):
        assert not [name for name in answer.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize("path", ["/v1/payment_intents", "/v1/customers", "/sandboxed"])
def test_no_page_reaches_the_providers_own_api(sandbox: SandboxProcess, path):
    asked = preflight(f"{sandbox.url}{path}", CONSOLE)
    read = requests.get(
        f"{sandbox.url}{path}",
        headers={"Origin": CONSOLE, "Authorization": "Bearer sk_test_1"},
        timeout=10,
    )
    assert not asked.ok
    for answer in (asked, read):
        assert not [name for name in answer.headers if name.startswith("Access-Control")]


def test_paypals_stand_in_does_the_same(paypal):
    answer = preflight(f"{paypal.url}/sandbox/clock", CONSOLE)
    assert answer.status_code == 204
    assert lets_in(answer, CONSOLE)
    assert not preflight(f"{paypal.url}/v2/checkout/orders", CONSOLE).ok
