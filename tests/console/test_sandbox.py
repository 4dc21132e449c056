"""The sandbox's panel: pay with a test card, have things go wrong, let a day pass, and watch."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from playwright.sync_api import Page, expect

from tests.system import PASSWORD, System
from tests.waiting import wait_for

# Where a payer goes from PayPal's page: a port to which no browser connects.
NOWHERE = "http://127.0.0.1:9/"


@pytest.fixture(scope="module")
def shared_system(tmp_path_factory, database_url):
    """A system of its own with both providers, for a day passes for all of it."""
    folder = tmp_path_factory.mktemp("system")
    parts = ("sandbox", "paypal", "web", "worker", "beat")
    environ = {"PAYPAL_RETURN_URL": NOWHERE}
    with System(folder, database_url=database_url, parts=parts, environ=environ) as running:
        yield running


@pytest.fixture(scope="module")
def shared_relay(shared_system):
    """Its own relay."""
    return shared_system.relay.start()


def pay(page: Page, way: str) -> None:
    page.get_by_label("Pay with").select_option(label=way)
    page.get_by_role("button", name="Pay", exact=True).click()


def last_step(page: Page):
    return page.get_by_role("list", name="Steps of the payment").get_by_role("listitem").last


def test_pay_have_it_declined_let_a_day_pass_and_see_it_paid(console):
    email = console.owner().get("/api/v1/auth/me").body["email"]
    page = console.open("/sandbox")
    expect(page.get_by_role("heading", name="Sandbox")).to_be_visible()

    pay(page, "Visa that pays")
    expect(last_step(page)).to_contain_text("See the payment")
    expect(last_step(page).locator("[data-status=succeeded]")).to_be_visible()
    books = page.get_by_role("list", name="Totals of all companies")
    expect(books).to_contain_text(re.compile("Stripe 1 charge.*499"))

    page.get_by_label("What happens").select_option(label="A good method is declined")
    page.get_by_role("button", name="Set the fault").click()
    faults = page.get_by_role("list", name="Faults that are set")
    expect(faults).to_contain_text("(Insufficient funds)")
    pay(page, "Visa that pays")
    expect(last_step(page)).to_contain_text("Insufficient funds")
    expect(faults).to_have_count(0)
    retries = page.get_by_role("list", name="Coming retries")
    expect(retries).to_contain_text("with 24 h more")
    payment = last_step(page).get_by_role("link", name="See the payment").get_attribute("href")

    page.get_by_role("button", name="24 hours").click()
    expect(page.locator("#toasts")).to_contain_text("your sign-in has ended with its day")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Sandbox")).to_be_visible()
    expect(retries).to_have_count(0)
    expect(books).to_contain_text(re.compile("Stripe 2 charges.*998"))
    pay(page, "Card with 3-D Secure")
    bank = last_step(page).get_by_role("link", name="Answer the bank")
    expect(bank).to_have_attribute("href", re.compile("/sandbox/3ds/pi_"))
    page.goto(console.system.web_url + payment)
    expect(page.locator("#view [data-status=succeeded]").first).to_be_visible()


def test_what_cannot_be_paid_or_waited_for_is_told_at_its_field(console):
    console.owner()
    page = console.open("/sandbox")
    amount, span = page.get_by_label("Amount"), page.get_by_label("Forward by")
    for text, told in {
        "abc": "Write an amount above zero, such as 499.00.",
        "0": "Write an amount above zero, such as 499.00.",
        "4.999": "The amount has more decimals than INR, which has 2.",
    }.items():
        amount.fill(text)
        pay(page, "Visa that pays")
        expect(amount).to_have_accessible_description(told)
        expect(amount).to_be_focused()
    for text in ("0h", "0d00h", "1x"):
        span.fill(text)
        page.get_by_role("button", name="Advance").click()
        expect(span).to_have_accessible_description(re.compile("Write more than none, in days"))


def test_a_currency_comes_back_when_another_way_to_pay_takes_it(console):
    console.owner()
    page = console.open("/sandbox")
    way, currency = page.get_by_label("Pay with"), page.get_by_label("Currency")
    currency.select_option("EUR")
    way.select_option(label="US bank account")
    expect(currency).to_have_value("USD")
    expect(currency).to_be_disabled()
    way.select_option(label="Visa that pays")
    expect(currency).to_have_value("EUR")
    expect(currency).to_be_enabled()


def set_rules(page: Page, provider: str, *, is_paused: bool | None = None, **numbers: str) -> None:
    """Fill in the panel of webhooks, by the beginnings of its labels."""
    panel = page.get_by_role("region", name="Webhooks")
    panel.get_by_label("Provider").select_option(label=provider)
    for label, number in numbers.items():
        panel.get_by_label(label).fill(number)
    if is_paused is not None:
        panel.get_by_label("Paused").set_checked(is_paused)
    with page.expect_response(lambda answer: answer.request.method == "POST"):
        panel.get_by_role("button", name="Apply").click()
    told = f"{provider}'s webhooks go out so from now on."
    expect(page.locator("#toasts")).to_contain_text(told)


def test_webhooks_go_out_as_the_panel_says_and_pay_once_all_the_same(console):
    stripe = console.system.stripe
    owner = console.owner()
    page = console.open("/sandbox")
    known = len(stripe.events())
    set_rules(page, "Stripe", Copies="2", Delay="300")
    pay(page, "Visa that pays")
    expect(last_step(page).locator("[data-status=succeeded]")).to_be_visible()
    sent = [event["id"] for event in stripe.events(after=known)]
    wait_for(lambda: taken(stripe, sent) == dict.fromkeys(sent, 3))
    assert sent
    [payment] = owner.get("/api/v1/payments").body["data"]
    assert len(stripe.charges(payment["id"])) == 1

    page.reload()
    held = page.get_by_label("Held back")
    expect(page.get_by_label("Copies more of each")).to_have_value("2")
    expect(page.get_by_label("Delay, ms")).to_have_value("300")
    set_rules(page, "Stripe", Copies="0", Delay="0", is_paused=True)
    held.fill("7")
    pay(page, "Visa that pays")
    expect(last_step(page).locator("[data-status=succeeded]")).to_be_visible()
    on_the_way = page.get_by_role("region", name="Webhooks").get_by_text("on the way").first
    expect(on_the_way).to_contain_text(re.compile(r"Stripe: [1-9]\d* on the way"))
    # What somebody types stays, whatever moves meanwhile.
    expect(held).to_have_value("7")
    page.get_by_role("button", name="Send now what is held or waits").click()
    expect(page.locator("#toasts")).to_contain_text("It is sent once the pause is taken back.")
    set_rules(page, "Stripe", is_paused=False)
    expect(held).to_have_value("0")
    stripe.wait_quiet()


def taken(stripe, event_ids: list[str]) -> dict[str, int]:
    """Return how often each of these events was taken."""
    counts = Counter(each["event"] for each in stripe.deliveries() if each["status"] == 200)
    return {each: counts[each] for each in event_ids}


def capture(page: Page) -> None:
    page.get_by_role("button", name="Capture").click()
    dialog = page.get_by_role("dialog", name="Take €499.00 at PayPal?")
    dialog.get_by_role("button", name="Capture").click()
    expect(dialog).to_be_hidden()


def test_paypal_is_paid_on_its_page_and_captured_by_hand_and_by_wallets(console):
    paypal = console.system.paypal
    console.owner()
    page = console.open("/sandbox")
    # So that nobody hears of the approval, and it is for a person to ask.
    set_rules(page, "PayPal", Dropped="1")
    page.get_by_label("Currency").select_option("EUR")
    pay(page, "PayPal, on its page")
    expect(last_step(page).locator("[data-status=requires_action]")).to_be_visible()
    way = last_step(page).get_by_role("link", name="Approve at PayPal").get_attribute("href")
    last_step(page).get_by_role("link", name="See the payment").click()
    capture(page)
    expect(page.locator("#toasts")).to_contain_text("Capture: needs the customer")

    payer = console.context.new_page()
    payer.goto(way)
    payer.get_by_role("button", name="Approve").click()
    wait_for(lambda: paypal.ask("GET", "webhooks")["rules"]["drop"] == 0)
    payer.close()
    capture(page)
    expect(page.locator("#toasts")).to_contain_text("Capture: succeeded")
    expect(page.locator("h1 .badge").first).to_have_text("Succeeded")
    expect(page.get_by_role("button", name="Capture")).to_be_hidden()
    expect(page.get_by_role("heading", level=1)).to_be_focused()

    page.get_by_role("navigation", name="Views").get_by_role("link", name="Sandbox").click()
    page.get_by_label("Currency").select_option("EUR")
    pay(page, "PayPal wallet that is declined")
    expect(last_step(page)).to_contain_text("Instrument declined")
    pay(page, "PayPal wallet that pays")
    expect(last_step(page).locator("[data-status=succeeded]")).to_be_visible()
    books = page.get_by_role("list", name="Totals of all companies")
    expect(books).to_contain_text(re.compile("PayPal 2 charges.*€998"))
