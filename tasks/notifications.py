"""Notices to a company's people: each is written down once, with a letter to each of them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.base import COMPANY
from models.ids import new_id
from models.mail import Mail, recipients_of
from models.notifications import Notification
from models.outbox import enqueue
from models.preferences import of_user
from models.timeline import Cause, Timeline
from worker.app import task
from worker.mail.catalogue import TEMPLATES, is_optional
from worker.settings import settings


@task("notifications.notify")
def notify(  # noqa: PLR0913  what a debt carries
    session: Session,
    cause: Cause,
    *,
    template: str,
    subject: str,
    subject_id: str,
    number: int,
    told: dict[str, Any],
) -> None:
    """Write a notice and its letters down, and owe these.

    Safe twice: the unique key is the template, the subject and the number.
    """
    identity, company_id = UUID(subject_id), session.info[COMPANY]
    already = select(Notification.id).where(
        Notification.template == template,
        Notification.subject_id == identity,
        Notification.number == number,
    )
    if session.scalar(already) is not None:
        return
    notice = Notification(
        id=new_id(),
        company_id=company_id,
        template=template,
        subject=subject,
        subject_id=identity,
        number=number,
        arguments=told,
    )
    session.add(notice)
    if settings().sends_mail and template in TEMPLATES:
        _write_to_all(session, notice)
    session.add(
        Timeline(
            company_id=company_id,
            subject=subject,
            subject_id=identity,
            what="notice",
            was=None,
            became=None,
            why=template,
            request_id=cause.request_id,
            task_id=cause.task_id,
            detail=None,
        )
    )


def _write_to_all(session: Session, notice: Notification) -> None:
    """Owe a letter to each of the company's people who are to get it."""
    everybody = list(recipients_of(session, notice.company_id).items())
    # The company's own comes first.
    are_meant = everybody[:1] if TEMPLATES[notice.template].is_for_company else everybody
    for address, user_id in are_meant:
        if is_optional(notice.template) and _is_unwanted(session, user_id, notice.template):
            continue
        mail = Mail(
            id=new_id(),
            company_id=notice.company_id,
            notification_id=notice.id,
            template=notice.template,
            entity=notice.subject,
            entity_id=notice.subject_id,
            number=notice.number,
            recipient=address,
        )
        session.add(mail)
        enqueue(session, "mail.send", mail_id=mail.id)


def _is_unwanted(session: Session, user_id: UUID | None, template: str) -> bool:
    """Whether a user has switched a letter off; an address of the company's has no switches."""
    if user_id is None:
        return False
    return (of_user(session, user_id).get("notifications") or {}).get(template) is False
