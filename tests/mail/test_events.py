"""SendGrid's events: signed, each with one effect, in whatever order they come."""

from __future__ import annotations

import time
from itertools import permutations

import orjson
import pytest
from sqlalchemy import select

from models.mail import MailSuppression
from models.outbox import Owed
from models.timeline import history
from models.webhooks import PaymentWebhook, WebhookStatus
from sandbox.mail import keys
from tests.bell import ring
from tests.mail.office import EVENTS, Office, signed
from web.bodies import MAX_BYTES
from worker.database import transaction
from worker.settings import settings


def stored(event_ids) -> list[PaymentWebhook]:
    query = select(PaymentWebhook).where(
        PaymentWebhook.provider == "sendgrid", PaymentWebhook.provider_event_id.in_(event_ids)
    )
    with transaction() as session:
        return list(session.scalars(query.order_by(PaymentWebhook.id)))


def handle(events) -> None:
    """Act on stored events as a worker does, one after the other."""
    for event in events:
        [row] = stored([event["sg_event_id"]])
        with transaction() as session:
            owed = session.scalars(select(Owed).where(Owed.task == "webhooks.handle")).all()
        for each in owed:
            if each.arguments["event_id"] == str(row.id):
                ring("webhooks.handle", each.id)


def tell(browser, events) -> None:
    answer = browser.post(EVENTS, **signed(events))
    assert (answer.status_code, answer.json) == (200, {"received": True}), answer.text
    handle(events)
    rows = stored([each["sg_event_id"] for each in events])
    assert {row.status for row in rows} <= {WebhookStatus.COMPLETED, WebhookStatus.IGNORED}


def suppressions(office: Office) -> set[tuple[str, str, str]]:
    query = select(MailSuppression).where(MailSuppression.tenant_id == office.customer.tenant_id)
    with transaction() as session:
        return {(each.address, each.scope, each.reason) for each in session.scalars(query)}


def write(office: Office, address: str, template: str = "payment_failed"):
    """Send a letter to an address; return it and what is told of it."""
    office.be(email=address)
    office.notify(template)
    office.send()
    mail = office.letter()
    return mail, office.events(mail)


@pytest.mark.parametrize(
    ("address", "status", "reason"),
    [
        ("meera@example.com", "delivered", None),
        ("defer-1@example.com", "delivered", None),
        ("bounce-1@example.com", "bounced", "bounced"),
        ("blocked-1@example.com", "bounced", None),
        ("drop-1@example.com", "dropped", "bounced"),
        ("spam-1@example.com", "complained", "complained"),
        ("silent-1@example.com", "sent", None),
    ],
)
def test_what_became_of_a_letter_is_told_and_who_takes_none_is_spared(
    office, browser, address, status, reason
):
    _, events = write(office, address)
    if events:
        tell(browser, events)
    assert office.statuses() == [status]
    assert suppressions(office) == ({(address, "all", reason)} if reason else set())


def test_events_come_in_any_order_and_a_letter_only_moves_forward(office, browser):
    _, events = write(office, "defer-2@example.com")
    assert [each["event"] for each in events] == ["processed", "deferred", "delivered"]
    for number, order in enumerate(permutations(events)):
        office.notify("payment_failed", number=number + 10)
        office.send()
        mail = office.letters()[-1]
        mine = [
            {**each, "mail_id": str(mail.id), "sg_event_id": f"{mail.id.hex}-{each['event']}"}
            for each in order
        ]
        tell(browser, mine)
        assert office.letters()[-1].status == "delivered", [each["event"] for each in order]


def test_a_copy_changes_nothing_in_a_batch_or_in_another(office, browser):
    mail, events = write(office, "bounce-3@example.com")
    for batch in ([*events, *events], events, events[::-1]):
        tell(browser, batch)
    rows = stored([each["sg_event_id"] for each in events])
    assert [row.status for row in rows] == [WebhookStatus.COMPLETED] * len(events)
    with transaction(company_id=office.company_id) as session:
        lines = [line for line in history(session, [mail.id]) if line.what == "event"]
        assert len(lines) == len(events)


def test_an_event_clears_what_nobody_knew(office, browser):
    office.stand_in.control.fault("drop_after")
    _, events = write(office, "meera@example.com")
    assert office.statuses() == ["unknown"]
    tell(browser, events)
    assert office.statuses() == ["delivered"]


def test_an_event_that_is_here_before_the_answer_stands(office, browser):
    office.stand_in.control.fault("rate_limit")
    mail, _ = write(office, "meera@example.com")
    assert office.statuses() == ["owed"]
    early = {"event": "delivered", "sg_event_id": f"early-{mail.id.hex}", "mail_id": str(mail.id)}
    tell(browser, [early])
    assert office.statuses() == ["delivered"]
    office.send()
    assert office.sent(mail) == []


def test_who_leaves_at_sendgrid_has_left(office, browser):
    mail, _ = write(office, "meera@example.com", "trial_ending")
    left = {"event": "unsubscribe", "sg_event_id": f"u-{mail.id.hex}", "mail_id": str(mail.id)}
    tell(browser, [left])
    assert suppressions(office) == {("meera@example.com", "all_optional", "unsubscribed")}


def test_letters_of_others_are_kept_and_ignored(office, browser):
    events = [
        {"event": "delivered", "sg_event_id": f"foreign-{office.company_id.hex}-{number}", **more}
        for number, more in enumerate(({}, {"mail_id": "7"}, {"mail_id": str(office.company_id)}))
    ]
    tell(browser, events)
    rows = stored([each["sg_event_id"] for each in events])
    assert [row.status for row in rows] == [WebhookStatus.IGNORED] * 3


def _forged(events):
    body = signed(events)
    body["data"] = orjson.dumps([*events, {"event": "bounce", "sg_event_id": "forged"}])
    return body


def _without(header):
    def made(events):
        body = signed(events)
        del body["headers"][header]
        return body

    return made


def _with_signature(text):
    def made(events):
        body = signed(events)
        body["headers"]["X-Twilio-Email-Event-Webhook-Signature"] = text
        return body

    return made


@pytest.mark.parametrize(
    "made",
    [
        _forged,
        _without("X-Twilio-Email-Event-Webhook-Signature"),
        _without("X-Twilio-Email-Event-Webhook-Timestamp"),
        _with_signature("no base64!"),
        _with_signature("AAAA"),
        _with_signature("A" * 4000),
        lambda events: signed(events, at=str(int(time.time()) - 26 * 3600)),
        lambda events: signed(events, at=str(int(time.time()) + 3600)),
        lambda events: signed({"event": "delivered", "sg_event_id": events[0]["sg_event_id"]}),
        lambda events: signed([*events, "text"]),
        lambda events: signed([{**events[0], "event": "two words"}]),
    ],
)
def test_what_is_not_signed_or_no_event_is_refused_and_not_kept(office, browser, made):
    event = {"event": "delivered", "sg_event_id": f"refused-{office.company_id.hex}"}
    answer = browser.post(EVENTS, **made([event]))
    assert answer.status_code == 400, answer.text
    assert answer.content_type == "application/problem+json"
    assert stored([event["sg_event_id"], "forged"]) == []


def test_what_is_too_large_is_refused(office, browser):
    events = [{"event": "delivered", "sg_event_id": "large", "pad": "x" * MAX_BYTES}]
    assert browser.post(EVENTS, **signed(events)).status_code == 413


def test_without_a_key_there_is_no_door(office, browser, monkeypatch):
    monkeypatch.delenv("SENDGRID_WEBHOOK_KEY")
    settings.cache_clear()
    assert browser.post(EVENTS, **signed([])).status_code == 404


def test_two_keys_hold_while_one_replaces_the_other(office, browser, monkeypatch):
    other = (
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp"
        "/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q=="
    )
    monkeypatch.setenv("SENDGRID_WEBHOOK_KEY", f"{other}, {keys.public_key()}")
    settings.cache_clear()
    assert browser.post(EVENTS, **signed([])).status_code == 200
