"""Subscriptions on the page: seen, changed with a preview of what that costs, and canceled."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from models.ids import new_id
from models.tenants import Role
from tests.console.test_looks import AXE, judge, look


def subscribed(console, owner):
    """Have an operator make a plan of 100.00 a seat, and subscribe to it with two."""
    operator = console.system.member(Role.OPERATOR)
    code = new_id().hex
    module = operator.post("/api/v1/modules", {"code": code, "name": "Reports"})
    assert module.status == 201, module
    price = {"module": code, "currency": "INR", "kind": "per_seat", "unit_amount": "100"}
    plan = operator.post("/api/v1/plans", {"code": code, "name": "Team", "prices": [price]})
    assert plan.status == 201, plan
    made = owner.post("/api/v1/subscriptions", {"plan": code, "seats": 2})
    assert made.status == 201, made
    invoices = "/api/v1/invoices"
    console.system.wait_until(lambda: owner.get(invoices).body["data"])
    return made.body


def test_a_subscription_is_changed_with_a_preview_and_canceled(console):
    owner = console.owner()
    made = subscribed(console, owner)
    page = console.open("/subscriptions")
    expect(page.locator("#connection")).to_contain_text(re.compile("^Live"))
    page.evaluate(AXE)
    row = page.get_by_role("row", name=made["plan"])
    expect(row).to_contain_text("Active")
    judge(page, "subscriptions")
    look(page, "subscriptions", "light")
    row.get_by_role("link", name=made["plan"]).click()
    coming = page.get_by_role("region", name="Next invoice")
    expect(coming).to_contain_text("₹200.00")
    judge(page, "subscription")
    look(page, "subscription", "light")

    page.get_by_role("button", name="Change seats").click()
    dialog = page.get_by_role("dialog", name="Change the seats?")
    expect(dialog).to_contain_text("Nothing changes until the next invoice.")
    seats = dialog.get_by_label("Seats")
    seats.fill("5")
    seats.blur()
    expect(dialog).to_contain_text("Remaining time: Team: Reports, seats: ₹")
    expect(dialog).to_contain_text("For the rest of the period: ₹")
    dialog.get_by_role("button", name="Change seats").click()
    expect(dialog).to_be_hidden()
    expect(coming).to_contain_text("Unused time")
    assert owner.get(f"/api/v1/subscriptions/{made['id']}").body["seats"] == 5

    page.get_by_role("button", name="Cancel subscription").click()
    dialog = page.get_by_role("dialog", name="Cancel this subscription?")
    dialog.get_by_role("button", name="Cancel subscription").click()
    expect(dialog).to_be_hidden()
    page.get_by_role("button", name="Keep it").click()
    expect(page.get_by_role("button", name="Keep it")).to_be_hidden()
    page.get_by_role("button", name="Cancel subscription").click()
    dialog.get_by_label("When").select_option("now")
    dialog.get_by_role("button", name="Cancel subscription").click()
    expect(page.locator("h1 .badge")).to_have_text("Canceled")
    expect(page.get_by_role("button", name="Pause")).to_be_hidden()
