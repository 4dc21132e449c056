"""Notices to a company's people: each is written down once; mail takes them from there."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.base import COMPANY
from models.notifications import Notification
from models.timeline import Cause, Timeline
from worker.app import task


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
    """Write a notice down. Safe twice: its unique key is the template, the subject and the number.

    The row is what a sender of mail works from.
    """
    identity, company_id = UUID(subject_id), session.info[COMPANY]
    already = select(Notification.id).where(
        Notification.template == template,
        Notification.subject_id == identity,
        Notification.number == number,
    )
    if session.scalar(already) is not None:
        return
    session.add(
        Notification(
            company_id=company_id,
            template=template,
            subject=subject,
            subject_id=identity,
            number=number,
            arguments=told,
        )
    )
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
