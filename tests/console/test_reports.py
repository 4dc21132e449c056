"""Reports and schedules as people ask for them; the API is played where it is said."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Page, Route, expect

from models.analytics_events import NewEvent, Source, event_id, store
from models.clock import now
from tests.client import Client
from tests.console.test_analytics import SHOW, leave
from tests.console.test_looks import AXE, judge

API = re.compile(r"/api/v1/(reports|report-schedules|metrics)")
ID = str(uuid4())
RESULTS = {
    "columns": [
        {"name": "month", "kind": "date"},
        {"name": "currency", "kind": "text"},
        {"name": "mrr", "kind": "number"},
    ],
    "rows": [["2026-10-01", "=INR", "9007199254740993.2501"]],
}


@pytest.fixture(scope="module")
def owner(lasting) -> Client:
    console, _ = lasting
    return console.owner()


@pytest.fixture(scope="module")
def only_page(lasting, owner) -> Page:
    console, page = lasting
    console.go(page, "/people")
    expect(page.locator("#connection")).to_contain_text("Live")
    page.evaluate(AXE)
    return page


@pytest.fixture
def page(only_page) -> Iterator[Page]:
    yield only_page
    leave(only_page)


class Desk:
    """What the API would answer of reports, and what was sent to it."""

    def __init__(self, page: Page) -> None:
        moment = now()
        self.sent: list[tuple[str, str, Any]] = []
        self.row: dict[str, Any] = {
            "id": ID,
            "company_id": str(uuid4()),
            "report_name": "Of the year",
            "report_type": "custom",
            "query_params": {"from": "2026-01-01", "to": "2026-10-31", "metrics": ["mrr"]},
            "status": "pending",
            "error": None,
            "row_count": None,
            "is_cut": False,
            "results": None,
            "generated_at": None,
            "expires_at": (moment + timedelta(days=90)).isoformat(),
            "created_at": moment.isoformat(),
        }
        self.schedules: list[dict[str, Any]] = []
        page.route(API, self.answer)

    def answer(self, route: Route) -> None:
        path = route.request.url.partition("/api/v1/")[2].partition("?")[0]
        body = route.request.post_data_json if route.request.method in {"POST", "PATCH"} else None
        if route.request.method != "GET":
            self.sent.append((route.request.method, path, body))
        if path == "metrics":
            route.fulfill(json={"data": [{"name": "revenue"}, {"name": "mrr"}]})
        elif path.startswith("report-schedules"):
            route.fulfill(json=self.schedule(route.request.method, body))
        elif path.endswith(".csv"):
            route.fulfill(body="month\r\n", content_type="text/csv")
        elif path == "reports" and route.request.method == "GET":
            route.fulfill(json={"data": [self.row], "next_cursor": None})
        else:
            route.fulfill(json=self.row)

    def schedule(self, method: str, body: dict[str, Any] | None) -> dict[str, Any]:
        if method == "POST" and body is not None:
            more = {"id": ID, "query_params": body["query"], "status": "active", "runs": 0}
            self.schedules = [{**body, **more, "next_run_at": now().isoformat()}]
        elif method == "PATCH":
            self.schedules[0] |= {"status": "paused", "next_run_at": None}
        elif method == "DELETE":
            self.schedules = []
        return {"data": self.schedules, "next_cursor": None}


def go(page: Page, path: str) -> None:
    page.evaluate(SHOW, path)
    expect(page.locator("#view .bone")).to_have_count(0)


def test_a_question_of_ones_own_is_asked_and_read(page):
    desk = Desk(page)
    go(page, "/analytics/reports")
    page.get_by_role("button", name="Ask for a report").click()
    dialog = page.get_by_role("dialog", name="Ask for a report")
    expect(dialog.get_by_label("Over all companies")).to_have_count(0)
    dialog.get_by_label("What", exact=True).select_option("custom")
    dialog.get_by_role("button", name="Ask").click()
    expect(dialog.get_by_text("Choose at least one.")).to_be_visible()
    dialog.get_by_label("MRR").check()
    dialog.get_by_label("Currency", exact=True).check()
    dialog.get_by_label("Days", exact=True).select_option("own")
    dialog.get_by_label("From").fill("2026-01-01")
    dialog.get_by_label("To", exact=True).fill("2026-10-31")
    dialog.get_by_label("In", exact=True).select_option("month")
    dialog.get_by_label("Only in the currency").fill("inr")
    judge(page, "report dialog")
    dialog.get_by_role("button", name="Ask").click()
    expect(page.get_by_role("heading", name="Of the year Being made")).to_be_visible()
    [(_, path, body)] = desk.sent
    assert path == "reports"
    assert body == {
        "report_type": "custom",
        "query": {
            "from": "2026-01-01",
            "to": "2026-10-31",
            "metrics": ["mrr"],
            "dimensions": ["month", "currency"],
            "filters": [{"field": "currency", "op": "eq", "value": "INR"}],
        },
    }
    desk.row |= {"status": "done", "results": RESULTS, "row_count": 1}
    rows = page.get_by_role("table", name="What came of it")
    expect(rows).to_contain_text("9,007,199,254,740,993.2501")
    expect(rows.get_by_role("columnheader", name="MRR")).to_be_visible()
    judge(page, "report")
    with page.expect_download() as saved:
        page.get_by_role("button", name="CSV").click()
    assert saved.value.suggested_filename == f"report-{ID}.csv"


def test_a_report_is_scheduled_paused_and_deleted(page):
    desk = Desk(page)
    go(page, "/analytics/schedules")
    expect(page.get_by_text("Nothing is scheduled")).to_be_visible()
    page.get_by_role("button", name="Schedule a report").click()
    dialog = page.get_by_role("dialog", name="Schedule a report")
    dialog.get_by_label("Name").fill("Weekly")
    dialog.get_by_label("When").select_option("own")
    dialog.get_by_label("Cron").fill("30 6 * * 5")
    dialog.get_by_role("button", name="Schedule").click()
    row = page.get_by_role("row").filter(has_text="Weekly")
    expect(row).to_contain_text("30 6 * * 5")
    assert desk.sent[0][2] == {
        "report_type": "revenue",
        "report_name": "Weekly",
        "query": {"period": "last_30_days", "granularity": "day"},
        "cron": "30 6 * * 5",
        "mail": True,
    }
    row.get_by_role("button", name="Pause").click()
    expect(row).to_contain_text("Paused")
    judge(page, "schedules")
    row.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog", name="Delete it?").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Nothing is scheduled")).to_be_visible()
    assert [method for method, _, _ in desk.sent] == ["POST", "PATCH", "DELETE"]


def test_what_was_paid_is_in_a_report_that_a_worker_makes(page, lasting, owner):
    console, _ = lasting
    company_id = owner.company_id
    with console.system.session(company_id) as session:
        paid = NewEvent(
            id=event_id(company_id, "payment.succeeded", "one"),
            company_id=company_id,
            event_type="payment",
            name="payment.succeeded",
            timestamp=now() - timedelta(days=3),
            source=Source.OWN,
            amount=Decimal("1234.50"),
            currency="INR",
        )
        assert store(session, [paid]) == 1
    go(page, "/analytics/reports")
    page.get_by_role("button", name="Ask for a report").click()
    dialog = page.get_by_role("dialog", name="Ask for a report")
    dialog.get_by_label("Name").fill("What was paid")
    dialog.get_by_role("button", name="Ask").click()
    expect(page.get_by_role("heading", name="What was paid Done")).to_be_visible()
    rows = page.get_by_role("table", name="What came of it")
    expect(rows.get_by_role("row").filter(has_text="INR")).to_contain_text("1,234.5")
    with page.expect_download() as saved:
        page.get_by_role("button", name="CSV").click()
    assert "1234.5" in saved.value.path().read_text()
