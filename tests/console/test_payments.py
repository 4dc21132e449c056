"""Payments on the page: begun, followed live, retried and refunded by its buttons."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from models.tenants import Role
from tests.client import Client
from tests.console.till import Till
from tests.system import PASSWORD
from tests.waiting import wait_for

INVOICES = re.compile(r"/api/v1/invoices(\?|$)")
PAYMENT = re.compile(r"/console/payments/([0-9a-f-]{36})$")


def status_of(page: Page):
    return page.locator("h1 .badge").first


def history(page: Page, what: str):
    return page.locator(f'.history-line[data-what="{what}"]')


def is_live(page: Page) -> None:
    expect(page.locator("#connection")).to_contain_text(re.compile("^Live"))


def test_a_payment_is_begun_followed_and_refunded_on_the_page(console):
    owner = console.system.member()
    till = Till(owner)
    till.keep()
    page = console.open()
    page.get_by_label("Email").fill(owner.user["email"])
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    is_live(page)
    page.evaluate("window.isSamePage = true")

    invoice = till.issue("250.00")
    feed = page.get_by_role("list", name="What has happened")
    expect(feed.get_by_role("link", name="Invoice issued")).to_be_visible()
    page.get_by_role("navigation", name="Views").get_by_role("link", name="Invoices").click()
    page.get_by_role("row").get_by_role("link", name=invoice["number"]).click()
    page.get_by_role("button", name="Pay with a kept method").click()
    console.system.stripe.fault("slow", delay_ms=1500)
    page.get_by_role("dialog").get_by_role("button", name="Charge").click()
    expect(page).to_have_url(PAYMENT)
    expect(status_of(page)).to_have_text("Succeeded")
    expect(history(page, "event").first).to_contain_text("payment_intent.succeeded")

    page.get_by_role("button", name="Refund").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("status")).to_contain_text("₹250.00 goes back")
    dialog.get_by_label("Amount").fill("300")
    expect(dialog.get_by_role("status")).to_contain_text("more than the ₹250.00")
    dialog.get_by_role("button", name="Refund").click()
    expect(dialog.locator(".field-error:not([hidden])")).to_contain_text("250.00")
    dialog.get_by_label("Amount").fill("100")
    expect(dialog.get_by_role("status")).to_contain_text("₹150.00 of it stays")
    dialog.get_by_role("button", name="Refund").click()
    expect(dialog).to_be_hidden()
    expect(status_of(page)).to_have_text("Partly refunded")
    expect(page.get_by_role("button", name="Refund")).to_be_focused()

    payment_id = PAYMENT.search(page.url).group(1)
    assert till.payment(payment_id)["amount_refunded"] == 100
    [charge] = console.system.stripe.charges(payment_id)
    assert charge["amount_refunded"] == 10_000
    assert page.evaluate("window.isSamePage")


def test_what_happens_elsewhere_is_seen_without_a_reload(console):
    till = Till(console.owner())
    payment_id = till.pay()
    page = console.open(f"/payments/{payment_id}")
    is_live(page)
    expect(status_of(page)).to_have_text("Needs the customer")
    intent = till.payment(payment_id)["provider_transaction_id"]
    secret = resumed(till.owner, payment_id)
    assert secret.startswith(intent)
    console.system.stripe.confirm_in_browser(secret, payment_method="pm_card_visa")
    expect(status_of(page)).to_have_text("Succeeded")
    expect(history(page, "move").last).to_contain_text("Open → Paid")
    expect(page.get_by_role("button", name="Refund")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel payment")).to_be_hidden()


def resumed(owner: Client, payment_id: str) -> str:
    answer = owner.post(f"/api/v1/payments/{payment_id}/resume", prefer="wait=20")
    return answer.body["client_secret"]


def test_a_declined_payment_shows_its_next_retry_and_is_retried_with_another_card(console):
    till = Till(console.owner())
    payment_id = till.pay(till.keep("pm_sandbox_decline_insufficient_funds"))
    till.keep("pm_card_mastercard")
    page = console.open(f"/payments/{payment_id}")
    is_live(page)
    expect(status_of(page)).to_have_text("Failed")
    expect(page.locator(".head-next")).to_contain_text(re.compile(r"in 23 h 5\d min"))
    rungs = page.locator(".ladder > li")
    expect(rungs).to_have_count(4)
    expect(rungs.nth(0)).to_contain_text("Your card has insufficient funds.")
    expect(rungs.nth(1)).to_contain_text("Scheduled")
    expect(rungs.nth(3)).to_contain_text("If declined")

    page.get_by_role("button", name="Retry now").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("It takes no step of the ladder")
    dialog.get_by_label("Charge").select_option(label="Mastercard •••• 4444")
    dialog.get_by_role("button", name="Charge now").click()
    expect(status_of(page)).to_have_text("Succeeded")
    expect(page.locator(".head-next")).to_be_hidden()
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    assert len(console.system.stripe.charges(payment_id)) >= 1
    wait_for(lambda: till.payment(payment_id)["dunning"] == "cleared")


def test_a_list_is_filtered_in_its_address_and_grows_page_by_page(console):
    till = Till(console.owner())
    first = till.issue()
    for _ in range(50):
        till.issue()
    page = console.open("/invoices", status="open")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(50)
    page.get_by_role("button", name="Load more").click()
    expect(rows).to_have_count(51)
    expect(page.get_by_role("button", name="Load more")).to_be_hidden()
    rows.last.get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(first["number"])
    page.go_back()
    expect(rows).to_have_count(51)
    expect(rows.last).to_be_in_viewport()
    page.get_by_label("Search").fill(first["number"])
    expect(rows).to_have_count(1)
    expect(page).to_have_url(re.compile(rf"\?status=open&search={first['number']}$"))
    page.get_by_label("Status").select_option("Paid")
    expect(page.get_by_text("No invoice fits")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Status")).to_have_value("paid")
    expect(page.get_by_label("Search")).to_have_value(first["number"])
    page.get_by_role("button", name="Clear").click()
    expect(rows).to_have_count(50)
    console.go(page, "/payments", status="failed&status=canceled", search="no%20such")
    expect(page.get_by_text("No payment fits")).to_be_visible()
    expect(page.get_by_label("Status").locator("option:checked")).to_have_text("Failed, Canceled")
    page.get_by_label("Provider").select_option("Stripe")
    expect(page).to_have_url(re.compile(r"status=failed%2Ccanceled&.*payment_method=stripe$"))
    page.reload()
    expect(page.get_by_label("Status")).to_have_value("failed,canceled")


def test_what_cannot_be_had_says_so_and_is_tried_again(console):
    till = Till(console.owner())
    till.issue()
    page = console.open("/payments/00000000-0000-7000-8000-000000000000")
    expect(page.get_by_role("alert").first).to_contain_text("No such payment.")
    page.context.route(INVOICES, lambda route: route.abort())
    page.get_by_role("navigation", name="Views").get_by_role("link", name="Invoices").click()
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached")
    page.context.unroute(INVOICES)
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("row")).to_have_count(2)


def test_a_member_who_may_only_read_is_offered_nothing_to_do(console):
    owner = console.system.member()
    till = Till(owner)
    payment_id = till.pay(till.keep())
    member = console.system.member(Role.MEMBER, company_id=owner.company_id)
    console.sign_in(member)
    page = console.open(f"/payments/{payment_id}")
    expect(status_of(page)).to_have_text("Succeeded")
    expect(page.get_by_role("button", name="Refund")).to_be_hidden()
    expect(page.get_by_role("link", name="Operations")).to_have_count(0)
    console.go(page, "/operations")
    expect(page.get_by_role("alert")).to_contain_text("Your role may not see this")
