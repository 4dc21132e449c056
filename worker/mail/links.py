"""Links in letters: signed, for people who are not signed in, and those that lead to the console.

A signature does not end: who wants no more mail may say so years later. It names a letter, and
nothing of who gets it.
"""

from __future__ import annotations

from uuid import UUID

from worker import links

UNSUBSCRIBE = "/mail/unsubscribe"
PURPOSE = "mail.unsubscribe"


def unsubscribe_link(mail_id: UUID) -> str:
    """Return the address at which a letter's recipient wants no more of its kind."""
    return f"{links.site()}{UNSUBSCRIBE}?token={token_of(mail_id)}"


def token_of(mail_id: UUID) -> str:
    """Return what proves that somebody has had a letter."""
    return links.sign(PURPOSE, mail_id.bytes)


def mail_of(token: str) -> UUID | None:
    """Return the letter that a token names; None for one that is not ours."""
    said = links.read(PURPOSE, token)
    return None if said is None else UUID(bytes=said)


def console_link(path: str) -> str:
    """Return the address of a view of the console, such as `/invoices`."""
    return f"{links.site()}/console{path}"
