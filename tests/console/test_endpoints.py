"""Endpoints on the page: added, tried, looked into, rotated; each view is for everybody."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from standardwebhooks import Webhook

from tests.console.test_looks import begin, visit
from tests.receiving import receiving


def add(page, url: str) -> str:
    """Add an endpoint by its form and return the secret that is shown once."""
    page.get_by_role("button", name="Add an endpoint").click()
    dialog = page.get_by_role("dialog", name="Add an endpoint")
    dialog.get_by_label("Address").fill("https://127.0.0.1:22/")
    dialog.get_by_role("button", name="Add").click()
    expect(dialog).to_contain_text("must be at port 80, 443, or 1024 and above")
    dialog.get_by_label("Address").fill(url)
    dialog.get_by_label("Events").fill("payment.*, invoice.paid")
    dialog.get_by_role("button", name="Add").click()
    return kept(page)


def kept(page) -> str:
    told = page.get_by_role("dialog", name="The secret, shown this once")
    secret = told.locator(".secret").inner_text()
    told.get_by_role("button", name="I have kept it").click()
    return secret


@pytest.mark.parametrize("console", [{"reduced_motion": "reduce"}], indirect=True)
def test_an_endpoint_is_added_tried_and_rotated(console):
    owner = console.owner()
    page = console.open("/endpoints")
    begin(page)
    with receiving() as receiver:
        secret = add(page, receiver.url)
        expect(page.get_by_text("Nothing was sent")).to_be_visible()
        page.get_by_role("button", name="Send a test").click()
        path = "/api/v1/endpoints"
        [endpoint] = owner.get(path).body["data"]
        assert endpoint["events"] == ["payment.*", "invoice.paid"]
        listed = f"{path}/{endpoint['id']}/deliveries"
        console.system.wait_until(
            lambda: [each["status"] for each in owner.get(listed).body["data"]] == ["delivered"]
        )
        [heard] = receiver.heard
        assert Webhook(secret).verify(heard.body, heard.headers)["type"] == "endpoint.test"

        page.get_by_role("button", name="Look again").click()
        row = page.locator("tbody tr")
        expect(row).to_contain_text("Delivered")
        row.get_by_role("link").first.click()
        expect(page.get_by_text("Answered 200").first).to_be_visible()
        page.get_by_role("button", name="Send again").click()
        console.system.wait_until(lambda: len(receiver.heard) == 2)

        page.get_by_role("link", name="Endpoints").first.click()
        page.locator("tbody tr").get_by_role("link").first.click()
        page.get_by_role("button", name="Rotate the secret").click()
        page.get_by_role("dialog").get_by_role("button", name="Rotate").click()
        assert kept(page) not in {secret, ""}
        expect(page.get_by_text("The old secret signs until")).to_be_visible()

        [delivery] = owner.get(listed).body["data"]
        for name, where, sign in (
            ("endpoints", "/endpoints", "This company"),
            ("endpoint", f"/endpoints/{endpoint['id']}", "endpoint.test"),
            ("delivery", f"/endpoints/deliveries/{delivery['id']}", "webhook-id"),
        ):
            visit(page, name, where, sign)
        owner.delete(f"{path}/{endpoint['id']}")
