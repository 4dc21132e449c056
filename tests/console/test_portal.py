"""The customer portal in the browser: by a link, without a login, with cards at the stand-ins.

What each view looked like lies in var/screenshots.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import FrameLocator, Page, expect

from models.clock import now
from models.tenants import Company
from tests.console.test_looks import AXE, judge, look
from tests.console.till import Till
from worker.portal import Link, token_of

PAYS, FUNDLESS, ASKS_BANK = "4242 4242 4242 4242", "4000 0000 0000 9995", "4000 0027 6000 3184"


@pytest.fixture
def till(console):
    return Till(console.system.member())


def link_to(till: Till, invoice: dict[str, Any] | None = None) -> str:
    owner = till.owner
    path = f"companies/{owner.company_id}/portal" if invoice is None else ""
    path = path or f"invoices/{invoice['id']}/payment"
    answer = owner.post(f"/api/v1/{path}-link")
    assert answer.status == 201, answer
    return answer.body["url"]


def opened(console, url: str) -> Page:
    page = console.context.new_page()
    page.goto(url)
    return page


def card_of(page: Page) -> FrameLocator:
    return page.frame_locator("#view iframe")


def fill(page: Page, number: str) -> None:
    card = card_of(page)
    card.get_by_label("Card number").fill(number)
    card.get_by_label("Expiry").fill("12/40")
    card.get_by_label("CVC").fill("123")


def pay(page: Page, amount: str = "100.00") -> None:
    page.get_by_role("button", name=f"Pay ₹{amount}").click()


def charges_of(console, till: Till, invoice: dict[str, Any]) -> list[str]:
    payments = till.owner.get("/api/v1/payments", invoice_id=invoice["id"]).body["data"]
    book = [each for one in payments for each in console.system.stripe.charges(one["id"])]
    return [each["status"] for each in book]


def test_an_invoice_is_paid_by_its_link_after_a_card_without_funds(console, till):
    invoice = till.issue(due_on="2040-12-31", memo="Thank you.")
    page = opened(console, link_to(till, invoice))
    expect(page.get_by_role("heading", level=1)).to_have_text("Invoice INV-000001")
    expect(page.get_by_text("Due on December 31, 2040")).to_be_visible()
    # Neither the address nor what a script can read holds the link any more.
    assert page.url == f"{console.system.web_url}/portal/"
    assert page.evaluate("document.cookie") == ""
    expect(card_of(page).get_by_label("CVC")).to_be_visible()
    page.evaluate(AXE)
    judge(page, "the page to pay")
    look(page, "portal-invoice", "light")
    page.emulate_media(color_scheme="dark")
    judge(page, "the page to pay", "color-contrast")
    look(page, "portal-invoice", "dark")

    fill(page, FUNDLESS)
    pay(page)
    expect(page.get_by_role("alert")).to_contain_text("There are not enough funds")
    # Another device has the same link; both pay the one payment that there is.
    other = opened(console, link_to(till, invoice))
    fill(other, ASKS_BANK)
    pay(other)
    bank = other.frame_locator("dialog iframe")
    bank.get_by_role("button", name="Complete").click()
    expect(other.get_by_text("Thank you. The invoice is paid.")).to_be_visible()
    fill(page, PAYS)
    pay(page)
    expect(page.get_by_text("Thank you. The invoice is paid.")).to_be_visible()
    assert charges_of(console, till, invoice).count("succeeded") == 1
    asked = [url for url in console.requests if "/portal/visits/" in url]
    assert asked
    assert not any("payment-methods" in url for url in asked)


def test_two_tabs_that_pay_one_declined_invoice_at_once_both_show_it_paid(console, till):
    invoice = till.issue()
    first = opened(console, link_to(till, invoice))
    fill(first, FUNDLESS)
    pay(first)
    expect(first.get_by_role("alert")).to_contain_text("There are not enough funds")
    second = opened(console, link_to(till, invoice))
    fill(first, PAYS)
    fill(second, "5555 5555 5555 4444")
    # Two clicks without waiting in between; whichever comes first, nobody is told of a decline.
    for page in (first, second):
        expect(page.get_by_role("button", name="Pay ₹100.00")).to_be_enabled()
        page.evaluate(
            "setTimeout(() => document.querySelector('#view button.primary').click(), 50)"
        )
    for page in (first, second):
        expect(page.get_by_text("Thank you. The invoice is paid.")).to_be_visible()
        expect(page.get_by_role("button", name="Pay")).to_have_count(0)
    assert charges_of(console, till, invoice).count("succeeded") == 1


def test_a_company_sees_its_history_and_changes_its_card(console, till):
    kept = till.keep()
    paid = till.issue("40.00")
    body = {"invoice_id": paid["id"], "amount": "40.00", "payment_method_id": kept}
    answer = till.owner.post("/api/v1/payments/create-intent", body, prefer="wait=20")
    assert answer.body["status"] == "succeeded", answer
    till.issue()
    page = opened(console, link_to(till))
    expect(page.get_by_role("heading", level=1)).to_have_text("Your account")
    page.get_by_role("button", name="Replace").click()
    fill(page, "5555 5555 5555 4444")
    page.get_by_role("button", name="Save card").click()
    expect(page.get_by_text("The card is saved.")).to_be_visible()
    expect(page.get_by_text("Mastercard ending in 4444")).to_be_visible()
    page.get_by_role("button", name="Add a card").click()
    fill(page, "4000 0000 0000 0002")
    page.get_by_role("button", name="Save card").click()
    expect(page.get_by_role("alert")).to_contain_text("Use another card, or ask your bank")
    page.evaluate(AXE)
    judge(page, "the company's own portal")
    look(page, "portal-company", "light")

    with page.expect_download() as begun:
        page.get_by_role("link", name="PDF of INV-000001").click()
    assert Path(begun.value.path()).read_bytes().startswith(b"%PDF-")
    page.get_by_role("link", name="Invoice INV-000001").click()
    expect(page.get_by_text("Visa ending in 4242")).to_be_visible()
    page.get_by_role("link", name="All invoices").click()
    page.get_by_role("link", name="Invoice INV-000002").click()
    pay(page)
    expect(page.get_by_text("Thank you. The invoice is paid.")).to_be_visible()
    expect(page.get_by_text("Mastercard ending in 4444")).to_be_visible()


def test_an_invoice_is_paid_at_paypal_after_the_card_form_was_left(console, till):
    paypal = console.system.parts["paypal"]
    is_ours = not paypal.is_running
    if is_ours:
        paypal.start()
    try:
        invoice = till.issue(currency="EUR")
        begun = {"invoice_id": invoice["id"], "amount": "100.00"}
        assert till.owner.post("/api/v1/payments/create-intent", begun, prefer="wait=20").body
        page = opened(console, link_to(till, invoice))
        page.get_by_label("PayPal").check()
        page.get_by_role("button", name="Continue to PayPal").click()
        page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_text("You have left PayPal without paying.")).to_be_visible()
        page.get_by_label("PayPal").check()
        page.get_by_role("button", name="Continue to PayPal").click()
        page.get_by_role("button", name="Approve").click()
        expect(page.get_by_text("Thank you. The invoice is paid.")).to_be_visible()
        assert page.url == f"{console.system.web_url}/portal/"
    finally:
        if is_ours:
            paypal.stop()


def test_a_link_that_has_ended_says_so_and_asks_for_another(console, till):
    invoice = till.issue()
    with console.system.session() as session:
        session.get_one(Company, till.owner.company_id).language = "de"
    past = now().replace(microsecond=0) - timedelta(days=1)
    ended = Link(till.owner.company_id, UUID(invoice["id"]), 0, past)
    page = opened(console, f"{console.system.web_url}/portal/#{token_of(ended)}")
    expect(page.get_by_role("heading", level=1)).to_have_text("This link has ended")
    page.get_by_role("button", name="Mail me a new link").click()
    expect(page.get_by_text("If the link was one of ours")).to_be_visible()
    # Once in, the page speaks the company's language.
    page.goto(link_to(till, invoice))
    expect(page.get_by_role("heading", level=1)).to_have_text("Rechnung INV-000001")
    page.goto(f"{console.system.web_url}/portal/#no.such")
    expect(page.get_by_role("heading", level=1)).to_have_text("This link does not work")


def test_the_console_hands_out_links_and_revokes_them(console):
    till = Till(console.owner())
    invoice = till.issue()
    page = console.open(f"/invoices/{invoice['id']}")
    page.get_by_role("button", name="Copy payment link").click()
    link = page.get_by_role("dialog").get_by_label("Link").input_value()
    assert link.partition("#")[0] == f"{console.system.web_url}/portal/"
    page.keyboard.press("Escape")
    console.go(page, "/payment-methods")
    page.get_by_role("button", name="Copy portal link").click()
    own = page.get_by_role("dialog").get_by_label("Link").input_value()
    page.keyboard.press("Escape")
    guest = opened(console, own)
    expect(guest.get_by_role("heading", level=1)).to_have_text("Your account")
    page.get_by_role("button", name="Revoke links").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("The links are revoked.")).to_be_visible()
    guest.reload()
    expect(guest.get_by_role("heading", level=1)).to_have_text("This link has ended")
    guest.get_by_role("button", name="Mail me a new link").click()
    expect(guest.get_by_text("If the link was one of ours")).to_be_visible()
    guest.goto(link)
    expect(guest.get_by_role("heading", level=1)).to_have_text("This link has ended")
