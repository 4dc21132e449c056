"""The page behind a letter's link: whoever had it wants no more of its kind. No login.

A mail program posts there by itself when its one button is pressed (RFC 8058); a person is asked
first, as programs follow links only to look.
"""

from __future__ import annotations

import base64
from hashlib import sha256

from flask import Blueprint, Response, request
from markupsafe import Markup
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.base import across_companies
from models.mail import ALL_OPTIONAL, Mail, SuppressionReason, suppress
from models.tenants import Company
from web.auth import public
from web.problems import Problem
from worker.database import in_transaction
from worker.mail.catalogue import is_optional
from worker.mail.links import UNSUBSCRIBE, mail_of

routes = Blueprint("unsubscribe", __name__)

STYLE = Markup(
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:4rem auto;padding:0 1rem}"
    "button{font:inherit;padding:.5rem 1rem;margin:.25rem .5rem .25rem 0}"
)
_STYLE_HASH = base64.b64encode(sha256(STYLE.encode()).digest()).decode()
CSP = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
ASKED = Markup(
    '<form method="post"><p>Which mail do you want no more?</p>'
    '<button name="scope" value="template">{kind}</button>'
    '<button name="scope" value="all_optional">All that one may do without</button></form>'
    "<p>Letters about payments, invoices and disputes still come.</p>"
)
DONE = Markup("<p>You get no more of it. Nothing else is to be done.</p>")


@routes.get(UNSUBSCRIBE)
@public
def ask() -> Response:
    """Ask which mail somebody wants no more."""
    template = in_transaction(_template_of, None, request.args.get("token", ""))
    words = str(template).replace("_", " ").capitalize()
    return _page("Unsubscribe", ASKED.format(kind=words))


@routes.post(UNSUBSCRIBE)
@public
def leave() -> Response:
    """Send no more of it: what a mail program posts, or the page's own buttons."""
    scope = request.form.get("scope", "template")
    in_transaction(_suppress, None, request.args.get("token", ""), scope)
    return _page("Unsubscribed", DONE)


def _template_of(session: Session, token: str) -> str:
    return _mail(session, token).template


def _suppress(session: Session, token: str, scope: str) -> None:
    mail = _mail(session, token)
    company = session.get_one(Company, mail.company_id)
    suppress(
        session,
        company.tenant_id,
        mail.recipient,
        scope=ALL_OPTIONAL if scope == ALL_OPTIONAL else mail.template,
        reason=SuppressionReason.UNSUBSCRIBED,
    )


def _mail(session: Session, token: str) -> Mail:
    mail_id = mail_of(token)
    query = select(Mail).where(Mail.id == mail_id)
    because = "a signed link names a letter, whosesoever it is"
    mail = mail_id and session.scalars(across_companies(query, because=because)).one_or_none()
    if not mail or not is_optional(mail.template):
        raise Problem("not-found", "The link is not one of ours.")
    return mail


def _page(title: str, body: Markup) -> Response:
    html = Markup(
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>{title}</title>'
        "<style>{style}</style></head><body><main><h1>{title}</h1>{body}</main></body></html>"
    ).format(title=title, style=STYLE, body=body)
    headers = {"Content-Security-Policy": CSP, "Cache-Control": "no-store"}
    return Response(str(html), headers=headers, content_type="text/html; charset=utf-8")
