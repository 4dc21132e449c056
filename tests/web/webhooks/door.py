"""The webhook endpoint as a test meets it: signed posts in, rows and messages out."""

from __future__ import annotations

import hmac
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import redis
import sqlalchemy
from flask import Flask
from werkzeug.test import TestResponse

from models.tables import METADATA
from tests.waiting import PATIENCE_S

PATH = "/api/v1/webhooks/stripe"
KEY = "whsec_of_the_tests"
OLD_KEY = "whsec_that_is_being_replaced"
WEBHOOKS = METADATA.tables["payment_webhooks"]
OUTBOX = METADATA.tables["outbox"]


def event(event_id: str = "evt_1", **fields: Any) -> bytes:
    """Return an event as Stripe sends it; `fields` replace or add."""
    whole = {
        "id": event_id,
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": 1_795_000_000,
        "data": {"object": {"id": "pi_1", "object": "payment_intent", "amount": 1099}},
        "livemode": False,
        "pending_webhooks": 1,
        "type": "payment_intent.succeeded",
        **fields,
    }
    return json.dumps(whole).encode()


def signature(body: bytes, *, key: str = KEY, at: float | str | None = None) -> str:
    """Sign like Stripe; `at` is the timestamp, now unless given."""
    stamp = at if isinstance(at, str) else str(int(time.time() if at is None else at))
    signed = stamp.encode() + b"." + body
    return f"t={stamp},v1={hmac.digest(key.encode(), signed, 'sha256').hex()}"


@dataclass
class Door:
    """The endpoint in this process, on real servers."""

    app: Flask
    database: sqlalchemy.Engine
    broker: redis.Redis

    def post(
        self, body: bytes, *, signed: str | None = None, headers: Mapping[str, str] | None = None
    ) -> TestResponse:
        """Post a body, properly signed unless `signed` or `headers` say otherwise."""
        if headers is None:
            headers = {"Stripe-Signature": signature(body) if signed is None else signed}
        response = self.app.test_client().post(PATH, data=body, headers=dict(headers))
        response.get_data()
        response.close()  # as a server does once the answer is sent
        return response

    def stored(self) -> list[Any]:
        """Return the stored events in the order of their ids."""
        with self.database.connect() as connection:
            rows = connection.execute(WEBHOOKS.select().order_by(WEBHOOKS.c.provider_event_id))
            return list(rows)

    def owed(self) -> list[Any]:
        """Return what is owed, oldest first."""
        with self.database.connect() as connection:
            return list(connection.execute(OUTBOX.select().order_by(OUTBOX.c.id)))

    def rung(self) -> list[str]:
        """Return the outbox ids that messages in the queue carry."""
        return [orjson.loads(m)["headers"]["id"] for m in self.broker.lrange("webhooks", 0, -1)]


def at_once(bodies: list[bytes], door: Door) -> list[int]:
    """Post each body from a thread of its own, all let go together; return the statuses."""
    start = threading.Barrier(len(bodies))
    statuses: list[int] = []

    def post(body: bytes) -> None:
        start.wait(PATIENCE_S)
        statuses.append(door.post(body).status_code)

    threads = [threading.Thread(target=post, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    return statuses
