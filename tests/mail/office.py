"""A company with letters to get: its tasks run in this process, at a stand-in for SendGrid."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import select

from models import clock
from models.ids import new_id
from models.mail import Mail
from models.outbox import Owed, OwedStatus
from models.outbox import enqueue as owe
from models.tenants import Company, User
from sandbox.mail import keys
from tests.bell import ring
from tests.factories import Customer, make_company
from tests.sandbox_fixture import MailProcess
from worker import crash
from worker.database import transaction
from worker.mail.catalogue import TEMPLATES
from worker.mail.posts import post_of
from worker.settings import settings

EVENTS = "/api/v1/webhooks/sendgrid"
CACHED = (settings, post_of)


class Killed(BaseException):
    """As kill -9 at a crash point: nothing that comes after it is done."""


class Office:
    """One company and what it is sent."""

    def __init__(self, stand_in: MailProcess | None, customer: Customer | None = None) -> None:
        self.stand_in = stand_in
        self.customer = customer or make_company()
        self.company_id = self.customer.company_id

    def be(self, **columns: Any) -> None:
        """Have the company's columns be so."""
        with transaction() as session:
            company = session.get_one(Company, self.company_id)
            for name, value in columns.items():
                setattr(company, name, value)

    def notify(self, template: str, *, number: int = 0, **told: Any) -> UUID:
        """Have the company's people told, as a task that owes it does; return about what."""
        about = new_id()
        self.run(self.owe(template, about, number=number, **told))
        return about

    def owe(self, template: str, about: UUID, *, number: int = 0, **told: Any) -> Owed:
        with transaction(company_id=self.company_id) as session:
            return owe(
                session,
                "notifications.notify",
                template=template,
                subject=TEMPLATES[template].entity,
                subject_id=about,
                number=number,
                told=TEMPLATES[template].sample | told,
            )

    def run(self, *owed: Owed) -> None:
        for each in owed:
            ring(each.task, each.id)

    def owed(self, task: str = "mail.send") -> list[Owed]:
        query = select(Owed).where(
            Owed.company_id == self.company_id,
            Owed.task == task,
            Owed.status == OwedStatus.OWED,
        )
        with transaction() as session:
            return list(session.scalars(query.order_by(Owed.id)))

    def send(self) -> None:
        """Send all that is owed, once."""
        self.run(*self.owed())

    def letters(self) -> list[Mail]:
        with transaction(company_id=self.company_id) as session:
            return list(session.scalars(select(Mail).order_by(Mail.id)))

    def letter(self) -> Mail:
        """The letter to the company's own address."""
        [first, *_] = self.letters()
        return first

    def statuses(self) -> list[str]:
        return [str(each.status) for each in self.letters()]

    def sent(self, mail: Mail | None = None) -> list[dict[str, Any]]:
        """What the provider has taken of a letter, newest first."""
        assert self.stand_in is not None
        mail = mail or self.letter()
        return self.stand_in.control.messages(mail_id=str(mail.id))

    def events(self, mail: Mail | None = None) -> list[dict[str, Any]]:
        """What the provider tells of a letter, oldest first."""
        assert self.stand_in is not None
        mail_id = str((mail or self.letter()).id)
        return [
            each["shown"] for each in self.stand_in.control.events() if each["mail_id"] == mail_id
        ]


def alone(office: Office) -> None:
    """Leave the company's own address as the only one."""
    with transaction() as session:
        session.get_one(User, office.customer.user_id).is_active = False


def signed(events: Any, *, at: str | None = None) -> dict[str, Any]:
    """What a test client is to post: events with SendGrid's signature."""
    body = orjson.dumps(events)
    stamp = at or str(int(clock.now().timestamp()))
    return {
        "data": body,
        "headers": {
            "Content-Type": "application/json",
            "X-Twilio-Email-Event-Webhook-Signature": keys.signature(stamp, body),
            "X-Twilio-Email-Event-Webhook-Timestamp": stamp,
        },
    }


@contextmanager
def dying_at(monkeypatch: Any, point: str) -> Iterator[None]:
    """Have this process end at a crash point, once."""

    def reached(name: str) -> None:
        if name == point:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(crash, "point", reached)
        yield


@contextmanager
def opened(monkeypatch: Any, **environ: str) -> Iterator[None]:
    """Let mail go out as the settings say; time is set back at the end."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    for each in CACHED:
        each.cache_clear()
    yield
    clock.advance_by(timedelta)
    monkeypatch.undo()
    for each in CACHED:
        each.cache_clear()
