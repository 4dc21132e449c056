"""What an operator does on the page: dead letters looked into and replayed, alerts, reviews."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from sqlalchemy import select

from models.alerts import Severity, raise_alert
from models.outbox import Owed
from tests.console.till import ERROR, Till
from tests.waiting import wait_for


@pytest.fixture
def letters(console):
    """A company, and two charges of it that were given up."""
    till = Till(console.system.member())
    return till.owner.company_id, [till.give_up(console.system) for _ in range(2)]


def is_gone(console, company_id, letter_ids):
    with console.system.session(company_id) as session:
        return not session.scalars(select(Owed.id).where(Owed.id.in_(letter_ids))).all()


def act_for(page, company_id):
    """Choose a company as its button in the page for that would."""
    page.evaluate(
        """async (id) => {
            const {actFor} = await import("/console/static/js/session.js");
            actFor({id, name: "A company"});
        }""",
        str(company_id),
    )


def test_dead_letters_are_foreseen_and_replayed_one_and_many(console, letters):
    company_id, letter_ids = letters
    console.operator()
    page = console.open("/operations")
    expect(page.get_by_role("heading", name="Operations")).to_be_visible()
    act_for(page, company_id)
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(2)
    expect(page.get_by_role("button", name="Dry run")).to_be_disabled()

    rows.first.get_by_role("link").first.click()
    expect(page.get_by_text(ERROR)).to_be_visible()
    page.get_by_role("button", name="Dry run").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("no provider was called")
    expect(dialog.locator(".foreseen")).to_have_count(1)
    dialog.get_by_role("button", name="Close").last.click()
    assert not is_gone(console, company_id, letter_ids[:1])

    page.get_by_role("link", name="Dead letters").click()
    for box in page.get_by_role("checkbox").all():
        box.check()
    page.get_by_role("button", name="Replay", exact=True).click()
    dialog.get_by_label("Note").fill("The disk is larger now.")
    dialog.get_by_role("button", name="Replay").click()
    expect(page.get_by_text("Nothing was given up")).to_be_visible()
    expect(page.get_by_text("Choose some to replay them.")).to_be_visible()
    wait_for(lambda: is_gone(console, company_id, letter_ids))


def test_a_dead_letter_is_dismissed_and_an_alert_resolved_with_a_note(console, letters):
    company_id, letter_ids = letters
    with console.system.session(company_id) as session:
        raise_alert(
            session,
            "needs_review",
            severity=Severity.CRITICAL,
            message="Nobody can tell.",
            company_id=company_id,
        )
    console.operator()
    page = console.open("/operations")
    expect(page.get_by_role("heading", name="Operations")).to_be_visible()
    act_for(page, company_id)
    page.locator("tbody tr").first.get_by_role("link").first.click()
    page.get_by_role("button", name="Dismiss").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Dismiss").click()
    expect(dialog.locator(".field-error:not([hidden])")).to_be_visible()
    dialog.get_by_label("Why").fill("The customer was told.")
    dialog.get_by_role("button", name="Dismiss").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Dismissed")
    expect(page.get_by_text("The customer was told.")).to_be_visible()
    page.get_by_role("button", name="Replay").click()
    dialog.get_by_role("button", name="Replay").click()
    expect(page.get_by_text("It is owed again")).to_be_visible()

    console.go(page, "/operations/alerts")
    page.get_by_role("button", name="Resolve: Nobody can tell.").click()
    dialog.get_by_label("How it was seen to").fill("Asked the bank.")
    dialog.get_by_role("button", name="Resolve").click()
    expect(page.get_by_role("row", name="Nobody can tell.")).to_contain_text("Asked the bank.")
    console.go(page, "/operations")
    page.get_by_role("button", name="Replay all").click()
    dialog.get_by_role("button", name="Replay").click()
    wait_for(lambda: is_gone(console, company_id, letter_ids))
