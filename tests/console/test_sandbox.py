"""The sandbox's panel: pay with a test card, have things go wrong, let a day pass, and watch."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.system import PASSWORD, System


@pytest.fixture(scope="module")
def shared_system(tmp_path_factory, database_url):
    """A system of its own, for a day passes for all of it."""
    folder = tmp_path_factory.mktemp("system")
    with System(folder, database_url=database_url) as running:
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
