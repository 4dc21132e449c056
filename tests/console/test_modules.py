"""Modules on the page: taken, used up to a threshold, limited and given up."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from models.tenants import Role
from tests.console.test_looks import AXE, judge, look


def sold(console, owner, **more):
    """Have an operator add a module; return its id."""
    operator = console.system.member(Role.OPERATOR)
    body = {"code": f"api-{owner.company_id}", "name": "API calls", **more}
    made = operator.post("/api/v1/modules", body)
    assert made.status == 201, made
    return made.body["id"]


def use(owner, module_id, quantity, key):
    body = {"idempotency_key": key, "quantity": quantity}
    answer = owner.post(f"/api/v1/modules/{module_id}/usage", body)
    assert answer.status == 201, answer


def test_a_module_is_taken_its_use_is_shown_and_it_is_given_up(console):
    owner = console.owner()
    module_id = sold(console, owner, unit="calls", warning_at=800, hard_limit=1000)
    page = console.open("/modules")
    expect(page.locator("#connection")).to_contain_text(re.compile("^Live"))
    page.evaluate(AXE)
    row = page.get_by_role("row", name="API calls")
    expect(row).to_contain_text("Not subscribed")
    judge(page, "modules")
    look(page, "modules", "light")
    row.get_by_role("link", name="API calls").click()
    page.get_by_role("button", name="Subscribe").click()
    expect(page.locator("h1 .badge")).to_have_text("Subscribed")

    use(owner, module_id, 700, "one")
    page.get_by_role("button", name="Look again").click()
    expect(page.get_by_role("img", name="700 of 1,000 calls used")).to_be_visible()
    expect(page.get_by_text("300 left")).to_be_visible()
    # The threshold is told by an event: nobody has to look again.
    use(owner, module_id, 150, "two")
    expect(page.get_by_role("img", name="850 of 1,000 calls used")).to_be_visible()
    expect(page.get_by_text("Warned of")).to_be_visible()
    judge(page, "module")
    look(page, "module", "light")

    page.get_by_role("button", name="Set limits").click()
    dialog = page.get_by_role("dialog", name="Limits of API calls")
    expect(dialog.get_by_label("Hard limit")).to_have_count(0)
    dialog.get_by_label("Warning at").fill("2000")
    dialog.get_by_role("button", name="Set").click()
    expect(dialog.get_by_role("alert")).to_contain_text("may not be below")
    dialog.get_by_label("Warning at").fill("900")
    dialog.get_by_role("button", name="Set").click()
    expect(dialog).to_be_hidden()
    expect(page.locator("dd", has_text="900")).to_be_visible()

    page.get_by_role("button", name="Unsubscribe").click()
    asked = page.get_by_role("dialog", name="Unsubscribe from API calls?")
    asked.get_by_role("button", name="Unsubscribe").click()
    expect(page.locator("h1 .badge")).to_have_text("Not subscribed")
    assert owner.get(f"/api/v1/modules/{module_id}").body["taken"] is None
