"""The console in a real Chromium, against the whole system: one browser for all of its tests.

    def test_it_shows_what_is_due(console):
        owner = console.owner()                    # of a company of its own, signed in here
        page = console.open("/invoices")
        expect(page.get_by_role("heading", name="Invoices")).to_be_visible()

A test fails by an error on the page, by a breach of the policy and by a request to any other host,
whatever else it looks at. What a failure looked like lies in var/console.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright
from playwright.sync_api import Error as BrowserError

from models.tenants import Role
from sandbox.children import VAR
from tests.client import Client
from tests.system import Part, System
from tests.waiting import PATIENCE_S

FAILURES = VAR / "console"
FLAGS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    # Whatever else a page would ask for is no host at all.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
PATIENCE_MS = PATIENCE_S * 1000
# What the browser itself logs of answers that are no 2xx and of sockets that end; tests bring
# these about, and the page says them in its own words.
EXPECTED = re.compile(r"Failed to load resource|WebSocket connection to .* failed")
BROKEN = 500
COOKIE = "paybeat_session"

expect.set_options(timeout=PATIENCE_MS)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # One process, one browser; and Playwright's loop, which runs in the thread of its tests, is
    # gone before that process has others that want a loop of their own.
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("console"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report


FAILED = pytest.StashKey[bool]()


def chromium() -> str | None:
    """Return the path of the system's browser."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    if chromium() is None:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="package")
def browser(playwright: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    home = tmp_path_factory.mktemp("chromium")
    started = playwright.chromium.launch(
        executable_path=chromium(),
        args=FLAGS,
        env={**os.environ, "HOME": str(home)},
        timeout=PATIENCE_MS,
    )
    yield started
    started.close()


class Console:
    """One browser profile, its pages, and what went wrong in them."""

    def __init__(self, system: System, context: BrowserContext) -> None:
        self.system = system
        self.context = context
        self.problems: list[str] = []
        self.requests: list[str] = []
        context.set_default_timeout(PATIENCE_MS)
        context.on("page", self._watch)
        context.on("request", lambda request: self.requests.append(request.url))
        context.on("response", lambda answer: self._judge(answer.status, answer.url))

    def _watch(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("console", lambda said: self._hear(said.type, said.text))
        page.on("websocket", lambda socket: self.requests.append(socket.url))
        page.on("crash", lambda _: self.problems.append("a page crashed"))

    def _hear(self, kind: str, text: str) -> None:
        if kind == "error" and not EXPECTED.search(text):
            self.problems.append(f"{kind}: {text}")

    def _judge(self, status: int, url: str) -> None:
        is_part = "/console/static/" in url
        if status >= BROKEN or (is_part and status >= 400):
            self.problems.append(f"{status} of {url}")

    @property
    def hosts(self) -> set[str]:
        """Every host and port that was asked for anything."""
        asked = (urlsplit(url) for url in self.requests)
        return {each.netloc for each in asked if each.scheme not in {"data", "blob"}}

    def sign_in(self, member: Client) -> Client:
        """Let this browser be signed in as `member`, without the page of the sign-in."""
        cookie = {
            "name": COOKIE,
            "value": member.token,
            "url": self.system.web_url,
            "httpOnly": True,
            "sameSite": "Strict",
        }
        self.context.add_cookies([cookie])
        return member

    def owner(self) -> Client:
        return self.sign_in(self.system.member())

    def operator(self) -> Client:
        return self.sign_in(self.system.member(Role.OPERATOR))

    def open(self, path: str = "/", **query: str) -> Page:
        """Return a new page at a view; `query` adds to the address."""
        page = self.context.new_page()
        self.go(page, path, **query)
        return page

    def go(self, page: Page, path: str, **query: str) -> None:
        text = "&".join(f"{name}={value}" for name, value in query.items())
        view = "" if path == "/" else path
        page.goto(f"{self.system.web_url}/console{view}" + (f"?{text}" if text else ""))


@pytest.fixture
def console(
    shared_system: System,
    shared_relay: Part,
    browser: Browser,
    request: pytest.FixtureRequest,
) -> Iterator[Console]:
    options = getattr(request, "param", {})
    context = browser.new_context(locale="en-GB", timezone_id="Europe/Paris", **options)
    opened = Console(shared_system, context)
    yield opened
    if request.node.stash.get(FAILED, False):
        _keep(opened, request.node.name)
    with suppress(BrowserError):
        context.close()
    assert opened.problems == []
    assert {host.partition(":")[0] for host in opened.hosts} <= {"127.0.0.1"}


@pytest.fixture(scope="module")
def lasting(
    shared_system: System, shared_relay: Part, browser: Browser
) -> Iterator[tuple[Console, Page]]:
    """A console for all tests of a module, and its one page."""
    context = browser.new_context(
        locale="en-GB", timezone_id="Europe/Paris", reduced_motion="reduce"
    )
    opened = Console(shared_system, context)
    yield opened, context.new_page()
    _keep(opened, "lasting")
    context.close()
    assert opened.problems == []


@pytest.fixture(scope="package")
def bench(shared_system: System, browser: Browser) -> Iterator[Page]:
    """A page on which to try single modules, with what tests play to them (play.js)."""
    context = browser.new_context(locale="en-GB", timezone_id="Europe/Paris")
    context.set_default_timeout(PATIENCE_MS)
    context.add_init_script(path=Path(__file__).with_name("play.js"))
    page = context.new_page()
    page.goto(f"{shared_system.web_url}/console")
    yield page
    context.close()


def _keep(console: Console, name: str) -> None:
    """Write down what each page looked like and said."""
    FAILURES.mkdir(parents=True, exist_ok=True)
    safe = re.sub(r"[^\w.-]", "_", name)
    for n, page in enumerate(console.context.pages):
        with suppress(BrowserError):
            page.screenshot(path=FAILURES / f"{safe}-{n}.png")
            (FAILURES / f"{safe}-{n}.html").write_text(page.content())
    (FAILURES / f"{safe}.log").write_text("\n".join(console.problems + console.requests))
