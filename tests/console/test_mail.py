"""Mail on the page: what was written to whom, sent again, looked at; and what the sandbox keeps."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from sendgrid import SendGridAPIClient

from models.ids import new_id
from models.mail import Mail, MailStatus
from models.notifications import Notification
from tests.console.test_operations import act_for
from tests.console.till import Till
from tests.waiting import wait_for
from worker.mail.letter import Letter
from worker.mail.sendgrid import body_of


@pytest.fixture
def mails(console):
    """A company, and two letters to it: one went out, of one it is not known."""
    company_id = Till(console.system.member()).owner.company_id
    with console.system.session(company_id) as session:
        notice = Notification(
            id=new_id(),
            company_id=company_id,
            template="payment_failed",
            subject="transaction",
            subject_id=new_id(),
            number=1,
            arguments={},
        )
        session.add(notice)
        made = [
            Mail(
                company_id=company_id,
                notification_id=notice.id,
                template=notice.template,
                entity=notice.subject,
                entity_id=notice.subject_id,
                number=1,
                recipient=f"{status}@example.com",
                status=status,
                provider="smtp",
                error_message="timeout: no answer" if status == MailStatus.UNKNOWN else None,
            )
            for status in (MailStatus.DELIVERED, MailStatus.UNKNOWN)
        ]
        session.add_all(made)
        session.flush()
        return company_id, made[1].id


def test_a_letter_of_which_nobody_knows_is_sent_again_and_each_can_be_looked_at(console, mails):
    company_id, mail_id = mails
    console.operator()
    page = console.open("/operations/mails")
    expect(page.get_by_role("heading", name="Operations")).to_be_visible()
    act_for(page, company_id)
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(2)
    page.get_by_label("Status").select_option("unknown")
    expect(rows).to_have_count(1)
    page.get_by_role("button", name="Send Payment failed to unknown@example.com again").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("gets it twice")
    dialog.get_by_label("Note").fill("They asked for it.")
    dialog.get_by_role("button", name="Send again").click()
    expect(page.get_by_text("It is sent again.")).to_be_visible()

    def is_seen_to() -> bool:
        with console.system.session(company_id) as session:
            # No worker here has a way to send mail.
            return session.get_one(Mail, mail_id).status == MailStatus.SUPPRESSED

    wait_for(is_seen_to)
    with console.context.expect_page() as opened:
        page.get_by_role("link", name="Preview Payment failed (de)").click()
    expect(opened.value.get_by_text("Guten Tag")).to_be_visible()


def test_the_sandbox_shows_what_was_sent(console):
    stand_in = console.system.parts["mail"].start()
    letter = Letter(
        id=new_id(),
        template="payment_failed",
        sender="Paybeat <billing@example.com>",
        reply_to="",
        to="meera@example.com",
        subject="Your payment did not go through",
        text="Hello",
        html="<p>Hello Meera</p>",
    )
    try:
        client = SendGridAPIClient("SG.tests", host=console.system.mail_url)
        assert client.send(body_of(letter)).status_code == 202
        console.sign_in(console.system.member())
        page = console.open("/sandbox")
        link = page.get_by_role("link", name=letter.subject)
        expect(link).to_be_visible()
        expect(page.get_by_text("meera@example.com")).to_be_visible()
        with console.context.expect_page() as opened:
            link.click()
        expect(opened.value.get_by_text("Hello Meera")).to_be_visible()
    finally:
        stand_in.stop()
