"""Live: one socket for all tabs, and nothing missed whatever becomes of it."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Error as BrowserError
from playwright.sync_api import expect

from tests.waiting import wait_for

MODES = pytest.mark.parametrize("mode", ["worker", "leader"])
ESTABLISHED = "01"
LIVE = re.compile(r"^Live")


def feed(page):
    """The numbers of the invoices that the page was told of, in order."""
    return page.evaluate(
        """async () => {
            const {store} = await import("/console/static/js/store.js");
            return store.get().feed.map((event) => event.data.number).filter(Boolean).reverse();
        }"""
    )


def is_leading(page):
    return page.evaluate(
        """async () => {
            const {store} = await import("/console/static/js/store.js");
            return store.get().relay.isLeading === true;
        }"""
    )


def issue(owner, count=1):
    """Have invoices announced; return their numbers."""
    line = {"description": "Seats", "quantity": 1, "unit_amount": "10.00"}
    return [owner.post("/api/v1/invoices", {"lines": [line]}).body["number"] for _ in range(count)]


def sockets(console):
    """How many connections the relay has open, by the kernel's own book."""
    port = f":{urlsplit(console.system.relay_url).port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(port) and row[3] == ESTABLISHED for row in rows)


def open_live(console, mode, count=1):
    pages = [console.open("/", relay=mode) for _ in range(count)]
    for page in pages:
        expect(page.locator("#connection")).to_contain_text(LIVE)
    return pages


def wait_told(pages, numbers):
    for page in pages:
        wait_for(lambda page=page: len(feed(page)) >= len(numbers))
        assert feed(page) == numbers


def close(console, page):
    page.close(run_before_unload=False)


def crash(console, page):
    with page.expect_event("crash"), suppress(BrowserError):
        page.goto("chrome://crash")
    console.problems.remove("a page crashed")


@pytest.mark.parametrize(
    ("mode", "count", "end"), [("worker", 5, close), ("worker", 2, crash), ("leader", 3, crash)]
)
def test_tabs_share_one_socket_and_go_on_when_the_first_is_gone(console, mode, count, end):
    owner = console.owner()
    first, *others = open_live(console, mode, count)
    before = issue(owner)
    wait_told([first, *others], before)
    wait_for(lambda: sockets(console) == 1)
    leading = [is_leading(page) for page in (first, *others)]
    assert leading == [mode == "leader"] + [False] * len(others)
    end(console, first)
    wait_told(others, before + issue(owner, 3))
    wait_for(lambda: sockets(console) == 1)


@MODES
def test_offline_and_back_without_loss(console, mode):
    owner = console.owner()
    (page,) = open_live(console, mode)
    wait_told([page], before := issue(owner))
    console.context.set_offline(True)
    expect(page.locator("#connection")).to_contain_text("This device is offline")
    wait_for(lambda: sockets(console) == 0)
    numbers = before + issue(owner, 3)
    console.context.set_offline(False)
    expect(page.locator("#connection")).to_contain_text(LIVE)
    wait_told([page], numbers)


def test_a_relay_that_is_killed_and_one_that_leaves_lose_nothing(console):
    owner = console.owner()
    (page,) = open_live(console, "worker")
    numbers = issue(owner)
    wait_told([page], numbers)
    for end in (console.system.relay.kill, console.system.relay.stop):
        end()
        expect(page.locator("#connection")).to_contain_text(re.compile("Reconnecting|Connecting"))
        numbers += issue(owner, 2)
        console.system.relay.start()
        wait_told([page], numbers)


def test_signing_out_in_one_tab_signs_out_in_all(console):
    console.owner()
    pages = open_live(console, "worker", 2)
    pages[0].get_by_role("button", name="Sign out").click()
    for page in pages:
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    wait_for(lambda: sockets(console) == 0)
    assert console.context.cookies() == []


def test_a_session_that_is_ended_elsewhere_leads_to_the_sign_in(console):
    owner = console.owner()
    (page,) = open_live(console, "worker")
    assert owner.post("/api/v1/auth/logout").status == 204
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_on_a_slow_network_the_page_comes_and_goes_live(console):
    owner = console.owner()
    page = console.context.new_page()
    slow = {"latency": 150, "downloadThroughput": 120_000, "uploadThroughput": 60_000}
    wire = console.context.new_cdp_session(page)
    wire.send("Network.enable")
    wire.send("Network.emulateNetworkConditions", {"offline": False, **slow})
    console.go(page, "/", relay="leader")
    expect(page.locator("#connection")).to_contain_text(LIVE)
    wait_told([page], issue(owner))


def test_an_event_has_what_it_touches_asked_anew(console):
    owner = console.owner()
    page = console.open("/invoices")
    expect(page.locator("#connection")).to_contain_text(LIVE)
    (number,) = issue(owner)
    expect(page.get_by_role("main")).to_contain_text(number)
