"""Runs, breaks and payouts as an operator works them; one page, the API played where it is said."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Page, Route, expect

from models.clock import now
from tests.console.test_analytics import SHOW, leave
from tests.console.test_looks import AXE, judge

API = re.compile(r"/api/v1/(reconciliations|breaks|payouts)")
RUN, BREAK, PAYOUT = (str(uuid4()) for _ in range(3))


@pytest.fixture(scope="module")
def only_page(lasting) -> Page:
    console, page = lasting
    console.operator()
    console.go(page, "/health")
    expect(page.locator("#connection")).to_contain_text("Live")
    page.evaluate(AXE)
    return page


@pytest.fixture
def page(only_page) -> Iterator[Page]:
    yield only_page
    leave(only_page)


class Book:
    """What the API would answer of reconciliation, and what was sent to it."""

    def __init__(self, page: Page) -> None:
        moment = now().isoformat()
        self.sent: list[tuple[str, Any]] = []
        self.run = {
            "id": RUN,
            "provider": "stripe",
            "status": "running",
            "phase": "refunds",
            "starts_at": "2026-11-20T00:00:00Z",
            "ends_at": "2026-11-22T00:00:00Z",
            **dict.fromkeys(("our_rows", "matched", "suspects", "confirmed", "closed"), 0),
            "provider_rows": 1200,
            "opened": 3,
            "waiting_for": None,
            "waiting_until": None,
            "asked_by": None,
            "error": None,
            "created_at": moment,
            "finished_at": None,
        }
        self.found = {
            "id": BREAK,
            "kind": "amount",
            "status": "open",
            "provider": "stripe",
            "object_id": "ch_1",
            "ours": {"amount": "100.00", "currency": "INR", "status": "succeeded"},
            "theirs": {"amount": "99.00", "currency": "INR", "status": "succeeded"},
            "is_repairable": False,
            "owner_id": None,
            "subject": "charge",
            "amount": "100.00",
            "currency": "INR",
            "happened_at": moment,
            "repair_error": None,
            "resolution": None,
            "run_id": RUN,
            "transaction_id": None,
            "note": None,
            "first_seen": moment,
            "last_seen": moment,
            "resolved_at": None,
        }
        self.payout = {
            "id": PAYOUT,
            "provider": "stripe",
            "provider_payout_id": "po_1",
            "amount": "970.00",
            "currency": "INR",
            "status": "paid",
            "arrival_date": "2026-11-23",
            "is_balanced": True,
            "created_at": moment,
            "parts": [
                {"type": "charge", "count": 10, "gross": "1000.00", "fee": "30.00", "net": "970.00"}
            ],
        }
        self.rows = {"reconciliations": self.run, "breaks": self.found, "payouts": self.payout}
        page.route(API, self.answer)

    def answer(self, route: Route) -> None:
        path = route.request.url.partition("/api/v1/")[2].partition("?")[0]
        noun, _, rest = path.partition("/")
        row = self.rows[noun]
        if route.request.method == "POST":
            self.sent.append((path, route.request.post_data_json))
            self.change(rest.rpartition("/")[2], route.request.post_data_json)
            route.fulfill(json=row, status=202)
        elif rest.endswith(".csv"):
            route.fulfill(body="kind\r\namount\r\n", content_type="text/csv")
        else:
            route.fulfill(json=row if rest else {"data": [row], "next_cursor": None})

    def change(self, act: str, body: dict[str, Any]) -> None:
        if act == "repair":
            self.found["repair_error"] = None
        elif act == "resolve":
            self.found |= {"status": "resolved", "note": body["note"]}
        elif act == "assign":
            self.found["owner_id"] = body["user_id"]


def go(page: Page, path: str) -> None:
    page.evaluate(SHOW, path)
    expect(page.locator("#view .bone")).to_have_count(0)


def test_a_run_is_started_and_followed_to_its_end(page):
    book = Book(page)
    go(page, "/operations/reconciliations")
    expect(page.get_by_role("region", name="Breaks opened a day")).to_contain_text("3")
    page.get_by_role("button", name="Start a run").click()
    dialog = page.get_by_role("dialog", name="Compare with a provider")
    dialog.get_by_label("From").fill("2026-11-20")
    dialog.get_by_role("button", name="Start").click()
    expect(page.get_by_role("heading", name=re.compile("Stripe Running"))).to_be_visible()
    asked = {"provider": "stripe", "start_date": "2026-11-20"}
    assert book.sent == [("reconciliations", asked)]
    expect(page.get_by_text("At the refunds; 1,200 read")).to_be_visible()
    book.run |= {"status": "done", "finished_at": now().isoformat()}
    expect(page.get_by_role("heading", name=re.compile("Stripe Done"))).to_be_visible()
    expect(page.get_by_role("table", name="What this run has seen")).to_contain_text("ch_1")
    judge(page, "run")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save the breaks as CSV").click()
    assert saved.value.suggested_filename == f"breaks-{RUN}.csv"


def test_both_sides_of_a_break_stand_next_to_each_other(page):
    book = Book(page)
    go(page, f"/operations/breaks/{BREAK}")
    row = page.get_by_role("row").filter(has_text="99.00")
    expect(row).to_contain_text("100.00")
    expect(row).to_contain_text("differs")
    expect(page.get_by_role("row").filter(has_text="differs")).to_have_count(1)
    expect(page.get_by_role("button", name="Repair")).to_have_count(0)
    judge(page, "break")
    page.get_by_role("button", name="Take it").click()
    expect(page.get_by_text("Mine")).to_be_visible()
    page.get_by_role("button", name="Resolve").click()
    dialog = page.get_by_role("dialog", name="How was it seen to?")
    dialog.get_by_role("button", name="Resolve").click()
    expect(dialog.get_by_label("Note")).to_be_focused()
    dialog.get_by_label("Note").fill("Agreed by telephone.")
    dialog.get_by_role("button", name="Resolve").click()
    expect(page.get_by_text("Agreed by telephone.")).to_be_visible()
    assert book.sent[-1] == (f"breaks/{BREAK}/resolve", {"note": "Agreed by telephone."})
    expect(page.get_by_role("button", name="Resolve")).to_have_count(0)


def test_a_safe_break_is_repaired_by_one_click(page):
    book = Book(page)
    book.found |= {"kind": "missing_locally", "ours": None, "is_repairable": True}
    go(page, "/operations/breaks")
    page.get_by_role("link", name="Missing here").click()
    expect(page.get_by_text("We have nothing of this.")).to_be_visible()
    told = page.get_by_role("status").filter(has_text="It is being repaired.")
    failed = page.get_by_text("The repair has failed: It is unknown.")
    page.get_by_role("button", name="Repair").click()
    expect(told).to_be_visible()
    book.found["repair_error"] = "It is unknown."
    expect(failed).to_be_visible()
    page.get_by_role("button", name="Repair").click()
    expect(told).to_be_visible()
    expect(failed).to_have_count(0)
    book.found["status"] = "repaired"
    expect(page.get_by_role("heading", name="Missing here Repaired")).to_be_visible()
    expect(told).to_have_count(0)
    assert book.sent[0][0] == f"breaks/{BREAK}/repair"


def test_a_payout_says_what_it_is_made_up_of(page):
    Book(page)
    go(page, "/operations/payouts")
    page.get_by_role("link", name="23 Nov 2026").click()
    parts = page.get_by_role("table", name="What it is made up of")
    expect(parts).to_contain_text("₹1,000.00")
    expect(parts).to_contain_text("₹30.00")
    judge(page, "payout")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save its report as CSV").click()
    assert saved.value.suggested_filename == f"payout-{PAYOUT}.csv"


def test_a_run_goes_through_to_its_end(page):
    go(page, "/operations/reconciliations")
    page.get_by_role("button", name="Start a run").click()
    dialog = page.get_by_role("dialog", name="Compare with a provider")
    dialog.get_by_label("From").fill("2000-01-01")
    dialog.get_by_role("button", name="Start").click()
    expect(dialog.get_by_text("is more than 366 days before the end")).to_be_visible()
    day = str((now() - timedelta(days=2)).date())
    dialog.get_by_label("From").fill(day)
    dialog.get_by_label("To", exact=True).fill(day)
    dialog.get_by_role("button", name="Start").click()
    expect(page.get_by_role("heading", name=re.compile("Stripe Done"))).to_be_visible()
    expect(page.get_by_text("Read from Stripe")).to_be_visible()


def test_without_a_company_each_page_says_what_to_do(page):
    go(page, "/analytics")
    expect(page.get_by_role("heading", name="Choose a company")).to_be_visible()
    expect(page.get_by_text("choose the one to act for")).to_be_visible()
