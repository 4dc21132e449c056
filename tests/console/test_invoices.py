"""An invoice on the page: from a draft to void, with its credit note and its documents."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect

SEATS = {
    "description": "Seats",
    "quantity": 1,
    "unit_amount": "100.00",
    "taxes": [{"name": "GST", "percent": 18}],
}


def ask(page: Page, act: str, answer: str, **fields: str) -> None:
    """Press a button, fill what it asks for, and say yes."""
    page.get_by_role("button", name=act, exact=True).click()
    dialog = page.get_by_role("dialog")
    for label, value in fields.items():
        dialog.get_by_label(label).fill(value)
    dialog.get_by_role("button", name=answer).click()
    expect(dialog).to_be_hidden()


def saved(page: Page, name: str) -> Path:
    with page.expect_download() as begun:
        page.get_by_role("button", name=name, exact=True).click()
    return Path(begun.value.path())


def test_an_operator_issues_a_draft_credits_a_part_and_makes_it_void(console):
    company_id = console.system.company("Billed Ltd")
    owner = console.system.member(company_id=company_id)
    draft = owner.post("/api/v1/invoices", {"lines": [SEATS], "draft": True}).body
    console.operator()
    page = console.open(f"/invoices/{draft['id']}")
    page.get_by_label("Find a company").fill("Billed")
    page.get_by_role("button", name="Billed Ltd").click()
    console.go(page, f"/invoices/{draft['id']}")
    title = page.get_by_role("heading", level=1)
    expect(title).to_have_text("Draft Draft")
    expect(page.get_by_role("button", name="PDF", exact=True)).to_be_hidden()
    ask(page, "Finalize", "Finalize")
    expect(title).to_have_text("INV-000001 Open")

    ask(page, "Credit note", "Issue", Amount="18", Why="one was broken")
    row = page.get_by_role("row").filter(has_text="CN-000001")
    expect(row).to_contain_text("one was broken")
    for name in ("PDF", "PDF of CN-000001"):
        assert saved(page, name).read_bytes().startswith(b"%PDF-")

    ask(page, "Void", "Make void")
    expect(title).to_have_text("INV-000001 Void")
    for gone in ("Void", "Credit note", "Mark uncollectible", "Finalize"):
        expect(page.get_by_role("button", name=gone, exact=True)).to_be_hidden()
    told = owner.get(f"/api/v1/invoices/{draft['id']}").body
    assert (told["status"], told["amount_credited"]) == ("void", 18)
