"""Mail by SendGrid's own library.

It has no idempotency keys: what may have been sent is not sent again. Our id goes along as a custom
argument, which each event of the letter brings back.
"""

from __future__ import annotations

import base64
import logging
import socket
import ssl
from collections.abc import Mapping
from email.utils import parseaddr
from typing import Any
from urllib.error import URLError

from python_http_client.exceptions import HTTPError  # type: ignore[import-untyped]
from sendgrid import SendGridAPIClient  # type: ignore[import-untyped]

from worker.gateways.calls import Calls
from worker.gateways.wire import retry_after_s
from worker.mail.base import GatewayError, OutcomeUnknown, Rejected, Unavailable
from worker.mail.letter import Letter

API = "https://api.sendgrid.com"
MAIL_ID = "mail_id"
SERVER_ERROR, TOO_MANY_REQUESTS = 500, 429
NOT_ALLOWED = frozenset({401, 403})
# Refused or unresolved while connecting; no certificate to trust. Nothing was sent.
NEVER_SENT = (ConnectionRefusedError, socket.gaierror, ssl.SSLCertVerificationError)

# At DEBUG it logs whole letters and the key.
logging.getLogger("python_http_client").setLevel(logging.WARNING)


class SendGridPost:
    """SendGrid at `api_base` (empty for SendGrid itself). Thread-safe: a connection a letter."""

    name = "sendgrid"

    def __init__(self, *, api_key: str, api_base: str, timeout_s: float) -> None:
        self._client = SendGridAPIClient(api_key, host=(api_base or API).rstrip("/"))
        self._client.client.timeout = timeout_s

    def send(self, letter: Letter) -> str:
        """Hand a letter over; return SendGrid's message id, which its events begin theirs with."""
        body = body_of(letter)
        found: str = _CALLS.write("mail.send", lambda: self._client.send(body), _message_id)
        return found


def body_of(letter: Letter) -> dict[str, Any]:
    """Return the body of `POST /v3/mail/send`."""
    body: dict[str, Any] = {
        "personalizations": [
            {"to": [{"email": letter.to}], "custom_args": {MAIL_ID: str(letter.id)}}
        ],
        "from": _mailbox(letter.sender),
        "subject": letter.subject,
        # In SendGrid's order: what is plainest comes first.
        "content": [
            {"type": "text/plain", "value": letter.text},
            {"type": "text/html", "value": letter.html},
        ],
        "categories": [letter.template],
        # Nobody is watched, and a link leads where it says.
        "tracking_settings": {
            "click_tracking": {"enable": False, "enable_text": False},
            "open_tracking": {"enable": False},
            "subscription_tracking": {"enable": False},
        },
    }
    if letter.reply_to:
        body["reply_to"] = _mailbox(letter.reply_to)
    if letter.headers:
        body["headers"] = dict(letter.headers)
    if letter.attachments:
        body["attachments"] = [
            {
                "content": base64.b64encode(each.content).decode(),
                "type": each.content_type,
                "filename": each.name,
                "disposition": "attachment",
            }
            for each in letter.attachments
        ]
    return body


def _mailbox(text: str) -> dict[str, str]:
    name, address = parseaddr(text)
    return {"email": address, "name": name} if name else {"email": address}


def _answer_of(answer: Any) -> tuple[Mapping[str, str], str]:
    message_id = str(answer.headers.get("X-Message-Id") or "")
    return {"id": message_id}, message_id


def _message_id(body: Mapping[str, str], _request_id: str) -> str:
    return body["id"]


def failure_of(error: Any, *, is_read: bool) -> GatewayError:  # noqa: ARG001  nothing is read
    """Return what an exception of the library's, or of urllib below it, means."""
    if isinstance(error, HTTPError):
        return _of_status(int(error.status_code), error.headers)
    reason = error.reason if isinstance(error, URLError) else error
    name = type(reason).__name__
    if isinstance(reason, NEVER_SENT):
        return Unavailable(message=f"could not connect ({name})", code="not_connected")
    if isinstance(reason, TimeoutError):
        return OutcomeUnknown(message=f"no answer in time ({name})", code="timeout")
    return OutcomeUnknown(message=f"the connection was lost ({name})", code="connection_lost")


def _of_status(status: int, headers: Any) -> GatewayError:
    """Return what a status means. The body of an error is not quoted: it may name addresses."""
    said = f"SendGrid answered {status}"
    if status == TOO_MANY_REQUESTS:
        wait_s = retry_after_s({"retry-after": (headers or {}).get("Retry-After") or ""})
        return Unavailable(
            message=said, code="rate_limit", http_status=status, retry_after_s=wait_s
        )
    if status in NOT_ALLOWED:
        return Unavailable(
            message=f"{said}: the key or the sender is not allowed",
            code="not_allowed",
            http_status=status,
        )
    if status >= SERVER_ERROR:
        return OutcomeUnknown(message=said, code="server_error", http_status=status)
    return Rejected(message=said, code="refused", http_status=status)


_CALLS = Calls(
    provider=SendGridPost.name,
    errors=(HTTPError, OSError, ValueError),
    failure_of=failure_of,
    answer_of=_answer_of,
    not_executed=frozenset(),
)
