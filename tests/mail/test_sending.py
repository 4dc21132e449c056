"""A letter goes out once, whatever dies or is lost on the way."""

from __future__ import annotations

import base64
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select

from models import clock
from models.alerts import Alert
from models.base import across_companies
from models.invoices import Invoice, Line, draft
from models.mail import ALL, ALL_OPTIONAL, MailStatus, SuppressionReason, suppress
from models.notifications import Notification
from models.outbox import Owed, OwedStatus
from models.preferences import choose
from models.tenants import Role, User
from models.timeline import Cause, history
from tasks import mail as tasks
from tests.bell import ring
from tests.factories import make_company
from tests.mail.office import Killed, Office, dying_at
from worker.billing import issue
from worker.database import transaction
from worker.pdf import of_invoice
from worker.settings import settings


def wait_out_the_lease() -> None:
    ahead = timedelta(seconds=settings().claim_lease_s + 1)
    clock.advance_by(lambda: ahead)


def alerts_of(office: Office, kind: str) -> list[Alert]:
    query = select(Alert).where(Alert.company_id == office.company_id, Alert.kind == kind)
    with transaction() as session:
        return list(session.scalars(across_companies(query, because="a test")))


def test_each_of_a_companys_people_gets_one_letter(office):
    office.be(email="Bills@Example.com")
    with transaction() as session:
        for name, role, is_active in (
            ("owner", Role.OWNER, True),
            ("admin", Role.BILLING_ADMIN, True),
            ("left", Role.OWNER, False),
            ("member", Role.MEMBER, True),
        ):
            session.add(
                User(
                    tenant_id=office.customer.tenant_id,
                    company_id=office.company_id,
                    email=f"{name}-{office.company_id}@Example.com",
                    password_hash="none",
                    role=role,
                    is_active=is_active,
                )
            )
        session.get_one(User, office.customer.user_id).email = "bills@example.com"
        session.get_one(User, office.customer.user_id).is_active = True
    about = office.notify("payment_failed")
    office.run(office.owe("payment_failed", about))
    office.send()
    assert [(each.recipient, str(each.status)) for each in office.letters()] == [
        ("bills@example.com", "sent"),
        (f"owner-{office.company_id}@example.com", "sent"),
        (f"admin-{office.company_id}@example.com", "sent"),
    ]
    assert all(len(office.sent(each)) == 1 for each in office.letters())
    another = make_company()
    assert another.email not in {each.recipient for each in office.letters()}


def test_a_letter_is_whole_and_nobody_is_watched_by_it(office):
    office.be(name="Meera & Söhne", language="de", time_zone="Europe/Berlin", currency="EUR")
    office.notify("retry_scheduled", amount="1234.50", currency="EUR", action="add_funds")
    office.send()
    [message] = office.stand_in.control.book()["messages"]
    body = message["body"]
    assert body["personalizations"][0]["custom_args"] == {"mail_id": str(office.letter().id)}
    assert body["categories"] == ["retry_scheduled"]
    assert not any(each["enable"] for each in body["tracking_settings"].values())
    assert "headers" not in body
    text, html = (each["value"] for each in body["content"])
    assert body["subject"] == (
        "Ihre Zahlung von 1.234,50\xa0€ ist fehlgeschlagen; wir versuchen es erneut"
    )
    assert "24. November 2026, 11:00:00 MEZ" in text
    assert "Meera & Söhne" in text
    assert "Meera &amp; Söhne" in html
    assert "<img" not in html
    assert "src=" not in html


def test_what_one_may_do_without_says_how(office):
    office.notify("trial_ending")
    office.send()
    [message] = office.stand_in.control.book()["messages"]
    headers = message["body"]["headers"]
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = headers["List-Unsubscribe"].strip("<>")
    assert link.startswith("https://pay.example.com/mail/unsubscribe?token=")
    assert all(link in each["value"] for each in message["body"]["content"])


@pytest.mark.parametrize(
    ("point", "sent", "status"),
    [
        ("mail.claimed", 0, MailStatus.UNKNOWN),
        ("mail.called", 1, MailStatus.UNKNOWN),
        ("mail.recorded", 1, MailStatus.SENT),
    ],
)
def test_a_worker_that_dies_at_any_step_never_has_it_sent_twice(
    office, monkeypatch, point, sent, status
):
    office.notify("payment_failed")
    [owed] = office.owed()
    with dying_at(monkeypatch, point), pytest.raises(Killed):
        ring("mail.send", owed.id)
    ring("mail.send", owed.id, redelivered=True)  # at once: whoever has it may live
    wait_out_the_lease()
    for _ in range(2):
        ring("mail.send", owed.id, redelivered=True)
    assert len(office.sent()) == sent
    assert office.letter().status == status
    assert office.owed() == []


def test_a_message_that_comes_twice_finds_nothing_owed(office):
    office.notify("payment_failed")
    [owed] = office.owed()
    for again in (False, False, True):
        ring("mail.send", owed.id, redelivered=again)
    assert len(office.sent()) == 1
    assert office.statuses() == ["sent"]
    mail = office.letter()
    assert mail.provider_message_id
    with transaction(company_id=office.company_id) as session:
        lines = [(line.was, line.became) for line in history(session, [mail.id])]
    assert lines == [("owed", "sending"), ("sending", "sent")]


@pytest.mark.parametrize(
    ("fault", "sent"),
    [
        ({"kind": "drop_after"}, 1),
        ({"kind": "drop_before"}, 0),
        ({"kind": "server_error", "executed": True}, 1),
        ({"kind": "server_error", "executed": False}, 0),
    ],
)
def test_what_may_have_been_sent_is_not_sent_again(office, unbroken, fault, sent):
    office.stand_in.control.fault(**fault)
    office.notify("payment_failed")
    office.send()
    office.send()
    assert office.statuses() == ["unknown"]
    assert office.owed() == []
    assert len(office.sent()) == sent


def test_after_a_day_people_are_told_of_what_nobody_knows(office):
    office.stand_in.control.fault("drop_before")
    office.notify("payment_failed")
    office.send()
    tasks.watch()
    assert alerts_of(office, "mail_unknown") == []
    clock.advance_by(lambda: timedelta(hours=25))
    for _ in range(2):
        tasks.watch()
    [told] = alerts_of(office, "mail_unknown")
    assert str(office.letter().id) in told.message
    assert office.letter().recipient not in told.message


@pytest.mark.parametrize("fault", ["rate_limit", "key", "away"])
def test_what_was_surely_not_sent_comes_again_later(office, unbroken, monkeypatch, fault):
    if fault == "rate_limit":
        office.stand_in.control.fault("rate_limit")
    elif fault == "key":
        monkeypatch.setenv("SENDGRID_API_KEY", "nonsense")
    else:
        monkeypatch.setenv("SENDGRID_API_BASE", "http://127.0.0.1:1")
    for each in (settings, tasks.post_of):
        each.cache_clear()
    office.notify("payment_failed")
    office.send()
    assert office.statuses() == ["owed"]
    [owed] = office.owed()
    assert owed.failures == 0
    assert owed.due_at >= office.letter().updated_at + timedelta(seconds=50)
    monkeypatch.setenv("SENDGRID_API_KEY", "SG.tests")
    monkeypatch.setenv("SENDGRID_API_BASE", office.stand_in.url)
    for each in (settings, tasks.post_of):
        each.cache_clear()
    office.send()
    assert office.statuses() == ["sent"]
    assert len(office.sent()) == 1


def test_what_is_refused_as_it_is_is_shown_to_people(office):
    office.be(email="no address")
    office.notify("payment_failed")
    office.send()
    assert office.statuses() == ["failed"]
    assert office.letter().error_message == "refused: SendGrid answered 400"
    assert len(alerts_of(office, "mail_failed")) == 1


def test_a_notice_that_lacks_what_its_letter_needs_is_given_up_and_shown(office):
    office.notify("trial_ending")
    with transaction(company_id=office.company_id) as session:
        [notice] = session.scalars(select(Notification)).all()
        notice.arguments = {"plan": "Team"}
    [owed] = office.owed()
    for _ in range(5):
        ring("mail.send", owed.id)
    with transaction() as session:
        assert session.get_one(Owed, owed.id).status is OwedStatus.DEAD
    assert office.statuses() == ["failed"]
    assert office.sent() == []


@pytest.mark.parametrize(
    ("scope", "template", "status"),
    [
        (ALL, "payment_failed", "suppressed"),
        (ALL, "trial_ending", "suppressed"),
        (ALL_OPTIONAL, "payment_failed", "sent"),
        (ALL_OPTIONAL, "trial_ending", "suppressed"),
        ("trial_ending", "trial_ending", "suppressed"),
        ("trial_ending", "usage_alert", "sent"),
    ],
)
def test_who_wants_or_takes_no_mail_gets_none(office, scope, template, status):
    with transaction() as session:
        suppress(
            session,
            office.customer.tenant_id,
            "Billing@Example.com",
            scope=scope,
            reason=SuppressionReason.MANUAL,
        )
    office.notify(template)
    office.send()
    assert office.statuses() == [status]
    assert len(office.sent()) == (status == "sent")


def test_one_tenants_suppression_is_no_others(office):
    other = Office(office.stand_in)
    with transaction() as session:
        suppress(
            session,
            other.customer.tenant_id,
            "billing@example.com",
            scope=ALL,
            reason=SuppressionReason.BOUNCED,
        )
    office.notify("payment_failed")
    office.send()
    assert office.statuses() == ["sent"]


def test_without_a_provider_nobody_is_written_to(office, monkeypatch):
    office.notify("payment_failed")
    monkeypatch.setenv("MAIL_PROVIDER", "off")
    settings.cache_clear()
    office.notify("payment_failed", number=2)
    office.send()
    assert office.statuses() == ["suppressed"]
    assert office.letter().error_message == "mail is off"


def test_a_message_carries_ids_alone(office, own_redis):
    own_redis.delete("mail", "notifications")
    office.notify("payment_failed")
    waiting = b"".join(own_redis.lrange("mail", 0, -1))
    assert str(office.owed()[0].id).encode() in waiting
    assert b"@example.com" not in waiting


def test_an_invoice_goes_with_its_letter_as_it_was_issued(office):
    with transaction(company_id=office.company_id) as session:
        line = Line(description="Seats", quantity=Decimal(3), unit_amount=Decimal("33.50"))
        invoice = draft(session, office.company_id, currency="INR", lines=[line])
        issue(session, invoice, Cause(why="a test"))
    office.run(*office.owed("notifications.notify"))
    office.send()
    [message] = office.stand_in.control.book()["messages"]
    [attached] = message["body"]["attachments"]
    assert (attached["filename"], attached["type"]) == (f"{invoice.number}.pdf", "application/pdf")
    with transaction(company_id=office.company_id) as session:
        pdf = of_invoice(session, session.get_one(Invoice, invoice.id))
    assert base64.b64decode(attached["content"]) == pdf
    assert "attached as a PDF" in message["body"]["content"][0]["value"]


def test_who_has_switched_a_letter_off_gets_the_others(office):
    user_id = office.customer.user_id
    with transaction() as session:
        session.get_one(User, user_id).is_active = True
        choose(session, user_id, {"notifications": {"usage_alert": False, "payment_failed": False}})
    office.notify("usage_alert")
    office.notify("trial_ending")
    office.notify("payment_failed")
    assert [(each.template, each.recipient) for each in office.letters()] == [
        ("usage_alert", "billing@example.com"),
        ("trial_ending", "billing@example.com"),
        ("trial_ending", office.customer.email),
        ("payment_failed", "billing@example.com"),
        ("payment_failed", office.customer.email),
    ]
