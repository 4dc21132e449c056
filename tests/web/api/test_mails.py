"""What operators see of mail and do about it: sent again where that is safe, addresses spared."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import update

from models import clock
from models.base import across_companies
from models.mail import Mail, MailStatus
from tests.factories import make_company
from tests.mail.office import Office, alone, opened
from tests.web.visitor import problem_of
from worker.database import transaction

MAILS = "/api/v1/operations/mails"
SPARED = "/api/v1/operations/mail-suppressions"
TEMPLATES = "/api/v1/mail/templates"


@pytest.fixture
def office(mail, monkeypatch, use, ours):
    with opened(monkeypatch, MAIL_PROVIDER="sendgrid", SENDGRID_API_BASE=mail.url):
        made = Office(mail, ours)
        alone(made)
        yield made


def lost(office, fault: str = "drop_after") -> Mail:
    """A letter of which nobody knows whether it went out."""
    office.stand_in.control.fault(fault)
    office.notify("payment_failed")
    office.send()
    return office.letter()


def change(mail: Mail, **columns: object) -> None:
    statement = update(Mail).where(Mail.id == mail.id).values(**columns)
    with transaction() as session:
        session.execute(across_companies(statement, because="a test"))


def resend(operator, mail: Mail):
    return operator.post(f"{MAILS}/{mail.id}/resend", {"note": "they never got it"})


def test_what_nobody_knew_for_a_day_is_sent_again_by_a_persons_word(office, operator):
    mail = lost(office)
    too_early = problem_of(resend(operator, mail), 409, "conflict")
    assert "for a day" in too_early["detail"]
    change(mail, updated_at=clock.now() - timedelta(hours=25))
    answer = resend(operator, mail)
    assert (answer.status_code, answer.json["status"]) == (202, "owed")
    office.send()
    assert office.letter().status == MailStatus.SENT
    # Once for the lost answer, once for the person's word, and no more.
    assert len(office.sent(mail)) == 2
    problem_of(resend(operator, mail), 409, "conflict")


def test_what_failed_is_sent_again(office, operator):
    office.be(email="no address")
    office.notify("payment_failed")
    office.send()
    mail = office.letter()
    change(mail, recipient="meera@example.com")
    assert resend(operator, mail).json["status"] == "owed"
    office.send()
    assert len(office.sent(mail)) == 1


def test_another_tenants_letters_are_not_there(office, operator):
    stranger = Office(office.stand_in, make_company())
    alone(stranger)
    stranger.be(email="no address")
    for each in (stranger, office):
        each.notify("payment_failed")
        each.send()
    shown = operator.get(f"{MAILS}?limit=100").json["data"]
    assert {each["company_id"] for each in shown} == {str(office.company_id)}
    problem_of(resend(operator, stranger.letter()), 404, "not-found")


def test_a_letter_is_read_with_its_history_and_lists_are_narrowed(office, operator):
    about = office.notify("payment_failed")
    office.send()
    headers = {"X_Company_Id": str(office.company_id)}
    mail = office.letter()
    read = operator.get(f"/api/v1/mails/{mail.id}", **headers).json
    assert [(each["was"], each["became"]) for each in read["history"]] == [
        ("owed", "sending"),
        ("sending", "sent"),
    ]
    for query, found in (
        ("status=sent", 1),
        ("status=failed", 0),
        ("template=payment_failed", 1),
        ("template=trial_ending", 0),
        (f"transaction_id={about}", 1),
        (f"invoice_id={mail.id}", 0),
    ):
        page = operator.get(f"/api/v1/mails?{query}", **headers).json
        assert len(page["data"]) == found, query


def test_an_address_is_spared_and_written_to_again(office, operator):
    body = {"address": "Billing@Example.com", "scope": "all"}
    [first, second] = [operator.post(SPARED, body) for _ in range(2)]
    assert first.status_code == second.status_code == 201
    assert first.json["id"] == second.json["id"]
    assert (first.json["address"], first.json["reason"]) == ("billing@example.com", "manual")
    found = operator.get(f"{SPARED}?address=BILLING@example.com").json["data"]
    assert [each["id"] for each in found] == [first.json["id"]]
    office.notify("payment_failed")
    office.send()
    assert operator.send("DELETE", f"{SPARED}/{first.json['id']}").status_code == 204
    problem_of(operator.send("DELETE", f"{SPARED}/{first.json['id']}"), 404, "not-found")
    office.notify("payment_failed")
    office.send()
    assert office.statuses() == ["suppressed", "sent"]
    for wrong in ({"address": "nobody"}, {**body, "scope": "payment_failed"}):
        problem_of(operator.post(SPARED, wrong), 422, "invalid")


def test_every_letter_can_be_looked_at(office, operator):
    listed = operator.get(TEMPLATES).json["data"]
    assert {"name": "card_expiring", "is_optional": True}.items() <= next(
        each for each in listed if each["name"] == "card_expiring"
    ).items()
    for part, kind in (("html", "text/html"), ("text", "text/plain")):
        answer = operator.get(f"{TEMPLATES}/payment_failed/preview?language=de&part={part}")
        assert answer.status_code == 200
        assert answer.content_type == f"{kind}; charset=utf-8"
        assert "Guten Tag" in answer.text
        assert answer.headers["Content-Security-Policy"].startswith("sandbox;")
    problem_of(operator.get(f"{TEMPLATES}/nonsense/preview"), 404, "not-found")
