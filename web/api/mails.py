"""Mail: what a company's people were sent and what became of it; letters as they look."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

from flask import Response
from pydantic import BaseModel, Field
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from models import locks
from models.base import across_companies, turn_to
from models.clock import now
from models.mail import Mail, MailStatus
from models.operations import Action
from models.outbox import enqueue
from models.tenants import Permission
from models.timeline import history
from web.api.operations import PREFIX, whose, write_down
from web.auth import allowed, caller
from web.lists import answer_page
from web.problems import Problem
from web.routes import Input, Routes, respond
from web.schemas import WRITTEN, Moment, PageQuery, cause
from worker import alerts
from worker.database import in_transaction, transaction
from worker.mail.catalogue import TEMPLATES
from worker.mail.composing import sample_of
from worker.mail.rendering import languages_of

routes = Routes("mails", __name__, url_prefix="/api/v1/mails")
templates = Routes("mail_templates", __name__, url_prefix="/api/v1/mail/templates")
operators = Routes("operations_mails", __name__, url_prefix=f"{PREFIX}/mails")

# As long as SendGrid may still tell what became of a letter.
UNKNOWN_FOR = timedelta(hours=24)
SENT_AGAIN = frozenset({MailStatus.UNKNOWN, MailStatus.FAILED})
POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
_LETTER = {
    "description": "The letter, as HTML or as text",
    "content": {
        "text/html": {"schema": {"type": "string"}},
        "text/plain": {"schema": {"type": "string"}},
    },
}


class MailsQuery(PageQuery):
    """Which letters."""

    status: MailStatus | None = None
    template: str | None = Field(None, max_length=50, description="Such as `payment_failed`.")
    transaction_id: UUID | None = Field(None, description="Letters about this payment.")
    invoice_id: UUID | None = Field(None, description="Letters about this invoice.")


class MailPath(Input):
    """Which letter."""

    mail_id: UUID


class TemplatePath(Input):
    """Which template."""

    name: str = Field(pattern="^[a-z_]{1,50}$")


class PreviewQuery(Input):
    """How to show it."""

    language: Literal["en", "de"] = "en"
    part: Literal["html", "text"] = "html"


class Again(Input):
    """Why it is sent again."""

    note: str | None = Field(None, min_length=1, max_length=2000, pattern=WRITTEN)


class MailAnswer(BaseModel):
    """A letter to one address, and where it is."""

    id: UUID
    company_id: UUID
    template: str
    entity: str
    entity_id: UUID
    number: int
    recipient: str
    status: MailStatus
    provider: str | None
    provider_message_id: str | None
    error_message: str | None
    sent_at: Moment | None
    created_at: Moment
    updated_at: Moment


class StepAnswer(BaseModel):
    """One line of a letter's history."""

    at: Moment
    what: str
    was: str | None
    became: str | None
    why: str


class OneMailAnswer(MailAnswer):
    """A letter with its history, oldest first."""

    history: list[StepAnswer]


class MailsAnswer(BaseModel):
    """A page of letters, newest first."""

    data: list[MailAnswer]
    next_cursor: str | None


class TemplateAnswer(BaseModel):
    """A letter that there is."""

    name: str
    about: str
    is_optional: bool
    languages: list[str]


class TemplatesAnswer(BaseModel):
    """Every letter that there is."""

    data: list[TemplateAnswer]


@routes.get("", responses={200: MailsAnswer})
@allowed(Permission.INVOICES_READ)
def list_mails(query: MailsQuery) -> Response:
    """List the letters to the company's people, newest first."""
    company_id = caller().company_id
    return answer_page(Mail, _narrowed(query), query, _shown, company_id=company_id)


@routes.get("/<uuid:mail_id>", responses={200: OneMailAnswer})
@allowed(Permission.INVOICES_READ)
def read_mail(path: MailPath) -> Response:
    """Return a letter and what became of it."""
    with transaction(company_id=caller().company_id) as session:
        mail = session.get(Mail, path.mail_id)
        if mail is None:
            raise Problem("not-found", "No such letter.")
        return respond(_shown(mail) | {"history": _history(session, mail)})


@operators.get("", responses={200: MailsAnswer})
@allowed(Permission.OPERATIONS)
def list_all_mails(query: MailsQuery) -> Response:
    """List the letters to the people of the tenant's companies, newest first."""
    wanted = _narrowed(query).where(whose(Mail.company_id))
    because = "an operator's tenant has many companies"
    return answer_page(Mail, across_companies(wanted, because=because), query, _shown)


@operators.post("/<uuid:mail_id>/resend", responses={202: MailAnswer})
@allowed(Permission.OPERATIONS)
def resend_mail(path: MailPath, body: Again) -> Response:
    """Send a letter again that was surely not sent, or of which nobody knows for a day."""
    return respond(in_transaction(_resend, None, path.mail_id, body.note), 202)


def _resend(session: Session, mail_id: UUID, note: str | None) -> dict[str, Any]:
    query = select(Mail.company_id).where(Mail.id == mail_id, whose(Mail.company_id))
    because = "an operator's tenant has many companies"
    company_id = session.scalar(across_companies(query, because=because))
    if company_id is None:
        raise Problem("not-found", "No such letter.")
    turn_to(session, company_id)
    mail = locks.lock_existing(session, Mail, mail_id)
    if mail.status not in SENT_AGAIN:
        raise Problem("conflict", f"The letter is {mail.status}; it is not sent again.")
    if mail.status == MailStatus.UNKNOWN and not _is_given_up(mail):
        raise Problem(
            "conflict", "It may have been sent; for a day SendGrid may still tell. Try then."
        )
    mail.tries = 0
    mail.error_message = mail.told_at = None
    mail.move_to(MailStatus.OWED, because=cause("sent again by an operator"))
    alerts.resolve(session, f"mail_unknown:{mail.id}", why="It is sent again.")
    enqueue(session, "mail.send", mail_id=mail.id)
    write_down(session, Action.REPLAY, "mail", mail.id, company_id=company_id, note=note)
    session.flush()
    return _shown(mail)


def _is_given_up(mail: Mail) -> bool:
    """Whether nothing more is to be heard of a letter: an SMTP server tells nothing at all."""
    return mail.provider == "smtp" or mail.updated_at < now() - UNKNOWN_FOR


@templates.get("", responses={200: TemplatesAnswer})
@allowed()
def list_templates() -> Response:
    """List every letter that there is."""
    found = [
        {
            "name": name,
            "about": template.about,
            "is_optional": template.is_optional,
            "languages": languages_of(name),
        }
        for name, template in TEMPLATES.items()
    ]
    return respond({"data": found})


@templates.get("/<name>/preview", responses={200: _LETTER})
@allowed()
def preview_template(path: TemplatePath, query: PreviewQuery) -> Response:
    """Show a letter with made-up values, as HTML or as text."""
    if path.name not in TEMPLATES:
        raise Problem("not-found", "No such letter.")
    letter = sample_of(path.name, query.language)
    is_html = query.part == "html"
    words, kind = (letter.html, "text/html") if is_html else (letter.text, "text/plain")
    headers = {"Content-Security-Policy": POLICY}
    return Response(words, headers=headers, content_type=f"{kind}; charset=utf-8")


def _narrowed(query: MailsQuery) -> Select[Mail]:
    wanted = select(Mail)
    for column, value in (
        (Mail.status, query.status),
        (Mail.template, query.template),
        (Mail.entity_id, query.transaction_id),
        (Mail.entity_id, query.invoice_id),
    ):
        if value is not None:
            wanted = wanted.where(column == value)
    return wanted


def _history(session: Session, mail: Mail) -> list[dict[str, Any]]:
    return [
        {
            "at": line.created_at,
            "what": line.what,
            "was": line.was,
            "became": line.became,
            "why": line.why,
        }
        for line in history(session, [mail.id])
    ]


def _shown(mail: Mail) -> dict[str, Any]:
    return {
        "id": mail.id,
        "company_id": mail.company_id,
        "template": mail.template,
        "entity": mail.entity,
        "entity_id": mail.entity_id,
        "number": mail.number,
        "recipient": mail.recipient,
        "status": mail.status,
        "provider": mail.provider,
        "provider_message_id": mail.provider_message_id,
        "error_message": mail.error_message,
        "sent_at": mail.sent_at,
        "created_at": mail.created_at,
        "updated_at": mail.updated_at,
    }
