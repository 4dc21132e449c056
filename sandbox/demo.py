"""`make demo`: the demo company pays an invoice, and each step is shown as it happens.

    python -m sandbox.demo

Over HTTP, as a customer's program would; `make demo` brings up what answers. The last line is one
JSON object with the seconds of each step. Ends with 1 and one sentence when something is not as
it should be.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any
from uuid import uuid4

import redis
import requests

from sandbox.children import LOOPBACK
from web.people import DEMO_OWNER, DEMO_PASSWORD
from worker.events import channel_of
from worker.settings import settings

Json = dict[str, Any]

# Each step takes well under a second; this is for a machine that is very busy.
PATIENCE_S = 20.0
EVENTS = ("payment.succeeded", "invoice.paid")
WEBHOOK = "payment_intent.succeeded"
LINES = [
    {"description": "Seats, November", "quantity": 12, "unit_amount": "99.00"},
    {"description": "Support hours", "quantity": "2.5", "unit_amount": "124.40"},
]


class Unexpected(Exception):
    """Something is not as it should be; the message is one sentence."""


class Screen:
    """What a person sees: one line a step, with its time; colours only on a terminal."""

    def __init__(self) -> None:
        self.is_tty = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self.took_s: dict[str, float] = {}
        self._began = time.monotonic()

    def step(self, name: str, text: str, took_s: float) -> None:
        """Tell that a step is done."""
        self.took_s[name] = round(took_s, 4)
        at = self._dim(f"{time.monotonic() - self._began:6.2f} s")
        print(f"  {self._green('●')} {at}  {text}  {self._dim(f'{took_s * 1000:.0f} ms')}")
        sys.stdout.flush()

    def timed(self, name: str, work: Callable[[], Json], tell: Callable[[Json], str]) -> Json:
        """Do one step and tell of it."""
        began = time.monotonic()
        done = work()
        self.step(name, tell(done), time.monotonic() - began)
        return done

    def table(self, rows: list[tuple[str, ...]]) -> None:
        """Print rows in columns as wide as their widest cell."""
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for number, row in enumerate(rows):
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            line = "    " + "  ".join(cells).rstrip()
            print(line if number else self._dim(line))

    def _green(self, text: str) -> str:
        return f"\033[32m{text}\033[0m" if self.is_tty else text

    def _dim(self, text: str) -> str:
        return f"\033[2m{text}\033[0m" if self.is_tty else text


class Api:
    """The API over HTTP."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = requests.Session()
        self._http.headers["Prefer"] = f"wait={PATIENCE_S:.0f}"

    def sign_in(self) -> Json:
        """Sign in as the demo company's owner."""
        login = {"email": DEMO_OWNER, "password": DEMO_PASSWORD}
        answer = self.post("auth/login", login, expected=200)
        self._http.headers["Authorization"] = f"Bearer {answer['access_token']}"
        user: Json = answer["user"]
        return user

    def get(self, path: str) -> Json:
        """Read something."""
        return self._send("GET", path, None, 200)

    def post(self, path: str, body: Json, *, expected: int) -> Json:
        """Make something, once, however often this is sent."""
        return self._send("POST", path, body, expected)

    def _send(self, method: str, path: str, body: Json | None, expected: int) -> Json:
        headers = {"Idempotency-Key": str(uuid4())} if body is not None else {}
        try:
            answer = self._http.request(
                method,
                f"{self.url}/api/v1/{path}",
                json=body,
                headers=headers,
                timeout=PATIENCE_S + 10,
            )
        except requests.RequestException as error:
            raise Unexpected(f"{self.url} does not answer ({type(error).__name__}).") from None
        if answer.status_code != expected:
            told = answer.text[:300]
            raise Unexpected(f"{method} /api/v1/{path} answered {answer.status_code}: {told}")
        found: Json = json.loads(answer.text, parse_float=Decimal)
        return found


class Channel:
    """What the company's browsers hear, with the time at which it came."""

    def __init__(self, company_id: str) -> None:
        self._heard: queue.Queue[tuple[float, Json]] = queue.Queue()
        # Kept, for a client that is forgotten closes its connections.
        self._client = redis.Redis.from_url(settings().cache_url, socket_timeout=None)
        self._pubsub = self._client.pubsub()  # type: ignore[no-untyped-call]
        try:
            self._pubsub.subscribe(channel_of(company_id))
            self._pubsub.get_message(timeout=PATIENCE_S)
        except redis.RedisError as error:
            raise Unexpected(f"Redis does not answer ({type(error).__name__}).") from None
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        # A Redis that goes away is told by who waits: nothing came in time.
        with suppress(redis.RedisError, OSError, ValueError):
            for message in self._pubsub.listen():
                if message["type"] == "message":
                    self._heard.put((time.monotonic(), json.loads(message["data"])))

    def wait_for(self, kind: str, invoice_id: str) -> float:
        """Return when the event came."""
        until = time.monotonic() + PATIENCE_S
        while (left_s := until - time.monotonic()) > 0:
            try:
                came, event = self._heard.get(timeout=left_s)
            except queue.Empty:
                break
            if event["type"] == kind and event["data"]["invoice_id"] == invoice_id:
                return came
        raise Unexpected(f"{kind} was not published within {PATIENCE_S:.0f} s.")


def _wait_for_webhook(api: Api, payment_id: str) -> Json:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        lines = api.get(f"payments/{payment_id}/timeline")["data"]
        for line in lines:
            if line["what"] == "event" and line["why"] == WEBHOOK:
                return {"lines": lines, **line}
        time.sleep(0.02)
    raise Unexpected(f"The webhook {WEBHOOK} did not arrive within {PATIENCE_S:.0f} s.")


def _rows(lines: list[Json]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("time", "of", "what", "why", "cause")]
    for line in lines:
        moved = f"{line['was']} → {line['became']}" if line["became"] else line["what"]
        cause = line["event_id"] or line["provider_request_id"] or line["request_id"] or ""
        rows.append((line["at"][11:23], line["subject"], moved, line["why"][:48], cause[:36]))
    return rows


def run(api: Api, screen: Screen) -> Json:
    """Pay an invoice; return the seconds of each step.

    Raises:
        Unexpected: something is not as it should be.
    """
    user = screen.timed("login", api.sign_in, lambda user: f"signed in as {user['email']}")
    channel = Channel(user["company_id"])
    invoice = screen.timed(
        "invoice",
        lambda: api.post("invoices", {"lines": LINES}, expected=201),
        lambda one: f"invoice {one['number']} over {one['amount']} {one['currency']}",
    )
    card = screen.timed(
        "card",
        lambda: api.post(
            "payment-methods", {"type": "card", "token": "pm_card_visa"}, expected=201
        ),
        lambda one: f"card {one['brand']} ···· {one['last_four']} kept by the provider",
    )
    intent = {"invoice_id": invoice["id"], "payment_method_id": card["id"]}
    began = time.monotonic()
    payment = screen.timed(
        "payment",
        lambda: api.post(
            "payments/create-intent", {**intent, "amount": str(invoice["amount"])}, expected=200
        ),
        lambda one: f"payment {one['status']}",
    )
    if payment["status"] != "succeeded":
        raise Unexpected(f"The payment is {payment['status']}: {payment['error']}.")
    for kind in EVENTS:
        came = channel.wait_for(kind, invoice["id"])
        screen.step(kind, f"browsers heard {kind}", came - began)
    event = screen.timed(
        "webhook",
        lambda: _wait_for_webhook(api, payment["transaction_id"]),
        lambda one: f"signed webhook {one['why']} applied ({one['event_id']})",
    )
    paid = api.get(f"invoices/{invoice['id']}")
    if (paid["status"], paid["amount_due"]) != ("paid", 0):
        raise Unexpected(f"The invoice is {paid['status']}, {paid['amount_due']} is due.")
    print("\n  The payment's timeline\n")
    screen.table(_rows(event["lines"]))
    print()
    return {"invoice": paid["number"], "status": paid["status"], "seconds": screen.took_s}


def main() -> int:
    """Run the demo."""
    given = settings()
    host = LOOPBACK if given.host in {"", "0.0.0.0"} else given.host
    screen = Screen()
    began = time.monotonic()
    try:
        told = run(Api(f"http://{host}:{given.port}"), screen)
    except Unexpected as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps({**told, "total_s": round(time.monotonic() - began, 3)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
