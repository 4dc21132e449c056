"""A file of invoices is tried dry, its refused line read, and then imported, by an operator."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.console.test_looks import AXE, judge


def test_a_file_is_tried_dry_and_then_imported(console):
    system = console.system
    company_id = system.company("Moved House")
    operator = console.operator()
    page = console.open("/operations/imports")
    page.evaluate(AXE)
    page.get_by_role("button", name="Import invoices").click()
    head = "number,company_id,currency,issued_on,status,unit_amount\n"
    rows = [f"{name},{company_id},EUR,2026-01-31,open,{amount}" for name, amount in ROWS]
    file = {"name": "book.csv", "mimeType": "text/csv", "buffer": (head + "\n".join(rows)).encode()}
    dialog = page.get_by_role("dialog", name="Import invoices from a file")
    dialog.get_by_label("File").set_input_files(file)
    judge(page, "import dialog")
    dialog.get_by_role("button", name="Begin").click()
    expect(page.get_by_role("heading", name=re.compile("Invoices from a file"))).to_contain_text(
        "Dry run"
    )
    expect(page.get_by_text("3 of 3")).to_be_visible()
    refused = page.get_by_role("row").filter(has_text="Line 3")
    expect(refused).to_contain_text("below zero")
    judge(page, "import")
    operator.headers["X-Company-Id"] = str(company_id)
    assert operator.get("/api/v1/invoices").body["data"] == []
    page.get_by_role("button", name="Import it now").click()
    expect(page.get_by_role("heading", name=re.compile("Done$"))).to_be_visible()
    found = operator.get("/api/v1/invoices").body["data"]
    assert {each["number"] for each in found} == {"A-1", "A-3"}


ROWS = [("A-1", "10.00"), ("A-2", "-5.00"), ("A-3", "7.50")]
