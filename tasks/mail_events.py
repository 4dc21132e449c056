"""What SendGrid tells of letters: each event moves one forward, or nothing.

They come in any order and any number of times; what is older than what is known changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import locks
from models.base import across_companies, turn_to
from models.mail import ALL, ALL_OPTIONAL, Mail, MailStatus, SuppressionReason, suppress
from models.tenants import Company
from models.timeline import Cause, note
from models.tracking import track
from tasks.handlers import About, Body, Handler
from tasks.mail import know

# Where an event leads; None where it is about the address alone.
BECOMES: dict[str, MailStatus | None] = {
    "processed": MailStatus.SENT,
    "deferred": MailStatus.DEFERRED,
    "delivered": MailStatus.DELIVERED,
    "bounce": MailStatus.BOUNCED,
    "dropped": MailStatus.DROPPED,
    "spamreport": MailStatus.COMPLAINED,
    "unsubscribe": None,
    "group_unsubscribe": None,
}
# SendGrid's own list of addresses has it; ours is to have it too.
_DROPPED_FOR = {
    "Bounced Address": SuppressionReason.BOUNCED,
    "Invalid": SuppressionReason.BOUNCED,
    "Spam Reporting Address": SuppressionReason.COMPLAINED,
}
# A mailbox that is full or a server that greylists: another day it may take a letter.
SOFT = "blocked"


def _after_bounce(body: Body) -> tuple[str, SuppressionReason] | None:
    return None if body.get("type") == SOFT else (ALL, SuppressionReason.BOUNCED)


def _after_drop(body: Body) -> tuple[str, SuppressionReason] | None:
    reason = _DROPPED_FOR.get(str(body.get("reason", "")))
    return None if reason is None else (ALL, reason)


_SUPPRESSES: dict[str, Callable[[Body], tuple[str, SuppressionReason] | None]] = {
    "bounce": _after_bounce,
    "dropped": _after_drop,
    "spamreport": lambda _: (ALL, SuppressionReason.COMPLAINED),
    "unsubscribe": lambda _: (ALL_OPTIONAL, SuppressionReason.UNSUBSCRIBED),
    "group_unsubscribe": lambda _: (ALL_OPTIONAL, SuppressionReason.UNSUBSCRIBED),
}


def hear(kind: str, session: Session, body: Body, cause: Cause) -> About | None:
    """Move the letter that an event names to where it says, and spare an address that wants so."""
    mail = _locked(session, body, cause)
    if mail is None:
        return None
    note(session, mail, what="event", because=cause)
    status = BECOMES[kind]
    if status is not None and mail.can_move_to(status):
        mail.move_to(status, because=cause)
        if status is MailStatus.BOUNCED:
            track(session, "mail.bounced", mail, number=mail.tries, dimension=mail.template)
        know(session, mail, why="The provider has told what became of it.")
    found = _SUPPRESSES[kind](body) if kind in _SUPPRESSES else None
    if found is not None:
        scope, reason = found
        tenant_id = session.get_one(Company, mail.company_id).tenant_id
        suppress(session, tenant_id, mail.recipient, scope=scope, reason=reason)
    return About(mail.company_id, subject_id=mail.id)


def _locked(session: Session, body: Body, cause: Cause) -> Mail | None:
    try:
        mail_id = UUID(str(body.get("mail_id", "")))
    except ValueError:
        return None  # somebody else's letter, of the same account
    query = select(Mail.company_id).where(Mail.id == mail_id)
    because = "an event tells whose it is only by the letter that it names"
    company_id = session.scalar(across_companies(query, because=because))
    if company_id is None:
        return None
    turn_to(session, company_id, request_id=cause.request_id)
    return locks.lock_existing(session, Mail, mail_id)


SENDGRID: dict[str, Handler] = {kind: Handler(partial(hear, kind)) for kind in BECOMES}
