"""The stand-in for SendGrid takes what SendGrid takes, keeps it, and tells of it by events."""

from __future__ import annotations

import copy

import orjson
import pytest
import requests

from models.ids import new_id
from sandbox.mail import keys
from tests.sandbox.webhook_catcher import catching
from worker.mail.events import SIGNATURE, SIGNED_AT, check, events_of, keys_of
from worker.mail.letter import Attachment, Letter
from worker.mail.sendgrid import body_of

LETTER = Letter(
    id=new_id(),
    template="invoice_issued",
    sender="Paybeat <billing@example.com>",
    reply_to="help@example.com",
    to="meera@example.com",
    subject="An invoice",
    text="Hello",
    html="<p>Hello</p>",
    headers={"List-Unsubscribe": "<https://pay.example.com/>"},
    attachments=(Attachment("INV-1.pdf", "application/pdf", b"%PDF"),),
)


def send(mail, body, key="Bearer SG.tests"):
    headers = {"Authorization": key}
    return requests.post(f"{mail.url}/v3/mail/send", json=body, headers=headers, timeout=30)


def changed(*path, to):
    body = copy.deepcopy(body_of(LETTER))
    at = body
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = to
    return body


@pytest.mark.parametrize(
    "body",
    [
        {},
        changed("personalizations", to=[]),
        changed("personalizations", 0, "to", 0, "email", to="nobody"),
        changed("personalizations", 0, "custom_args", "mail_id", to=7),
        changed("subject", to=""),
        changed("content", to=[]),
        changed("content", to=body_of(LETTER)["content"][::-1]),
        changed("attachments", 0, "content", to="no base64!"),
        changed("attachments", 0, "disposition", to="beside"),
        changed("headers", "Subject", to="another"),
        changed("headers", "X-Two", to="a\r\nBcc: b@example.com"),
        changed("categories", to=["a"] * 11),
        changed("a_field_that_sendgrid_lacks", to=True),
    ],
)
def test_what_sendgrid_would_refuse_is_refused(mail, body):
    answer = send(mail, body)
    assert answer.status_code == 400
    assert answer.json()["errors"][0].keys() == {"message", "field", "help"}
    assert mail.control.messages() == []


def test_a_letter_is_taken_and_shown_as_it_is(mail):
    assert send(mail, body_of(LETTER), key="Bearer nonsense").status_code == 401
    answer = send(mail, body_of(LETTER))
    assert (answer.status_code, answer.content) == (202, b"")
    [kept] = mail.control.messages(mail_id=str(LETTER.id))
    assert kept["id"].startswith(answer.headers["X-Message-Id"])
    assert kept["attachments"] == ["INV-1.pdf"]
    for kind, words in (("html", LETTER.html), ("txt", LETTER.text)):
        page = requests.get(f"{mail.url}/sandbox/messages/{kept['id']}.{kind}", timeout=30)
        assert page.text == words
        assert page.headers["Content-Security-Policy"].startswith("sandbox;")
    assert LETTER.subject in requests.get(f"{mail.url}/sandbox/", timeout=30).text


def test_events_are_signed_as_sendgrid_signs_them(mail):
    """Each is tried again until it is taken; the one that speaks for our own reader of them."""

    def read(body, headers) -> dict:
        at = headers[SIGNED_AT]
        check(body, headers[SIGNATURE], at, keys_of(keys.public_key()), at_s=int(at))
        [event] = events_of(body)
        return {"type": event.type, **orjson.loads(event.payload)}

    with catching(read) as catcher:
        catcher.refuse = 1
        mail.control.webhooks(url=catcher.url)
        bounced = copy.deepcopy(body_of(LETTER))
        bounced["personalizations"][0]["to"][0]["email"] = "bounce-1@example.com"
        assert send(mail, bounced).status_code == 202
        catcher.wait_for("processed", "bounce")
        mail.control.wait_quiet()
        [kept] = mail.control.messages()
        mail.control.tell(kept["id"], "unsubscribe")
        catcher.wait_for("unsubscribe")
        mail.control.reset()
    assert {event["mail_id"] for event in catcher.events} == {str(LETTER.id)}
    [bounce] = [event for event in catcher.events if event["type"] == "bounce"]
    assert (bounce["email"], bounce["status"]) == ("bounce-1@example.com", "5.1.1")
