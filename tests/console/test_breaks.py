"""Breaks and payouts as an operator works them, from the API to the page: nothing is played."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from uuid import UUID

import pytest
from playwright.sync_api import Page, expect

from models.breaks import BreakKind, ReconciliationBreak, agree
from models.clock import now
from models.ids import new_id
from models.payouts import Payout
from models.transactions import Provider
from tests.console.test_reconciliation import go
from tests.system import System


@pytest.fixture(scope="module")
def page(lasting) -> Page:
    console, page = lasting
    console.operator()
    console.go(page, "/health")
    expect(page.locator("#connection")).to_contain_text("Live")
    return page


@pytest.fixture(scope="module")
def system(lasting) -> System:
    return lasting[0].system


def add_break(system: System, kind: BreakKind, **sides: dict[str, str]) -> UUID:
    with system.session() as session:
        row = ReconciliationBreak(
            provider=Provider.STRIPE,
            kind=kind,
            object_id=f"ch_{new_id().hex}",
            subject="charge",
            amount=Decimal("12.50"),
            currency="INR",
            first_seen=now(),
            last_seen=now(),
            **sides,
        )
        session.add(row)
        session.flush()
        return row.id


def test_a_break_is_taken_and_resolved(page, system):
    sides = {"ours": {"amount": "10.00"}, "theirs": {"amount": "12.50"}}
    break_id = add_break(system, BreakKind.AMOUNT, **sides)
    go(page, f"/operations/breaks/{break_id}")
    expect(page.get_by_role("row").filter(has_text="differs")).to_contain_text("12.50")
    expect(page.get_by_role("button", name="Repair")).to_have_count(0)
    page.get_by_role("button", name="Take it").click()
    expect(page.get_by_role("button", name="Give it up")).to_be_visible()
    page.get_by_role("button", name="Give it up").click()
    expect(page.get_by_role("button", name="Take it")).to_be_visible()
    page.get_by_role("button", name="Resolve").click()
    dialog = page.get_by_role("dialog", name="How was it seen to?")
    dialog.get_by_label("Note").fill("Agreed by telephone.")
    dialog.get_by_role("button", name="Resolve").click()
    expect(page.get_by_text("Agreed by telephone.")).to_be_visible()
    expect(page.get_by_text("Accepted as it is")).to_be_visible()


def test_a_repair_that_cannot_be_done_says_why(page, system):
    """The provider is asked about an intent that it does not know, twice."""
    theirs = {"status": "succeeded", "intent": f"pi_{new_id().hex}"}
    break_id = add_break(system, BreakKind.STATUS, ours={"status": "processing"}, theirs=theirs)
    failed = page.get_by_text("The repair has failed: ")
    go(page, f"/operations/breaks/{break_id}")
    for _ in range(2):
        with page.expect_response(lambda answer: answer.url.endswith("/repair")) as answered:
            page.get_by_role("button", name="Repair").click()
        assert answered.value.status == 202
        expect(page.get_by_role("button", name="Repair")).to_be_visible()
        expect(failed).to_be_visible()
        expect(page.get_by_role("heading", name="Another status Open")).to_be_visible()


def test_what_changed_meanwhile_is_seen_by_who_comes_back(page, system):
    break_id = add_break(system, BreakKind.FEE, ours={"fee": "1.00"}, theirs={"fee": "2.00"})
    go(page, f"/operations/breaks/{break_id}")
    expect(page.get_by_role("heading", name="Another fee Open")).to_be_visible()
    go(page, "/operations/breaks")
    with system.session() as session:
        agree(session.get_one(ReconciliationBreak, break_id), moment=now())
    go(page, f"/operations/breaks/{break_id}")
    expect(page.get_by_role("heading", name="Another fee Resolved")).to_be_visible()


def test_a_payout_is_explained_and_saved(page, system):
    part = {"type": "charge", "count": 10, "gross": "1000", "fee": "30", "net": "970"}
    with system.session() as session:
        session.add(
            Payout(
                tenant_id=system.tenant_id,
                provider=Provider.STRIPE,
                provider_payout_id=f"po_{new_id().hex}",
                amount=Decimal("970.00"),
                currency="INR",
                status="paid",
                arrival_date=date(2026, 11, 23),
                made_at=now(),
                is_balanced=True,
                parts=[part],
            )
        )
    go(page, "/operations/payouts")
    page.get_by_role("link", name="23 Nov 2026").click()
    expect(page.get_by_role("table", name="What it is made up of")).to_contain_text("₹1,000.00")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save its report as CSV").click()
    assert saved.value.suggested_filename.startswith("payout-")
    assert "charge,10,1000.00,30.00,970.00" in saved.value.path().read_text()
