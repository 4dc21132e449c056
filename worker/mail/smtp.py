"""Mail by SMTP: TLS unless it is this very machine, a connection a letter.

Until the server has the whole letter nothing is sent; once it was given, and no answer came, nobody
knows.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.policy import SMTP as POLICY
from email.utils import format_datetime, parseaddr
from typing import Any
from urllib.parse import unquote, urlsplit

from models.clock import now
from worker.gateways.calls import Calls
from worker.mail.base import GatewayError, OutcomeUnknown, Rejected, Unavailable
from worker.mail.letter import Letter

PORTS = {"smtp": 587, "smtps": 465}
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
ACCEPTED = 250
LASTING = 500
# From here on a refusal is for good (RFC 5321, 4.2.1); below it is for now.


class _Unanswered(Exception):
    """The whole letter was given to the server, and no answer came."""


class _Refused(Exception):
    """The server would not take it."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the mail server answered {code}")
        self.code = code


class SmtpPost:
    """A mail server at an address such as `smtp://name:password@host:587`. Thread-safe."""

    name = "smtp"

    def __init__(self, url: str, *, timeout_s: float, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        self._is_tls = parts.scheme == "smtps"
        self._host = parts.hostname or ""
        self._port = parts.port or PORTS[parts.scheme]
        self._login = (unquote(parts.username or ""), unquote(parts.password or ""))
        self._timeout_s = timeout_s
        self._tls = tls or ssl.create_default_context()

    def send(self, letter: Letter) -> str:
        """Hand a letter over; return the Message-ID that it went out with."""
        message = message_of(letter)
        found: str = _CALLS.write(
            "mail.send",
            lambda: self._send(letter, message),
            lambda body, _request_id: str(body["id"]),
        )
        return found

    def _send(self, letter: Letter, message: EmailMessage) -> dict[str, str]:
        with self._connected() as server:
            _must_accept(server.mail(parseaddr(letter.sender)[1]))
            _must_accept(server.rcpt(letter.to))
            try:
                code, _ = server.data(message.as_bytes())
            except smtplib.SMTPDataError as error:
                raise _Refused(error.smtp_code) from None
            except (smtplib.SMTPServerDisconnected, OSError) as error:
                raise _Unanswered(type(error).__name__) from None
            if code != ACCEPTED:
                raise _Refused(code)
        return {"id": str(message["Message-ID"])}

    @contextmanager
    def _connected(self) -> Iterator[smtplib.SMTP]:
        server = self._open()
        try:
            if not self._is_tls and self._host not in LOOPBACK:
                server.starttls(context=self._tls)
            server.ehlo_or_helo_if_needed()
            if self._login[0]:
                server.login(*self._login)
            yield server
        finally:
            # No QUIT to wait for: what was answered counts.
            server.close()

    def _open(self) -> smtplib.SMTP:
        if self._is_tls:
            return smtplib.SMTP_SSL(
                self._host, self._port, timeout=self._timeout_s, context=self._tls
            )
        return smtplib.SMTP(self._host, self._port, timeout=self._timeout_s)


def message_of(letter: Letter) -> EmailMessage:
    """Return a letter as MIME: plain text and HTML, and what is attached."""
    message = EmailMessage(policy=POLICY)
    domain = parseaddr(letter.sender)[1].rpartition("@")[2]
    message["From"] = letter.sender
    message["To"] = letter.to
    message["Subject"] = letter.subject
    message["Date"] = format_datetime(now())
    # Ours, so that a letter that is sent again is the same letter to who has it already.
    message["Message-ID"] = f"<{letter.id}@{domain}>"
    if letter.reply_to:
        message["Reply-To"] = letter.reply_to
    for name, value in letter.headers.items():
        message[name] = value
    message.set_content(letter.text)
    message.add_alternative(letter.html, subtype="html")
    for each in letter.attachments:
        main, _, sub = each.content_type.partition("/")
        message.add_attachment(each.content, maintype=main, subtype=sub, filename=each.name)
    return message


def _must_accept(answer: tuple[int, bytes]) -> None:
    code, _ = answer
    if code not in {ACCEPTED, 251}:
        raise _Refused(code)


def failure_of(error: Any, *, is_read: bool) -> GatewayError:  # noqa: ARG001  nothing is read
    """Return what went wrong. What the server says is not quoted: it names addresses."""
    if isinstance(error, _Unanswered):
        return OutcomeUnknown(message=f"no answer to the letter ({error})", code="timeout")
    if isinstance(error, _Refused) and error.code >= LASTING:
        return Rejected(message=str(error), code=f"smtp_{error.code}")
    if isinstance(error, _Refused):
        return Unavailable(message=str(error), code=f"smtp_{error.code}")
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return Unavailable(message="the mail server refused the login", code="not_allowed")
    # Connecting, TLS, or before the letter itself was given.
    return Unavailable(message=f"could not hand over ({type(error).__name__})", code="lost_before")


_CALLS = Calls(
    provider=SmtpPost.name,
    errors=(_Unanswered, _Refused, smtplib.SMTPException, OSError),
    failure_of=failure_of,
    answer_of=lambda body: (body, ""),
    not_executed=frozenset(),
)
