"""Letters: handed to a provider once each, and looked after when nobody knows what became of one.

mail.send   hand one letter over
mail.watch  tell operators of letters of which nobody has known for a day whether they went out
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import locks
from models.alerts import Severity
from models.base import across_companies
from models.clock import now
from models.mail import Mail, MailStatus, suppressed_by
from models.notifications import Notification, NotificationStatus
from models.outbox import BATCH, Owed, OwedStatus
from models.tenants import Company
from models.timeline import Cause
from models.tracking import track
from worker import crash
from worker.alerts import alert, resolve
from worker.app import Debt, calling_task, periodic
from worker.database import in_transaction
from worker.mail.base import GatewayError, OutcomeUnknown, Unavailable
from worker.mail.catalogue import is_optional
from worker.mail.composing import letter_of
from worker.mail.letter import Letter
from worker.mail.posts import post_of
from worker.settings import settings
from worker.tally import tally

# A provider that is away, or refuses us for now, is asked again: for a day and a bit.
AGAIN_FIRST = timedelta(minutes=1)
AGAIN_LATEST = timedelta(hours=1)
TRIES = 30
# SendGrid tells of most letters within seconds; after a day nothing more is to be expected.
UNKNOWN_FOR = timedelta(hours=24)
UNKNOWN = "mail_unknown"
FAILED = "mail_failed"


@dataclass(frozen=True)
class Claimed:
    """A letter that is ours to hand over, and by whom."""

    mail_id: UUID
    provider: str
    letter: Letter


def _fail_when_dead(session: Session, owed: Owed, error: str) -> None:
    if owed.status is OwedStatus.DEAD:
        mail = locks.lock(session, Mail, UUID(owed.arguments["mail_id"]))
        if mail is not None and mail.status == MailStatus.OWED:
            cause = Cause(why=f"gave up: {error}", request_id=owed.request_id, task_id=owed.id)
            _fail(session, mail, error, cause)


def _claim(session: Session, debt: Debt, *, mail_id: str) -> Claimed | None:
    mail = locks.lock_existing(session, Mail, UUID(mail_id))
    if mail.status == MailStatus.SENDING:
        # Who had it is gone; only the provider knows how far it came.
        because = debt.cause("its worker ended while it was handed over")
        mail.move_to(MailStatus.UNKNOWN, because=because)
    elif mail.status == MailStatus.OWED and (why := _kept_back(session, mail)) is not None:
        mail.error_message = why
        mail.move_to(MailStatus.SUPPRESSED, because=debt.cause(why))
    elif mail.status == MailStatus.OWED:
        return _begin(session, debt, mail)
    debt.end(session)
    return None


def _begin(session: Session, debt: Debt, mail: Mail) -> Claimed | None:
    provider = settings().mail_provider
    if debt.waits_for(session, provider):
        return None
    letter = letter_of(session, mail)
    moment = now()
    mail.provider = provider
    mail.tries += 1
    mail.error_message = None
    mail.leased_until = moment + timedelta(seconds=settings().claim_lease_s)
    mail.move_to(MailStatus.SENDING, because=debt.cause(f"handed to {provider}"))
    return Claimed(mail.id, provider, letter)


def _kept_back(session: Session, mail: Mail) -> str | None:
    """Return why a letter is not sent, if it is not."""
    if not settings().sends_mail:
        return "mail is off"
    company = session.get_one(Company, mail.company_id)
    found = suppressed_by(
        session,
        company.tenant_id,
        mail.recipient,
        mail.template,
        is_optional=is_optional(mail.template),
    )
    return None if found is None else f"the address gets no mail: {found.reason}"


@calling_task("mail.send", claim=_claim, on_failure=_fail_when_dead)
def send(debt: Debt, claimed: Claimed) -> None:
    """Hand a letter over. Safe twice: it is marked before, and what is marked is not sent again.

    Of one that was marked and has no answer nobody knows whether it went out; that is for the
    provider's events to tell, or for a person.
    """
    crash.point("mail.claimed")
    outcome: str | GatewayError
    try:
        outcome = post_of(claimed.provider).send(claimed.letter)
    except GatewayError as failure:
        outcome = failure
    crash.point("mail.called")
    in_transaction(_record, debt.company_id, debt, claimed.mail_id, outcome)
    crash.point("mail.recorded")


def _record(session: Session, debt: Debt, mail_id: UUID, outcome: str | GatewayError) -> None:
    mail = locks.lock_existing(session, Mail, mail_id)
    mail.leased_until = None
    if isinstance(outcome, Unavailable) and mail.status == MailStatus.SENDING:
        _give_back(session, debt, mail, outcome)
        return
    debt.end(session)
    if isinstance(outcome, str):
        mail.provider_message_id = outcome[:100] or None
        mail.sent_at = now()
        _tell_sent(session, mail)
        track(session, "mail.sent", mail, number=mail.tries, dimension=mail.template)
        # An event may have been here before, or a run that took this one for dead.
        if mail.can_move_to(MailStatus.SENT):
            mail.move_to(MailStatus.SENT, because=debt.cause("the provider has taken it"))
            know(session, mail, why="The provider has taken it.")
    elif mail.status != MailStatus.SENDING:
        return
    elif isinstance(outcome, OutcomeUnknown):
        mail.error_message = str(outcome)
        mail.move_to(MailStatus.UNKNOWN, because=debt.cause(str(outcome)))
    else:
        _fail(session, mail, str(outcome), debt.cause(str(outcome)))
    tally(session, "mail.sent", template=mail.template, outcome=str(mail.status))


def _give_back(session: Session, debt: Debt, mail: Mail, failure: Unavailable) -> None:
    """Have a letter that was surely not sent come again, later each time."""
    mail.error_message = str(failure)
    mail.move_to(MailStatus.OWED, because=debt.cause(str(failure)))
    if mail.tries >= TRIES:
        debt.end(session)
        _fail(session, mail, str(failure), debt.cause(f"gave up after {mail.tries} tries"))
        return
    wait = min(AGAIN_FIRST * 2 ** min(mail.tries - 1, 10), AGAIN_LATEST)
    wait = max(wait, timedelta(seconds=failure.retry_after_s or 0))
    debt.defer(session, until=now() + wait, why=str(failure))


def _fail(session: Session, mail: Mail, why: str, cause: Cause) -> None:
    mail.error_message = why
    mail.move_to(MailStatus.FAILED, because=cause)
    alert(
        session,
        FAILED,
        severity=Severity.WARNING,
        company_id=mail.company_id,
        # Many letters may fail for one reason.
        open_key=f"{FAILED}:{mail.company_id}",
        message=f"The letter {mail.id} ({mail.template}) could not be sent. Look at the company's "
        "mail: once its cause is mended, each can be sent again.",
    )


def _tell_sent(session: Session, mail: Mail) -> None:
    notice = session.get(Notification, mail.notification_id)
    if notice is not None and notice.status != NotificationStatus.SENT:
        notice.status, notice.sent_at = NotificationStatus.SENT, mail.sent_at


@periodic("mail.watch")
def watch() -> None:
    """Tell operators of letters that have been unknown for a day. Safe in any number of copies."""
    moment = now()
    while in_transaction(_tell_of_batch, None, moment):
        pass


def _tell_of_batch(session: Session, moment: datetime) -> bool:
    query = (
        select(Mail)
        .where(
            Mail.status == MailStatus.UNKNOWN,
            Mail.updated_at < moment - UNKNOWN_FOR,
            Mail.told_at.is_(None),
        )
        .order_by(Mail.id)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
    because = "letters are lost whosesoever they are"
    found = session.scalars(across_companies(query, because=because)).all()
    for mail in found:
        mail.told_at = moment
        alert(
            session,
            UNKNOWN,
            severity=Severity.WARNING,
            subject=mail,
            message=f"Nobody knows whether the letter {mail.id} ({mail.template}) went out. Ask "
            "whoever it was for, or the provider; it can be sent again.",
        )
    return len(found) == BATCH


def know(session: Session, mail: Mail, *, why: str) -> None:
    """Close the alert about a letter of which it is known again what became of it."""
    if mail.told_at is not None:
        resolve(session, f"{UNKNOWN}:{mail.id}", why=why)
        mail.told_at = None
