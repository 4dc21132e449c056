"""Links to the customer portal: to pay one invoice, or to a company's own, without a login.

The token stands in the address's fragment, which no browser sends: it is in no access log, no
Referer and no trace. The page hands it in by POST for a visit (`web.auth.visits`), and the visit is
what it goes on with.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from struct import Struct
from uuid import UUID

from sqlalchemy.orm import Session

from models.clock import now
from models.ids import new_id
from models.invoices import Invoice
from models.portal import epoch_of
from worker import links
from worker.settings import settings

PATH = "/portal/"
TO_INVOICE = "portal.invoice"
TO_COMPANY = "portal.company"
VISIT = "portal.visit"
# Company, invoice or nobody's id, epoch, end in seconds since 1970.
_LINK = Struct(">16s16sIQ")
# Which visit, and its own end, before the link by which it began.
_VISIT = Struct(">16sQ")
_NONE = UUID(int=0)
# However late an invoice is due: a year of 9999 is as far as days go, and no link is to outlive us.
_LONGEST = timedelta(days=3660)


@dataclass(frozen=True)
class Link:
    """What a link lets in to: one invoice, or all that is a company's."""

    company_id: UUID
    invoice_id: UUID | None
    epoch: int
    expires_at: datetime

    @property
    def url(self) -> str:
        """Return the address that people get."""
        return f"{links.site()}{PATH}#{token_of(self)}"

    def counts(self, session: Session) -> bool:
        """Whether it has neither ended nor been revoked; the session is of its company."""
        return now() < self.expires_at and self.epoch == epoch_of(session)


@dataclass(frozen=True)
class Visit:
    """A link that was handed in, and until when one may go on with it."""

    id: UUID
    link: Link
    ends_at: datetime


def invoice_link(session: Session, invoice: Invoice) -> Link:
    """Return the link by which an issued invoice is paid.

    It is the same one all day, so that who asks twice has one address. It works for ten years at
    most, if the invoice is due later than that.
    """
    today = now().date()
    last = min(max(invoice.due_on or date.min, today), today + _LONGEST)
    days = settings().portal_invoice_link_days
    return _link(session, invoice.company_id, invoice.id, last + timedelta(days=days))


def company_link(session: Session, company_id: UUID) -> Link:
    """Return the link to a company's own portal."""
    days = settings().portal_company_link_days
    return _link(session, company_id, None, now().date() + timedelta(days=days))


def return_url() -> str:
    """Return where a visitor comes back to from a provider's page; it holds no secret."""
    return f"{links.site()}{PATH}"


def _link(session: Session, company_id: UUID, invoice_id: UUID | None, last: date) -> Link:
    # A day is over where the last zone has ended it.
    end = datetime.combine(last + timedelta(days=1), time(12), tzinfo=UTC)
    return Link(company_id, invoice_id, epoch_of(session), end)


def token_of(link: Link) -> str:
    """Return what proves that somebody was given a link."""
    return links.sign(TO_INVOICE if link.invoice_id else TO_COMPANY, _packed(link))


def link_of(token: str) -> Link | None:
    """Return the link that a token is of; None for one that is not ours. It may have ended."""
    if (said := links.read(TO_INVOICE, token)) is not None:
        return _unpacked(said)
    said = links.read(TO_COMPANY, token)
    return None if said is None else _unpacked(said)


def begin_visit(link: Link) -> Visit:
    """Return a new visit by a link, which it does not outlive."""
    # Whole seconds: what is signed is what is said.
    ends_at = now().replace(microsecond=0) + timedelta(seconds=settings().portal_visit_s)
    return Visit(new_id(), link, min(ends_at, link.expires_at))


def key_of(visit: Visit) -> str:
    """Return what proves that somebody has begun a visit."""
    end = int(visit.ends_at.timestamp())
    return links.sign(VISIT, _VISIT.pack(visit.id.bytes, end) + _packed(visit.link))


def visit_of(key: str) -> Visit | None:
    """Return the visit that a key is of; None for one that is not ours. It may have ended."""
    said = links.read(VISIT, key)
    if said is None:
        return None
    visit_id, end = _VISIT.unpack(said[: _VISIT.size])
    return Visit(UUID(bytes=visit_id), _unpacked(said[_VISIT.size :]), _moment(end))


def _packed(link: Link) -> bytes:
    invoice_id = link.invoice_id or _NONE
    end = int(link.expires_at.timestamp())
    return _LINK.pack(link.company_id.bytes, invoice_id.bytes, link.epoch, end)


def _unpacked(said: bytes) -> Link:
    company, invoice, epoch, end = _LINK.unpack(said)
    invoice_id = UUID(bytes=invoice)
    return Link(
        UUID(bytes=company), None if invoice_id == _NONE else invoice_id, epoch, _moment(end)
    )


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC)
