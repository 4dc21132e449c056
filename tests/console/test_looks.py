"""Each view as people meet it: judged by axe in both themes, seen at two sizes, worked by keys.

What each looked like lies in var/screenshots.
"""

from __future__ import annotations

import re
from importlib.resources import files

import pytest
from playwright.sync_api import Page, expect

from sandbox.children import VAR
from tests.console.till import Till

AXE = (files("axe_playwright_python") / "axe.min.js").read_text()
SEEN = VAR / "screenshots"
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
# Between the two, and a desktop at 200 % and 400 %.
WIDTHS = (900, 700, 640, 320)
WORD = "W" * 300
# By their worst; moderate and minor ones are advice.
GRAVE = ("serious", "critical")
RUN = """async (rules) => {
    const only = rules ? {runOnly: {type: "rule", values: rules}} : {};
    const found = await axe.run(document, {resultTypes: ["violations"], ...only});
    return found.violations.map(({id, impact, nodes}) => ({
        id, impact, nodes: nodes.map((each) => `${each.target} ${each.failureSummary}`),
    }));
}"""
GO = """async (path) => {
    const {navigate} = await import("/console/static/js/router.js");
    navigate(path);
}"""


def judge(page: Page, view: str, *rules: str) -> None:
    found = page.evaluate(RUN, list(rules) or None)
    grave = [each for each in found if each["impact"] in GRAVE]
    assert grave == [], f"{view}: {grave}"


def look(page: Page, name: str, theme: str) -> None:
    """Write down what a view looks like at both sizes; nothing of it may stick out of a window."""
    SEEN.mkdir(parents=True, exist_ok=True)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": DESKTOP["height"]})
        shown = page.evaluate("document.documentElement.scrollWidth")
        assert shown <= width, f"{name} is {shown} wide in a window of {width}"
    for size, viewport in (("phone", PHONE), ("desktop", DESKTOP)):
        page.set_viewport_size(viewport)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= viewport["width"], f"{name} is {width} wide on a {size}"
        page.screenshot(path=SEEN / f"{name}-{size}-{theme}.png", full_page=True)


def paint(page: Page, theme: str) -> None:
    page.evaluate("(theme) => { document.documentElement.dataset.theme = theme; }", theme)


def visit(page: Page, name: str, path: str, sign: str) -> None:
    """Go to a view as a link does, wait until it shows `sign`, and judge and look at it."""
    page.evaluate(GO, path)
    shown = page.locator("#view").get_by_text(sign).filter(visible=True)
    expect(shown.first).to_be_visible()
    expect(page.locator("#view .bone")).to_have_count(0)
    paint(page, "light")
    judge(page, name)
    look(page, name, "light")
    paint(page, "dark")
    judge(page, name, "color-contrast")
    if name == "overview":
        look(page, name, "dark")


@pytest.fixture
def till(console):
    return Till(console.system.member())


def begin(page: Page) -> None:
    expect(page.locator("#connection")).to_contain_text(re.compile("^Live"))
    # As a debugger would: the policy lets no script of others into the page.
    page.evaluate(AXE)


@pytest.mark.parametrize("console", [{"reduced_motion": "reduce"}], indirect=True)
def test_every_view_of_a_company_is_for_everybody(console, till):
    paid = till.pay(till.keep())
    declined = till.pay(till.keep("pm_sandbox_decline_insufficient_funds"), "250.00")
    disputed = till.pay(till.keep("pm_card_createDispute"), "80.00")
    till.issue("42.50", due_on="2026-01-31", currency="USD")
    refund = {"amount": "30.00", "notes": WORD}
    till.owner.post(f"/api/v1/payments/{paid}/refund", refund, prefer="wait=20")
    console.system.wait_until(lambda: till.payment(disputed)["is_disputed"])
    [dispute] = till.owner.get("/api/v1/disputes").body["data"]
    invoice = till.payment(declined)["invoice_id"]
    console.sign_in(till.owner)
    page = console.open()
    begin(page)
    for name, path, sign in (
        ("overview", "/", "Happening now"),
        ("payments", "/payments", "₹250.00"),
        ("payment", f"/payments/{paid}", "Given back"),
        ("payment-declined", f"/payments/{declined}", "Charges and retries"),
        ("invoices", "/invoices", "INV-000003"),
        ("invoice", f"/invoices/{invoice}", "Seats"),
        ("payment-methods", "/payment-methods", "Default"),
        ("disputes", "/disputes", "Needs a response"),
        ("dispute", f"/disputes/{dispute['id']}", "Answer with evidence"),
        ("alerts", "/alerts", "Dispute opened"),
        ("analytics", "/analytics", "Compare with the period before"),
        ("reports", "/analytics/reports", "Ask for a report"),
        ("schedules", "/analytics/schedules", "Schedule a report"),
        ("people", "/people", "(you)"),
        ("health", "/health", "Its calls go through."),
        ("sandbox", "/sandbox", "clock"),
    ):
        visit(page, name, path, sign)


@pytest.mark.parametrize("console", [{"reduced_motion": "reduce"}], indirect=True)
def test_every_view_of_an_operator_is_for_everybody(console, till):
    till.pay(till.keep())
    letter = till.give_up(console.system)
    operator = console.operator()
    operator.headers["X-Company-Id"] = str(till.owner.company_id)
    events = "/api/v1/operations/events"
    console.system.wait_until(lambda: operator.get(events).body["data"])
    event = operator.get(events).body["data"][0]
    page = console.open("/health")
    begin(page)
    page.evaluate(
        """async (id) => {
            const {actFor} = await import("/console/static/js/session.js");
            actFor({id, name: "A company"});
        }""",
        str(till.owner.company_id),
    )
    for name, path, sign in (
        ("dead-letters", "/operations", "payments.charge"),
        ("dead-letter", f"/operations/dead-letters/{letter}", "Why it was given up"),
        ("operators-alerts", "/operations/alerts", "Alerts"),
        ("reviews", "/operations/reviews", "Nothing needs a review"),
        ("events", "/operations/events", "payment_intent"),
        ("event", f"/operations/events/{event['id']}", "Provider's id"),
        ("mails", "/operations/mails", "Usage alert"),
        ("reconciliations", "/operations/reconciliations", "Breaks opened a day"),
        ("breaks", "/operations/breaks", "Provider"),
        ("payouts", "/operations/payouts", "Payouts"),
        ("imports", "/operations/imports", "Import customers"),
        ("book", "/operations/invariants", "Every sentence holds."),
        ("companies", "/companies", "A company"),
    ):
        visit(page, name, path, sign)
    replayed = operator.post(f"/api/v1/operations/dead-letters/{letter}/replay")
    assert replayed.status == 200, replayed


def test_a_dialog_keeps_the_focus_and_gives_it_back(console, till):
    payment = till.pay(till.keep())
    console.sign_in(till.owner)
    page = console.open(f"/payments/{payment}")
    refund = page.get_by_role("button", name="Refund")
    expect(refund).to_be_visible()
    refund.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Refund this payment?")
    expect(dialog).to_be_visible()
    for _ in range(12):
        page.keyboard.press("Tab")
        assert page.evaluate(
            "document.activeElement === document.body"
            " || document.querySelector('dialog').contains(document.activeElement)"
        )
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(refund).to_be_focused()


def test_every_control_is_reached_by_the_tab_key(console, till):
    payment = till.pay(till.keep("pm_sandbox_decline_insufficient_funds"))
    console.sign_in(till.owner)
    page = console.open(f"/payments/{payment}")
    expect(page.get_by_role("button", name="Retry now")).to_be_visible()
    expect(page.locator(".history-line").first).to_be_visible()
    expect(page.locator(".ladder > li").first).to_be_visible()
    # What is marked when it has the focus; the page counts those that never had it.
    controls = page.evaluate(
        """() => {
            const which = "a, button, summary, input, select, [tabindex='0']";
            const all = [...document.querySelectorAll(which)];
            window.unreached = new Set(all.filter((each) => each.checkVisibility()));
            document.addEventListener("focusin", ({target}) => window.unreached.delete(target));
            return window.unreached.size;
        }"""
    )
    assert controls > 20
    for _ in range(controls + 5):
        page.keyboard.press("Tab")
    left = page.evaluate("[...window.unreached].map((each) => each.outerHTML.slice(0, 200))")
    assert left == []
