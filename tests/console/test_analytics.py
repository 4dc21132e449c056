"""Charts as people meet them: drawn, listed, saved, compared, by pointer and by keys.

One page for all of them; what the API answers is played where a test says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, Route, expect
from sqlalchemy import select

from models import daily_metrics
from models.analytics_events import DirtyDay, NewEvent, Source, event_id, store
from models.clock import now
from tests.client import Client
from tests.waiting import wait_for

NAMES = re.compile(r"/api/v1/metrics$")
SERIES = re.compile(r"/api/v1/metrics/series")
# Of each chart the one that it draws.
DRAWN = (
    *("revenue", "net_revenue", "payment_success_rate", "mrr", "recoveries", "recovery_rate"),
    *("usage", "refunds", "errors"),
)
SHOW = """async (path) => {
    const {navigate} = await import("/console/static/js/router.js");
    navigate(path);
}"""

FORGET = """async () => {
    const {clear} = await import("/console/static/js/query.js");
    clear();
}"""


@pytest.fixture(scope="module")
def owner(lasting) -> Client:
    console, _ = lasting
    return console.owner()


@pytest.fixture(scope="module")
def only_page(lasting, owner) -> Page:
    console, page = lasting
    console.go(page, "/people")
    expect(page.locator("#connection")).to_contain_text("Live")
    return page


@pytest.fixture
def page(only_page) -> Iterator[Page]:
    yield only_page
    leave(only_page)


def leave(page: Page) -> None:
    """Go elsewhere and forget what was played."""
    page.evaluate(SHOW, "/people")
    page.unroute_all()
    page.evaluate(FORGET)


class Played:
    """Answers of `/metrics/series`, and what was asked of it."""

    def __init__(self, page: Page, **values: Any) -> None:
        self.asked: list[dict[str, list[str]]] = []
        self.values = values
        self.stale: list[Any] = []
        page.route(SERIES, self.answer)
        names = {"data": [{"name": name} for name in DRAWN]}
        page.route(NAMES, lambda route: route.fulfill(json=names))

    def answer(self, route: Route) -> None:
        asked = parse_qs(urlsplit(route.request.url).query)
        self.asked.append(asked)
        names = [name for name in asked["metrics"][0].split(",") if name in self.values]
        data = [self._series(name, *given, asked) for name in names for given in self._of(name)]
        body = {"from": asked["from"][0], "to": asked["to"][0], "data": data}
        route.fulfill(json=body | {"stale_rates": self.stale})

    def _of(self, name: str) -> list[tuple[str, list[str | None]]]:
        given = self.values[name]
        return list(given.items()) if isinstance(given, dict) else [("", given)]

    def _series(
        self, name: str, dimension: str, values: list[str | None], asked: dict[str, list[str]]
    ) -> dict[str, Any]:
        last = date.fromisoformat(asked["to"][0])
        points = _points(values, last)
        series = {
            "metric": name,
            "unit": "money",
            "currency": asked.get("currency", ["INR"])[0],
            "dimension": dimension,
            "points": points,
            "total": _total(values),
        }
        if "compare" in asked:
            before = [None if each is None else str(Decimal(each) / 2) for each in values]
            points = _points(before, last - timedelta(days=len(values)))
            series["previous"] = {"points": points, "total": _total(before)}
        return series


def _points(values: list[str | None], last: date) -> list[dict[str, str | None]]:
    first = last - timedelta(days=len(values) - 1)
    return [
        {"date": str(first + timedelta(days=n)), "value": value} for n, value in enumerate(values)
    ]


def _total(values: list[str | None]) -> str | None:
    known = [Decimal(each) for each in values if each is not None]
    return str(sum(known)) if known else None


def chart(page: Page, title: str):
    return page.get_by_role("region", name=title, exact=True)


def show(page: Page, path: str = "/analytics") -> None:
    page.evaluate(SHOW, path)
    expect(page.get_by_role("heading", name="Analytics", level=1)).to_be_visible()
    expect(page.locator("#view .bone")).to_have_count(0)


def test_a_chart_is_a_drawing_a_table_and_a_file(page):
    Played(page, revenue=["100.00", "0", "9007199254740993.25"])
    show(page, "/analytics?range=7d")
    revenue = chart(page, "Revenue")
    expect(revenue.locator(".figure")).to_have_text("₹9,007,199,254,741,093.25")
    expect(revenue.locator("svg .chart-line")).to_have_count(1)
    expect(revenue).to_contain_text("Up 100%")
    revenue.get_by_role("button", name="Table: Revenue").click()
    table = revenue.get_by_role("table", name="Revenue")
    expect(table.get_by_role("row")).to_have_count(4)
    expect(table).to_contain_text("₹9,007,199,254,740,993.25")
    with page.expect_download() as saved:
        revenue.get_by_role("button", name="CSV: Revenue").click()
    assert re.fullmatch(r"revenue-[\d-]{10}-[\d-]{10}\.csv", saved.value.suggested_filename)
    lines = saved.value.path().read_text("utf-8-sig").splitlines()
    assert lines[0] == "date,Revenue (INR),date before,Period before (INR)"
    assert lines[3].split(",")[1] == "9007199254740993.25"


def test_a_chart_is_read_by_keys_and_says_each_value(page):
    Played(page, revenue=["100.00", "20.00", "30.00"])
    show(page, "/analytics?range=own&from=2026-03-01&to=2026-03-03")
    slider = chart(page, "Revenue").get_by_role("slider", name="Revenue, value by value")
    slider.focus()
    expect(slider).to_have_attribute("aria-valuetext", "3 Mar 2026, ₹30.00, Period before: ₹15.00")
    page.keyboard.press("ArrowLeft")
    expect(slider).to_have_attribute("aria-valuetext", "2 Mar 2026, ₹20.00, Period before: ₹10.00")
    expect(chart(page, "Revenue").locator(".chart-tip")).to_contain_text("₹20.00")
    page.keyboard.press("Home")
    expect(slider).to_have_attribute("aria-valuetext", re.compile("^1 Mar 2026, ₹100.00"))
    box = chart(page, "Revenue").locator(".chart-svg").bounding_box()
    page.mouse.move(box["x"] + box["width"] - 12, box["y"] + 50)
    expect(chart(page, "Revenue").locator(".chart-tip")).to_contain_text("3 Mar 2026")
    page.mouse.move(0, 0)


def test_the_days_stand_in_the_address_and_in_what_is_asked(page):
    played = Played(page, revenue=["1.00"])
    show(page)
    assert played.asked[0]["granularity"] == ["day"]
    assert played.asked[0]["compare"] == ["previous"]
    page.get_by_role("button", name="12 months").click()
    expect(page.get_by_role("button", name="12 months")).to_have_attribute("aria-pressed", "true")
    expect(page).to_have_url(re.compile("range=12m"))
    page.get_by_label("Compare with the period before").uncheck()
    page.get_by_label("By", exact=True).select_option("week")
    expect(page).to_have_url(re.compile("granularity=week&compare=no|compare=no"))
    expect(chart(page, "Revenue").locator(".chart-before")).to_have_count(0)
    assert played.asked[-1]["granularity"] == ["week"]
    assert "compare" not in played.asked[-1]
    page.get_by_role("button", name="Own dates").click()
    page.get_by_label("From").fill("2026-02-10")
    page.get_by_label("To", exact=True).fill("2026-02-01")
    expect(page.get_by_text("The first day comes after the last.")).to_be_visible()
    page.get_by_label("From").fill("2026-01-10")
    expect(page).to_have_url(re.compile("from=2026-01-10&to=2026-02-01"))
    expect(page.get_by_text("10 Jan 2026 to 1 Feb 2026")).to_be_visible()
    assert {each["from"][0] for each in played.asked[-2:]} == {"2026-01-10"}


def test_parts_are_drawn_beside_one_another_and_the_rest_is_counted(page):
    usage = {f"module-{n}": [str(n), "1"] for n in range(8)}
    Played(page, recoveries={"1": ["2", "0"], "2": ["1", "3"]}, usage=usage | {"=1+1": ["99", "9"]})
    show(page)
    steps = chart(page, "Recovered by step of the ladder")
    expect(steps.locator(".chart-column")).to_have_count(3)
    expect(steps.get_by_role("list")).to_contain_text("Retry 2 4")
    used = chart(page, "Usage by module")
    expect(used.locator(".chart-line")).to_have_count(6)
    expect(used).to_contain_text("and 3 more")
    with page.expect_download() as saved:
        used.get_by_role("button", name="CSV").click()
    assert "'=1+1" in saved.value.path().read_text("utf-8-sig").splitlines()[0]


def test_old_rates_are_named_and_another_currency_can_be_chosen(page):
    played = Played(page, revenue=["5.00"])
    played.stale = [{"currency": "GBP", "as_of": "2026-10-01T00:00:00Z"}]
    show(page)
    expect(page.get_by_text("Exchange rates are too old for GBP (of 1 Oct 2026)")).to_be_visible()
    page.get_by_label("Money in").select_option("INR")
    expect(page).to_have_url(re.compile("currency=INR"))
    assert played.asked[-1]["currency"] == ["INR"]


def test_nothing_and_no_answer_are_said_in_each_chart(page):
    Played(page, revenue=["0", "0"])
    show(page)
    expect(chart(page, "Revenue")).to_contain_text("Nothing was paid in these days")
    expect(chart(page, "Errors")).to_contain_text("No errors in these days")
    expect(chart(page, "Revenue").get_by_role("button")).to_have_count(0)
    page.unroute(SERIES)
    problem = {"title": "Too long", "detail": "Ask for fewer days.", "status": 422}
    page.route(
        SERIES,
        lambda route: route.fulfill(
            status=422, json=problem, content_type="application/problem+json"
        ),
    )
    page.get_by_role("button", name="90 days").click()
    expect(chart(page, "Revenue").get_by_role("alert")).to_contain_text("Ask for fewer days.")
    page.unroute(SERIES)
    Played(page, revenue=["7.00"])
    chart(page, "Revenue").get_by_role("button", name="Try again").click()
    expect(chart(page, "Revenue").locator(".figure")).to_have_text("₹7.00")


def test_a_server_without_metrics_is_said_once_and_a_chart_without_its_metric_is_left_out(page):
    gone = {"title": "Not here", "detail": "Nothing is counted.", "status": 404}
    page.route(NAMES, lambda route: route.fulfill(status=404, json=gone))
    page.evaluate(SHOW, "/analytics")
    expect(page.get_by_role("alert")).to_have_count(1)
    expect(page.get_by_role("alert")).to_contain_text("Nothing is counted.")
    expect(chart(page, "Revenue")).to_have_count(0)
    page.unroute(NAMES)
    played = Played(page, revenue=["7.00"])
    page.unroute(NAMES)
    page.route(NAMES, lambda route: route.fulfill(json={"data": [{"name": "revenue"}]}))
    page.get_by_role("button", name="Try again").click()
    expect(chart(page, "Revenue").locator(".figure")).to_have_text("₹7.00")
    expect(page.locator(".chart").filter(visible=True)).to_have_count(1)
    assert played.asked[0]["metrics"] == ["revenue"]


@pytest.fixture(scope="module")
def happened(lasting, owner) -> None:
    """What came about in February and March, stored and rolled up; nothing of it is played."""
    console, _ = lasting
    company_id = owner.company_id
    told: list[tuple[str, str, dict[str, Any]]] = [
        ("2026-02-27", "payment.succeeded", {"amount": "10.00", "currency": "INR"}),
        ("2026-03-01", "payment.succeeded", {"amount": "40.50", "currency": "INR"}),
        ("2026-03-03", "payment.succeeded", {"amount": "19.50", "currency": "INR"}),
        ("2026-03-03", "refund.succeeded", {"amount": "5.25", "currency": "INR"}),
        ("2026-01-05", "mrr.changed", {"amount": "1200.00", "currency": "INR"}),
        ("2026-03-02", "mrr.changed", {"amount": "300.00", "currency": "INR"}),
        *(("2026-03-02", "payment.attempted", {"dimension": each}) for each in ("", "", "", "x")),
        *(("2026-03-02", "payment.recovered", {"dimension": each}) for each in "112"),
        ("2026-03-03", "usage.recorded", {"quantity": "7.5", "dimension": "storage"}),
        ("2026-03-03", "usage.recorded", {"quantity": "2", "dimension": "seats"}),
    ]
    events = [
        NewEvent(
            id=event_id(company_id),
            company_id=company_id,
            event_type="payment",
            name=name,
            timestamp=datetime.fromisoformat(f"{day}T12:00Z"),
            source=Source.OWN,
            **{
                field: Decimal(value) if field in {"amount", "quantity"} else value
                for field, value in more.items()
            },
        )
        for day, name, more in told
    ]
    with console.system.session() as session:
        store(session, events)
    wait_for(lambda: are_rolled_up(console, company_id))


def are_rolled_up(console, company_id) -> bool:
    """Roll up what nobody else has; say whether nothing of the company's is left."""
    with console.system.session() as session:
        claimed = daily_metrics.claim(session, before=now())
    if claimed:
        with console.system.session() as session:
            daily_metrics.roll_up(session, claimed)
    with console.system.session(company_id) as session:
        return session.scalar(select(DirtyDay.id).limit(1)) is None


MARCH = "/analytics?range=own&from=2026-03-01&to=2026-03-03"


def test_what_was_paid_is_drawn_compared_and_listed(happened, page):
    show(page, MARCH)
    revenue = chart(page, "Revenue")
    expect(revenue.locator(".figure")).to_have_text("₹60.00")
    expect(revenue).to_contain_text("Up 500%")
    revenue.get_by_role("button", name="Table: Revenue").click()
    rows = revenue.get_by_role("table", name="Revenue").get_by_role("row")
    expect(rows).to_have_count(4)
    expect(rows.nth(1)).to_contain_text("₹40.50")
    expect(rows.nth(2)).to_contain_text("₹0.00")
    expect(chart(page, "Net revenue").locator(".figure")).to_have_text("₹54.75")
    expect(chart(page, "Monthly recurring revenue").locator(".figure")).to_have_text("₹1,500.00")


def test_shares_and_parts_are_of_what_happened(happened, page):
    show(page, MARCH)
    expect(chart(page, "Payment success rate").locator(".figure")).to_have_text("75%")
    steps = chart(page, "Recovered by step of the ladder").get_by_role("list")
    expect(steps).to_contain_text("Retry 1 2")
    expect(steps).to_contain_text("Retry 2 1")
    used = chart(page, "Usage by module").get_by_role("list")
    expect(used).to_contain_text("storage 7.5")
    expect(used).to_contain_text("seats 2")


def test_each_chart_of_what_happened_is_a_file_and_of_nothing_says_so(happened, page):
    show(page, MARCH)
    used = chart(page, "Usage by module")
    with page.expect_download() as saved:
        used.get_by_role("button", name="CSV").click()
    lines = saved.value.path().read_text("utf-8-sig").splitlines()
    assert lines[0] == "date,seats,storage"
    assert [each.split(",")[0] for each in lines[1:]] == ["2026-03-01", "2026-03-02", "2026-03-03"]
    expect(chart(page, "Errors")).to_contain_text("No errors in these days")
