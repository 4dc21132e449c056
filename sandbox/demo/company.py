"""The demo company: what it asks of the API, and what its browsers hear."""

from __future__ import annotations

import json
import queue
import threading
import time
from contextlib import suppress
from decimal import Decimal
from uuid import uuid4

import redis
import requests

from sandbox.demo.screen import Json, Unexpected
from web.people import DEMO_OWNER, DEMO_PASSWORD
from worker.channels import channel_of
from worker.settings import settings

# Each step takes well under a second; this is for a machine that is very busy.
PATIENCE_S = 20.0


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
