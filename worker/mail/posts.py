"""The one way to send mail that the settings name."""

from __future__ import annotations

from functools import cache

from worker.mail.base import Post, Unavailable
from worker.settings import settings


@cache
def post_of(provider: str) -> Post:
    """Return this process's way to send mail.

    Raises:
        Unavailable: there is none of this name.
    """
    given = settings()
    if provider == "sendgrid":
        from worker.mail.sendgrid import SendGridPost

        return SendGridPost(
            api_key=given.sendgrid_api_key,
            api_base=given.sendgrid_api_base,
            timeout_s=given.mail_timeout_s,
        )
    if provider == "smtp":
        from worker.mail.smtp import SmtpPost

        return SmtpPost(given.smtp_url, timeout_s=given.mail_timeout_s)
    raise Unavailable(message=f"mail cannot be sent by {provider!r}", code="not_set_up")
