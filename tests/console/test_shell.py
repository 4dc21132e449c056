"""What stands around the views: the way in and out, the policy, the keyboard."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.system import PASSWORD


def test_somebody_signs_in_by_the_form_and_out_by_the_button(console):
    member = console.system.member()
    page = console.open()
    page.get_by_label("Email").fill(member.user["email"])
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("Email or password is wrong")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_focused()
    assert page.evaluate("document.cookie") == ""
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
