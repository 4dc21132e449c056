"""The public side: key, faults, the letter, 202; then what becomes of it, by its address.

    bounce@…   taken, then sent back for good      blocked@…  sent back for now
    drop@…     never sent                          defer@…    late, then delivered
    spam@…     delivered, then complained of       silent@…   nothing more is told
    any other  taken and delivered

What begins so is meant too: `bounce-7@…`.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

import orjson
from pydantic import ValidationError

from sandbox.mail.bodies import Send
from sandbox.mail.book import EVENT, MESSAGE, Book
from sandbox.mail.deliveries import Deliveries
from sandbox.standin.book import Object
from sandbox.standin.faults import SLOW, WIRE, Fault, Faults, strike_after, strike_before
from sandbox.standin.wire import Answer, Request

PATH = "/v3/mail/send"
KEY = "Bearer SG."
# What is told of a letter, in order: event and more of it.
FATES: dict[str, tuple[tuple[str, dict[str, str]], ...]] = {
    "bounce": (
        ("processed", {}),
        ("bounce", {"type": "bounce", "status": "5.1.1", "reason": "550 5.1.1 No such user"}),
    ),
    "blocked": (
        ("processed", {}),
        ("bounce", {"type": "blocked", "status": "4.2.2", "reason": "452 4.2.2 Mailbox full"}),
    ),
    "drop": (("dropped", {"reason": "Bounced Address"}),),
    "defer": (
        ("processed", {}),
        ("deferred", {"response": "450 4.2.1 Try again later"}),
        ("delivered", {"response": "250 OK"}),
    ),
    "spam": (("processed", {}), ("delivered", {"response": "250 OK"}), ("spamreport", {})),
    "silent": (),
}
USUAL: tuple[tuple[str, dict[str, str]], ...] = (
    ("processed", {}),
    ("delivered", {"response": "250 OK"}),
)


class Api:
    """Answers what a client of SendGrid's API asks."""

    def __init__(self, book: Book, faults: Faults, deliveries: Deliveries) -> None:
        self.book = book
        self.faults = faults
        self.deliveries = deliveries

    def __call__(self, request: Request) -> Answer:
        """Answer one request, or hang up where a fault says so."""
        fault = self.faults.take(WIRE, request.method, request.path)
        strike_before(fault, request)
        if slow := self.faults.take(SLOW, request.method, request.path):
            time.sleep(slow.delay_s)
        answer = self._answer(request, fault)
        strike_after(fault, request)
        return answer

    def _answer(self, request: Request, fault: Fault | None) -> Answer:
        is_broken = fault is not None and fault.kind == "server_error"
        if fault and fault.kind == "rate_limit":
            return _errors(429, "too many requests")
        if fault and is_broken and not fault.executed:
            return _errors(500, "internal error")
        answer = self._taken(request)
        return _errors(500, "internal error") if is_broken else answer

    def _taken(self, request: Request) -> Answer:
        if not request.headers.get("authorization", "").startswith(KEY):
            told = "The provided authorization grant is invalid, expired, or revoked"
            return _errors(401, told)
        if (request.method, request.path) != ("POST", PATH):
            return _errors(404, "not found")
        try:
            body = Send.model_validate_json(request.body)
        except ValidationError as wrong:
            return _invalid(wrong)
        message_id = self._keep(body, orjson.loads(request.body))
        return Answer(202, b"", {"X-Message-Id": message_id})

    def _keep(self, body: Send, given: Object) -> str:
        message_id = secrets.token_urlsafe(16)
        with self.book.lock:
            for person in body.personalizations:
                args = {**body.custom_args, **person.custom_args}
                for to in person.to:
                    self._keep_one(message_id, to.email, args, given)
            self.book.commit()
            events = self.book.events_of_commit()
        self.deliveries.offer(events)
        return message_id

    def _keep_one(self, message_id: str, to: str, args: dict[str, str], given: Object) -> None:
        number = secrets.token_hex(4)
        message = {
            "id": f"{message_id}.{number}",
            "object": MESSAGE,
            "at": self.book.now(),
            "to": to,
            "mail_id": args.get("mail_id", ""),
            "body": given,
        }
        self.book.put(message)
        name = to.partition("@")[0].partition("-")[0].lower()
        for kind, more in FATES.get(name, USUAL):
            tell(self.book, message, kind, more, endpoints=self.deliveries.endpoints)


def tell(book: Book, message: Object, kind: str, more: dict[str, Any], *, endpoints: int) -> Object:
    """Make an event of a message; return it as it is sent."""
    args = message["body"]["personalizations"][0].get("custom_args", {})
    shown: Object = {
        "email": message["to"],
        "timestamp": book.now(),
        "smtp-id": f"<{message['id']}@sandbox>",
        "event": kind,
        "category": message["body"].get("categories", []),
        "sg_event_id": secrets.token_urlsafe(24),
        "sg_message_id": f"{message['id']}.recvd-0",
        **more,
        **args,
    }
    event = {
        "id": shown["sg_event_id"],
        "object": EVENT,
        "mail_id": message["mail_id"],
        "shown": shown,
        "pending_webhooks": endpoints,
    }
    book.put(event)
    return shown


def _errors(status: int, message: str, field: str | None = None) -> Answer:
    body = {"errors": [{"message": message, "field": field, "help": None}]}
    return Answer(status, orjson.dumps(body))


def _invalid(wrong: ValidationError) -> Answer:
    errors = [
        {
            "message": each["msg"].removeprefix("Value error, "),
            "field": ".".join(map(str, each["loc"])),
            "help": None,
        }
        for each in wrong.errors(include_url=False, include_context=False)
    ]
    return Answer(400, orjson.dumps({"errors": errors}))
