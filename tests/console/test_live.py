"""Live: one socket for all tabs, and nothing missed whatever becomes of it."""

from __future__ import annotations

import pytest
import requests
from playwright.sync_api import expect

from tests.waiting import wait_for

MODES = pytest.mark.parametrize("mode", ["worker", "leader"])


def feed(page):
    return page.evaluate(
        """async () => {
            const {store} = await import("/console/static/js/store.js");
            return store.get().feed.map((event) => event.data.number).reverse();
        }"""
    )


def issue(owner, count=1):
    lines = [{"description": "Seats", "quantity": 1, "unit_amount": "10.00"}]
    return [
        owner.post("/api/v1/invoices", {"currency": "INR", "lines": lines}).body
        for _ in range(count)
    ]


def connections(console):
    return requests.get(f"{console.system.relay_url}/healthz", timeout=10).json()


@MODES
def test_an_event_reaches_the_page(console, mode):
    owner = console.owner()
    page = console.open("/", relay=mode)
    expect(page.locator("#connection")).to_contain_text("Live")
    made = issue(owner)[0]
    print(made, connections(console))
    wait_for(lambda: page.evaluate("1") and feed(page) == [made["number"]])
