"""Exchange rates, totals in one currency and what companies were billed, as operators see them."""

from __future__ import annotations

from decimal import Decimal

from playwright.sync_api import expect
from sqlalchemy import delete

from models.clock import now
from models.fx import BASE, OPEN_EXCHANGE_RATES, FxRate
from models.fx_fetches import Sheet, store
from models.tenants import Company
from tests.console.till import Till


def test_sums_of_two_currencies_are_told_in_one_and_what_has_no_rate_is_named(console):
    system = console.system
    company_id = system.company("Rates and Sons")
    till = Till(system.member(company_id=company_id))
    till.issue("840.00")
    for currency in ("USD", "GBP"):
        till.issue("10.00", currency=currency)
    rates = {"INR": Decimal(84), "EUR": Decimal("0.9")}
    with system.session() as session:
        store(session, Sheet(OPEN_EXCHANGE_RATES, BASE, now(), rates), moment=now())
    try:
        console.sign_in(till.owner)
        page = console.open("/")
        card = page.get_by_role("article", name="All in INR")
        expect(card).to_contain_text("₹1,680.00")
        expect(card).to_contain_text("Without GBP (no rate)")
        operator = console.operator()
        page = console.open("/companies")
        row = page.get_by_role("row").filter(has_text="Rates and Sons").filter(has_text="USD")
        expect(row).to_contain_text("$10.00")
        expect(row).to_contain_text("₹840.00")
        pounds = page.get_by_role("row").filter(has_text="Rates and Sons").filter(has_text="GBP")
        expect(pounds).to_contain_text("no rate")
        page.goto(f"{system.web_url}/console/health")
        panel = page.get_by_role("region", name="Exchange rates")
        expect(panel).to_contain_text("Fresh")
        expect(panel).to_contain_text("0.9")
        panel.get_by_role("button", name="Ask the source now").click()
        expect(page.get_by_text("No source of exchange rates is set up.")).to_be_visible()
        assert operator.get("/api/v1/fx/fetches").body["data"] == []
    finally:
        with system.session() as session:
            session.execute(delete(FxRate))
            session.get_one(Company, company_id).name = "A company"
