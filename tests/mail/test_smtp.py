"""Mail by SMTP: handed over once, its refusals told apart, TLS where it is not this machine."""

from __future__ import annotations

import email
import email.policy
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage

import pytest
from aiosmtpd.controller import Controller

from models.ids import new_id
from sandbox.children import free_port
from worker.mail import smtp
from worker.mail.base import OutcomeUnknown, Rejected, Unavailable
from worker.mail.letter import Attachment, Letter
from worker.mail.smtp import SmtpPost

TIMEOUT_S = 30.0


def letter(**changes) -> Letter:
    values = {
        "id": new_id(),
        "template": "payment_failed",
        "sender": "Müller & Co. <billing@pay.example.com>",
        "reply_to": "help@pay.example.com",
        "to": "meera@example.com",
        "subject": "Ihre Zahlung von 1.234,50 € ist fehlgeschlagen",
        "text": "Guten Tag,\n.\nein Punkt allein\n" + "x" * 2000,
        "html": "<p>Guten Tag</p>",
        "headers": {"List-Unsubscribe": f"<https://pay.example.com/?token={'a' * 90}>"},
        "attachments": (Attachment("INV-1.pdf", "application/pdf", b"%PDF-1.7\x00\xff"),),
    }
    return Letter(**values | changes)


class Keeper:
    """Keeps what comes, or answers as it is told."""

    def __init__(self, answers: dict[str, str] | None = None) -> None:
        self.answers = answers or {}
        self.kept: list[EmailMessage] = []

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802  aiosmtpd's name
        if answer := self.answers.get("RCPT"):
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802  aiosmtpd's name
        if answer := self.answers.get("DATA"):
            return answer
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        self.kept.append(message)
        return "250 OK"


@contextmanager
def serving(keeper: Keeper, **options) -> Iterator[int]:
    controller = Controller(keeper, hostname="127.0.0.1", port=free_port(), **options)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


def test_a_letter_arrives_whole(unbroken):
    keeper, sent = Keeper(), letter()
    with serving(keeper) as port:
        found = SmtpPost(f"smtp://127.0.0.1:{port}", timeout_s=TIMEOUT_S).send(sent)
    [got] = keeper.kept
    assert found == got["Message-ID"] == f"<{sent.id}@pay.example.com>"
    assert got["Subject"] == sent.subject
    assert got["From"].addresses[0].display_name == "Müller & Co."
    assert str(got["Reply-To"]) == sent.reply_to
    assert str(got["List-Unsubscribe"]) == sent.headers["List-Unsubscribe"]
    plain, html = got.get_body(("plain",)), got.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert plain.get_content().replace("\r\n", "\n").strip() == sent.text.strip()
    assert html.get_content().strip() == sent.html
    [attached] = got.iter_attachments()
    assert (attached.get_filename(), attached.get_content()) == ("INV-1.pdf", b"%PDF-1.7\x00\xff")


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ({"RCPT": "550 5.1.1 meera@example.com is unknown"}, Rejected),
        ({"RCPT": "450 4.2.1 greylisted"}, Unavailable),
        ({"DATA": "554 5.7.1 refused for policy"}, Rejected),
        ({"DATA": "451 4.3.0 try again"}, Unavailable),
    ],
)
def test_a_refusal_says_whether_it_is_for_good_and_names_nobody(unbroken, answers, kind):
    with serving(Keeper(answers)) as port, pytest.raises(kind) as caught:
        SmtpPost(f"smtp://127.0.0.1:{port}", timeout_s=TIMEOUT_S).send(letter())
    assert "meera" not in str(caught.value)


def test_no_server_means_not_sent(unbroken):
    with pytest.raises(Unavailable):
        SmtpPost(f"smtp://127.0.0.1:{free_port()}", timeout_s=TIMEOUT_S).send(letter())


@contextmanager
def hanging_up_after(words: bytes) -> Iterator[int]:
    """A server that closes as soon as it has read these words."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection, connection.makefile("rwb") as lines:
                answers = {b"EHLO": b"250 hello", b"MAIL": b"250 ok", b"RCPT": b"250 ok",
                           b"DATA": b"354 go on"}  # fmt: skip
                lines.write(b"220 here\r\n")
                lines.flush()
                for line in lines:
                    if line.upper().startswith(words):
                        return
                    if answer := answers.get(line[:4].upper()):
                        lines.write(answer + b"\r\n")
                        lines.flush()

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(TIMEOUT_S)


@pytest.mark.parametrize(
    ("words", "kind"),
    [(b"RCPT", Unavailable), (b"DATA", OutcomeUnknown), (b".\r\n", OutcomeUnknown)],
)
def test_once_the_letter_was_given_nobody_knows(unbroken, words, kind):
    with hanging_up_after(words) as port, pytest.raises(kind):
        SmtpPost(f"smtp://127.0.0.1:{port}", timeout_s=TIMEOUT_S).send(letter(text="short"))


def test_nothing_is_said_in_the_clear_to_another_machine(unbroken, monkeypatch):
    monkeypatch.setattr(smtp, "LOOPBACK", frozenset())
    keeper = Keeper()
    with serving(keeper) as port:
        for scheme in ("smtp", "smtps"):
            post = SmtpPost(f"{scheme}://ada:secret@127.0.0.1:{port}", timeout_s=TIMEOUT_S)
            with pytest.raises(Unavailable):
                post.send(letter())
    assert keeper.kept == []
