"""Load on an HTTP endpoint, from a process of its own: signed webhooks, each a new event.

    python -m benchmarks.load --port 8000 --path /hello --seconds 5 [--rate 200]

Without `--rate` each connection sends again as soon as it is answered: what the server can do.
With it, requests are due at a steady rate and their time counts from when they were due, so that
a server that stalls is not excused for what it kept waiting. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import hmac
import itertools
import json
import os
import select
import socket
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CARD = {
    "brand": "visa",
    "checks": {"address_line1_check": None, "cvc_check": "pass"},
    "country": "IN",
    "exp_month": 8,
    "exp_year": 2030,
    "fingerprint": "Xt5EWLLDS7FJjR1c",
    "funding": "credit",
    "last4": "4242",
    "network": "visa",
    "three_d_secure": None,
    "wallet": None,
}
INTENT: dict[str, Any] = {
    "id": "pi_3PbenchmarkBenchmark",
    "object": "payment_intent",
    "amount": 249900,
    "amount_capturable": 0,
    "amount_details": {"tip": {}},
    "amount_received": 249900,
    "application": None,
    "automatic_payment_methods": None,
    "canceled_at": None,
    "capture_method": "automatic_async",
    "client_secret": "pi_3PbenchmarkBenchmark_secret_ofthebenchmarkonly",
    "confirmation_method": "automatic",
    "created": 1795000000,
    "currency": "inr",
    "customer": "cus_Qbenchmark",
    "description": "Invoice INV-2026-000123 of Example Private Limited",
    "last_payment_error": None,
    "latest_charge": "ch_3PbenchmarkBenchmark",
    "livemode": False,
    "metadata": {
        "transaction_id": "01a20643-9e21-77c0-b5ee-caf5f02eafb5",
        "company_id": "01a20643-9e08-755c-b4fd-1b2a7c3d4e5f",
    },
    "next_action": None,
    "payment_method": "pm_1Pbenchmark",
    "payment_method_options": {"card": {"installments": None, "network": None}},
    "payment_method_types": ["card"],
    "processing": None,
    "receipt_email": "billing@example.com",
    "setup_future_usage": "off_session",
    "shipping": {
        "address": {"city": "Bengaluru", "country": "IN", "line1": "1 MG Road", "state": "KA"},
        "name": "Example Private Limited",
    },
    "statement_descriptor": None,
    "status": "succeeded",
    "charges": {
        "object": "list",
        "has_more": False,
        "total_count": 1,
        "data": [
            {
                "id": "ch_3PbenchmarkBenchmark",
                "object": "charge",
                "amount": 249900,
                "balance_transaction": "txn_3PbenchmarkBenchmark",
                "captured": True,
                "currency": "inr",
                "outcome": {"network_status": "approved_by_network", "risk_score": 12},
                "paid": True,
                "payment_method_details": {"card": CARD, "type": "card"},
                "receipt_url": "https://pay.example.com/receipts/" + "r" * 160,
                "status": "succeeded",
            }
        ],
    },
}
EVENT = {
    "id": "evt_ID",
    "object": "event",
    "api_version": "2026-10-28.endive",
    "created": 1795000000,
    "data": {"object": INTENT},
    "livemode": False,
    "pending_webhooks": 1,
    "request": {"id": "req_benchmark", "idempotency_key": "benchmark"},
    "type": "payment_intent.succeeded",
}


class Requests:
    """Makes ready-signed requests, each of a new event."""

    def __init__(self, path: str, key: str, event_type: str) -> None:
        text = json.dumps({**EVENT, "type": event_type}, indent=2).encode()
        self._before, _, self._after = text.partition(b"evt_ID")
        self._key = key.encode()
        self._path = path
        self._run = os.urandom(6).hex()
        self._numbers = itertools.count()

    def next(self) -> bytes:
        """Return one request."""
        body = self._before + f"evt_{self._run}{next(self._numbers)}".encode() + self._after
        stamp = str(int(time.time()))
        signature = hmac.digest(self._key, stamp.encode() + b"." + body, "sha256").hex()
        head = (
            f"POST {self._path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Stripe/1.0\r\n"
            "Accept: */*\r\nContent-Type: application/json; charset=utf-8\r\n"
            f"Stripe-Signature: t={stamp},v1={signature}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


class Payments(Requests):
    """Makes the events of given payments, each once."""

    def __init__(self, path: str, key: str, payments: list[tuple[str, str]]) -> None:
        super().__init__(path, key, "payment_intent.succeeded")
        self._payments = iter(payments)
        self._template = self._after

    def next(self) -> bytes:
        """Return the request of the next payment."""
        payment_id, company_id = next(self._payments)
        self._after = (
            self._template.replace(
                INTENT["metadata"]["transaction_id"].encode(), payment_id.encode()
            )
            .replace(INTENT["metadata"]["company_id"].encode(), company_id.encode())
            .replace(INTENT["id"].encode(), f"pi_{payment_id}".encode())
        )
        return super().next()


@dataclass
class Connection:
    """One keep-alive connection and what it waits for."""

    port: int
    due_at: float = 0.0
    buffer: bytes = b""
    socket: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, request: bytes, due_at: float) -> None:
        """Send a request whose time counts from `due_at`."""
        self.due_at, self.buffer = due_at, b""
        self.socket.sendall(request)

    def receive(self) -> int | None:
        """Read what is there; return the status once the answer is whole, 0 if it was cut."""
        try:
            part = self.socket.recv(65536)
        except OSError:
            part = b""
        if not part:
            return 0
        self.buffer += part
        head, blank, body = self.buffer.partition(b"\r\n\r\n")
        if not blank:
            return None
        length = head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]
        return int(head[9:12]) if len(body) >= int(length) else None


@dataclass
class Load:
    """Sends and keeps the times, in seconds, of what was answered 200."""

    port: int
    requests: Requests
    connections: int
    rate: float | None
    times_s: list[float] = field(default_factory=list)
    failed: int = 0

    def run(self, seconds: float) -> float:
        """Send for so long; return how long it took until the last answer."""
        poll = select.epoll()
        held = {}
        free: deque[Connection] = deque()
        for _ in range(self.connections):
            free.append(self._connect(held, poll))
        started = time.perf_counter()
        ends = started + seconds
        number = 0
        while True:
            moment = time.perf_counter()
            while free and moment < ends:
                due_at = moment if self.rate is None else started + number / self.rate
                if due_at > moment or due_at >= ends:
                    break
                try:
                    request = self.requests.next()
                except StopIteration:
                    ends = moment
                    break
                free.popleft().send(request, due_at)
                number += 1
                moment = time.perf_counter()
            if moment >= ends and len(free) == self.connections:
                return moment - started
            if moment > ends + 30:
                self.failed += self.connections - len(free)
                return moment - started
            self._collect(held, free, poll, self._pause_s(started, number, moment, bool(free)))

    def _pause_s(self, started: float, number: int, moment: float, is_free: bool) -> float:  # noqa: FBT001
        if self.rate is None or not is_free:
            return 0.5
        return min(0.5, max(0.0, started + number / self.rate - moment))

    def _connect(self, held: dict[int, Connection], poll: select.epoll) -> Connection:
        connection = Connection(self.port)
        held[connection.socket.fileno()] = connection
        poll.register(connection.socket, select.EPOLLIN)
        return connection

    def _collect(
        self,
        held: dict[int, Connection],
        free: deque[Connection],
        poll: select.epoll,
        pause_s: float,
    ) -> None:
        for number, _ in poll.poll(pause_s):
            connection = held[number]
            status = connection.receive()
            if status is None:
                continue
            if status == 200:
                self.times_s.append(time.perf_counter() - connection.due_at)
            elif connection not in free:
                self.failed += 1
            if status == 0:
                poll.unregister(number)
                del held[number]
                connection.socket.close()
                if connection in free:
                    free.remove(connection)
                connection = self._connect(held, poll)
            if connection not in free:
                free.append(connection)


def quantile(times: list[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(len(times) * share))] if times else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--type", default="payment_intent.succeeded")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--payments", type=Path)
    given = parser.parse_args()
    key = os.environ["STRIPE_WEBHOOK_KEY"]
    requests = (
        Payments(given.path, key, json.loads(given.payments.read_text()))
        if given.payments
        else Requests(given.path, key, given.type)
    )
    load = Load(given.port, requests, given.connections, given.rate)
    took_s = load.run(given.seconds)
    print(
        json.dumps(
            {
                "answered": len(load.times_s),
                "failed": load.failed,
                "seconds": round(took_s, 3),
                "rate": round(len(load.times_s) / took_s, 1),
                "p50_ms": round(quantile(load.times_s, 0.5) * 1000, 2),
                "p99_ms": round(quantile(load.times_s, 0.99) * 1000, 2),
                "client_cpu_s": round(time.process_time(), 2),
            }
        )
    )


if __name__ == "__main__":
    main()
