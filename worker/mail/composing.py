"""From a row to the letter: what it says to this company, with its links and what goes with it."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.orm import Session

from models.invoices import Invoice
from models.mail import Mail
from models.notifications import Notification
from models.tenants import Company, Tenant
from worker import portal
from worker.mail.catalogue import TEMPLATES
from worker.mail.letter import Attachment, Letter
from worker.mail.links import unsubscribe_link
from worker.mail.rendering import Facts, Rendered, render
from worker.settings import settings

SAMPLE_COMPANY = "Meera's Tea & Co."
SAMPLE_SENDER = "Paybeat"
SAMPLE_ID = "01970000-0000-7000-8000-000000000002"
SAMPLE_LINK = "https://pay.example.com/mail/unsubscribe?token=sample"
SAMPLE_PORTAL = "https://pay.example.com/portal/#sample"


def letter_of(session: Session, mail: Mail) -> Letter:
    """Return what is to be handed to the provider for a row.

    Raises:
        LookupError: its notice is gone, or there is no such letter.
        jinja2.TemplateError: the notice lacks what the letter needs.
    """
    template = TEMPLATES.get(mail.template)
    if template is None:
        raise LookupError(f"there is no letter {mail.template}")
    notice = session.get_one(Notification, mail.notification_id)
    company = session.get_one(Company, mail.company_id)
    tenant = session.get_one(Tenant, company.tenant_id)
    attachments = _attachments(session, mail) if template.has_invoice else ()
    url = unsubscribe_link(mail.id) if template.is_optional else None
    invoice = _invoice_of(session, mail, notice)
    portal_url = portal.company_link(session, company.id).url
    words = render(
        mail.template,
        Facts(
            company=company.name,
            sender=tenant.name,
            entity_id=str(mail.entity_id),
            told=notice.arguments,
            language=company.language,
            time_zone=company.time_zone,
            invoice_number=invoice.number if invoice else None,
            has_attachment=bool(attachments),
            unsubscribe_url=url,
            pay_url=portal.invoice_link(session, invoice).url if invoice else portal_url,
            portal_url=portal_url,
        ),
    )
    given = settings()
    return Letter(
        id=mail.id,
        template=mail.template,
        sender=given.mail_from,
        reply_to=given.mail_reply_to,
        to=mail.recipient,
        subject=words.subject,
        text=words.text,
        html=words.html,
        headers=_unsubscribe_headers(url),
        attachments=attachments,
    )


def sample_of(name: str, language: str) -> Rendered:
    """Return a letter as it looks, of a company and amounts that are made up."""
    template = TEMPLATES[name]
    return render(
        name,
        Facts(
            company=SAMPLE_COMPANY,
            sender=SAMPLE_SENDER,
            entity_id=SAMPLE_ID,
            told=template.sample,
            language=language,
            time_zone="Asia/Kolkata",
            invoice_number="INV-000042",
            has_attachment=template.has_invoice,
            unsubscribe_url=SAMPLE_LINK if template.is_optional else None,
            pay_url=SAMPLE_PORTAL,
            portal_url=SAMPLE_PORTAL,
        ),
    )


def _unsubscribe_headers(url: str | None) -> dict[str, str]:
    """Return what lets a mail program offer it by one click (RFC 8058)."""
    if url is None:
        return {}
    return {
        "List-Unsubscribe": f"<{url}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


def _invoice_of(session: Session, mail: Mail, notice: Notification) -> Invoice | None:
    """Return the invoice that a letter is about, or whose payment it is about."""
    told = notice.arguments.get("invoice_id")
    return session.get(Invoice, UUID(str(told)) if told else mail.entity_id)


def _attachments(session: Session, mail: Mail) -> tuple[Attachment, ...]:
    """Return the invoice that a letter is about, as a PDF; what was never issued has none."""
    from worker.pdf import of_invoice

    invoice = session.get(Invoice, mail.entity_id)
    if invoice is None or invoice.number is None or invoice.billed_to is None:
        return ()
    return (Attachment(f"{invoice.number}.pdf", "application/pdf", of_invoice(session, invoice)),)
