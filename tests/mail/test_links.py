"""Who wants no more mail of a kind says so by a letter's own link."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from sqlalchemy import event

from models.mail import SuppressionReason, suppress
from tests.mail.test_events import suppressions
from worker.database import transaction
from worker.mail.links import token_of, unsubscribe_link

ONE_CLICK = {"List-Unsubscribe": "One-Click"}


def path_of(mail) -> str:
    parts = urlsplit(unsubscribe_link(mail.id))
    return f"{parts.path}?{parts.query}"


@pytest.fixture
def path(office) -> str:
    """The link of a letter that one may do without."""
    office.notify("trial_ending")
    office.send()
    return path_of(office.letter())


def test_one_click_is_enough_and_looking_is_not(office, browser, path):
    page = browser.get(path)
    assert page.status_code == 200
    assert "Trial ending" in page.text
    assert suppressions(office) == set()
    for _ in range(2):
        assert browser.post(path, data=ONE_CLICK).status_code == 200
    assert suppressions(office) == {("billing@example.com", "trial_ending", "unsubscribed")}
    office.notify("trial_ending")
    office.notify("usage_alert")
    office.send()
    assert office.statuses() == ["sent", "suppressed", "sent"]


def test_two_clicks_at_once_both_succeed(office):
    asked = (office.customer.tenant_id, "billing@example.com")

    def click(session, reason):
        return suppress(session, *asked, scope="trial_ending", reason=reason).reason

    def be_quicker(*_):
        with transaction() as other:
            click(other, SuppressionReason.MANUAL)

    with transaction() as session:
        event.listen(session, "before_flush", be_quicker, once=True)
        assert click(session, SuppressionReason.UNSUBSCRIBED) == "manual"
    assert suppressions(office) == {("billing@example.com", "trial_ending", "manual")}


def test_the_page_offers_to_leave_all_that_is_optional(office, browser, path):
    assert browser.post(path, data={"scope": "all_optional"}).status_code == 200
    assert suppressions(office) == {("billing@example.com", "all_optional", "unsubscribed")}
    office.notify("usage_alert")
    office.notify("payment_failed")
    office.send()
    assert office.statuses() == ["sent", "suppressed", "sent"]


def test_a_link_that_is_not_ours_leads_nowhere(office, browser, path):
    office.notify("payment_failed")
    receipt = office.letters()[-1]
    unsigned = f"/mail/unsubscribe?token={token_of(receipt.id).partition('.')[0]}"
    for wrong in (path_of(receipt), path[:-1], f"{path}x", "/mail/unsubscribe", unsigned):
        for method in (browser.get, browser.post):
            assert method(wrong).status_code == 404, wrong
    assert suppressions(office) == set()


def test_the_page_loads_nothing_and_sends_only_to_itself(browser, path):
    page = browser.get(path)
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "form-action 'self'" in policy
    assert "src=" not in page.text
    assert page.headers["Referrer-Policy"] == "no-referrer"
