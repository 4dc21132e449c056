"""Disputes on the page: answered with evidence, kept first and then handed over, or given up."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.console.till import Till
from tests.waiting import wait_for

KEPT = "Seats for ten people, used every day since."


def opened(till, amount):
    """Return the dispute of a new payment."""
    paid = till.pay(till.keep("pm_card_createDispute"), amount)
    told = []
    wait_for(lambda: told or told.extend(disputes_of(till, paid)))
    return told[0]


def disputes_of(till, payment_id):
    return till.owner.get(f"/api/v1/disputes?transaction_id={payment_id}").body["data"]


def status_of(page):
    return page.locator("h1 .badge").first


def test_evidence_is_kept_then_handed_over_and_the_bank_decides(console):
    till = Till(console.owner())
    dispute = opened(till, "80.00")
    page = console.open(f"/disputes/{dispute['id']}")
    expect(page.locator("#connection")).to_contain_text(re.compile("^Live"))
    send = page.get_by_role("button", name="Send evidence")
    send.click()
    expect(page.get_by_role("alert")).to_contain_text("evidence is empty")

    page.get_by_label("Product description").fill(KEPT)
    receipt, more = page.get_by_label("Receipt"), page.locator("details.more-evidence")
    more.locator("summary").click()
    receipt.fill("receipt.pdf")
    more.locator("summary").click()
    send.click()
    expect(receipt).to_be_focused()
    expect(more).to_have_attribute("open", "")
    receipt.fill("file_receipt1")
    send.click()
    told = page.get_by_role("region", name="Told to the provider")
    expect(told.get_by_role("listitem")).to_contain_text("Evidence Sent")
    expect(told).to_contain_text(KEPT)
    assert evidence_in_the_book(console, dispute)["receipt"] == "file_receipt1"
    expect(page.get_by_label("Receipt")).to_have_value("file_receipt1")

    page.get_by_label("Hand all of it to the customer's bank now").check()
    send.click()
    expect(status_of(page)).to_have_text("Under review")
    expect(send).to_be_hidden()
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    console.system.stripe.end_dispute(dispute["provider_dispute_id"], "won")
    expect(status_of(page)).to_have_text("Won")


def evidence_in_the_book(console, dispute):
    told = console.system.stripe.book()["disputes"]
    [found] = [each for each in told if each["id"] == dispute["provider_dispute_id"]]
    return found["evidence"]


def test_a_dispute_is_given_up_by_who_reads_what_that_means(console):
    till = Till(console.owner())
    dispute = opened(till, "70.00")
    page = console.open(f"/disputes/{dispute['id']}")
    page.get_by_role("button", name="Accept the dispute").click()
    dialog = page.get_by_role("dialog", name="Accept this dispute?")
    expect(dialog).to_contain_text("The customer keeps ₹70.00")
    dialog.get_by_role("button", name="Cancel").click()
    expect(status_of(page)).to_have_text("Needs a response")
    page.get_by_role("button", name="Accept the dispute").click()
    dialog.get_by_role("button", name="Accept and lose it").click()
    expect(page.locator("#toasts")).to_contain_text("The dispute is given up.")
    expect(status_of(page)).to_have_text("Lost")
    expect(page.get_by_role("button", name="Accept the dispute")).to_be_hidden()
    expect(page.get_by_role("heading", level=1)).to_be_focused()
