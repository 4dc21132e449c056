"""What only tests and people do: see what was sent, and have something become of it."""

from __future__ import annotations

from html import escape
from typing import Any

from sandbox.mail.api import tell
from sandbox.mail.book import EVENT, MESSAGE, Book
from sandbox.mail.deliveries import Deliveries
from sandbox.standin.book import Object
from sandbox.standin.call import Call
from sandbox.standin.desk import Body
from sandbox.standin.desk import Desk as AnyDesk
from sandbox.standin.faults import Faults
from sandbox.standin.wire import Answer, Request

SHOWN = 100
HTML = "text/html; charset=utf-8"
POLICY = {
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}


def _event(call: Call, body: Body) -> Object:
    """Have something become of a message: `event` such as bounce, and more of it."""
    more = {name: value for name, value in body.items() if name not in {"id", "event"}}
    message = call.book.get(MESSAGE, body["id"])
    return tell(call.book, message, body["event"], more, endpoints=call.endpoints)  # type: ignore[arg-type]


class Desk(AnyDesk):
    """Answers `/sandbox/…` of the stand-in for SendGrid.

    `/sandbox/messages` lists what was sent, newest first, as JSON; `/sandbox/` is the same for
    people; `/sandbox/messages/<id>.html` and `.txt` are a letter's own words.
    """

    deeds = {("POST", "messages/*/events"): _event}  # noqa: RUF012  a ClassVar where inherited

    def __init__(self, book: Book, faults: Faults, deliveries: Deliveries) -> None:
        super().__init__(book, faults, deliveries)
        self._plain["GET", "messages"] = self._messages

    def call(self, request: Request) -> Call:
        """Return a Call that no API request caused."""
        return Call(
            book=self.book,
            faults=self.faults,
            base_url="http://" + request.headers.get("host", "127.0.0.1"),
            endpoints=self.deliveries.endpoints,
        )

    def page(self, request: Request, path: str) -> Answer | None:
        """Answer a letter's words, and the list for people."""
        if request.method != "GET":
            return None
        if not path:
            return Answer(200, self._list().encode(), dict(POLICY), HTML)
        name, _, kind = path.removeprefix("messages/").rpartition(".")
        if not path.startswith("messages/") or kind not in {"html", "txt"}:
            return None
        with self.book.lock:
            content = self.book.get(MESSAGE, name)["body"]["content"]
        wanted = "text/html" if kind == "html" else "text/plain"
        words = next((each["value"] for each in content if each["type"] == wanted), "")
        return Answer(200, words.encode(), dict(POLICY), f"{wanted}; charset=utf-8")

    def charges(self, transaction_id: str | None) -> list[Object]:  # noqa: ARG002
        """Return nothing: mail costs nobody anything."""
        return []

    def whole_book(self) -> Object:
        """Return every object."""
        messages = list(self.book.newest_first(MESSAGE))[::-1]
        events = [each["shown"] for each in self.book.newest_first(EVENT)][::-1]
        return {"messages": messages, "events": events, "by_transaction": {}, "totals": {}}

    def _messages(self, body: Body) -> Object:
        equal: dict[str, Any] = {name: body[name] for name in ("mail_id", "to") if body.get(name)}
        with self.book.lock:
            found = [self._line(each) for each in self.book.newest_first(MESSAGE, **equal)]
        return {"messages": found[:SHOWN]}

    def _line(self, message: Object) -> Object:
        body = message["body"]
        told = self.book.newest_first(EVENT, mail_id=message["mail_id"])
        return {
            "id": message["id"],
            "at": message["at"],
            "to": message["to"],
            "mail_id": message["mail_id"],
            "subject": body["subject"],
            "template": (body.get("categories") or [""])[0],
            "attachments": [each["filename"] for each in body.get("attachments", [])],
            "events": [each["shown"]["event"] for each in told][::-1],
        }

    def _list(self) -> str:
        with self.book.lock:
            lines = [self._line(each) for each in self.book.newest_first(MESSAGE)][:SHOWN]
        rows = "".join(
            f"<tr><td>{escape(each['to'])}</td>"
            f'<td><a href="/sandbox/messages/{escape(each["id"])}.html">'
            f"{escape(each['subject'])}</a></td>"
            f"<td>{escape(', '.join(each['events']))}</td></tr>"
            for each in lines
        )
        return (
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>Sent mail</title>'
            "<style>body{font:16px/1.5 system-ui;margin:2rem}td{padding:.2rem 1.5rem .2rem 0}"
            f"</style><h1>Sent mail</h1><table>{rows or '<tr><td>None yet.</td></tr>'}</table>"
        )
