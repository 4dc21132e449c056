"""The demo company: what it asks of the API, and what its browsers hear."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from functools import partial
from uuid import uuid4

import requests
from simple_websocket import Client as WebSocket  # type: ignore[import-untyped]
from simple_websocket.errors import (  # type: ignore[import-untyped]
    SimpleWebsocketError as WebSocketError,
)

from sandbox.demo.screen import Json, Unexpected
from web.people import DEMO_OWNER, DEMO_PASSWORD

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
    """What the company's browsers hear over a WebSocket, with the time at which it came."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._heard: queue.Queue[tuple[float, Json]] = queue.Queue()
        # Beside what was heard: whoever waits for one must not take the other.
        self._hellos: queue.Queue[tuple[float, Json]] = queue.Queue()
        self._ids: list[str] = []
        self._hearing = threading.Lock()
        self.connect()

    def connect(self) -> None:
        """Hear on from what was heard last: a connection ends with its sign-in.

        The one before may still speak for a moment; what both tell is heard once.
        """
        way_in = self._api.post("relay/tickets", {}, expected=201)
        since = f"?since={self._ids[-1]}" if self._ids else ""
        try:
            socket = WebSocket.connect(
                way_in["url"] + since,
                subprotocols=["paybeat.v1", f"ticket.{way_in['ticket']}"],
                # The demo's end shall not wait for the relay's.
                thread_class=partial(threading.Thread, daemon=True),
            )
            # A hello that came with the handshake's answer is looked at with what comes next.
            socket.send('{"type":"ping"}')
        except (OSError, WebSocketError) as error:
            raise Unexpected(
                f"{way_in['url']} lets nobody in ({type(error).__name__}): is the relay up?"
            ) from None
        threading.Thread(target=self._listen, args=[socket], daemon=True).start()
        self._wait(self._hellos, lambda _: True, "The relay said nothing")

    def _listen(self, socket: WebSocket) -> None:
        # A relay that goes away is told by who waits: nothing came in time.
        with suppress(WebSocketError):
            while True:
                self._hear(json.loads(socket.receive()))

    def _hear(self, event: Json) -> None:
        came = time.monotonic()
        if event["type"] == "relay.hello":
            self._hellos.put((came, event))
        elif "id" in event:
            with self._hearing:
                if event["id"] not in self._ids:
                    self._ids.append(event["id"])
                    self._heard.put((came, event))

    def wait_for(self, kind: str, invoice_id: str) -> float:
        """Return when the event came."""
        return self._wait(
            self._heard,
            lambda event: event["type"] == kind and event["data"]["invoice_id"] == invoice_id,
            f"{kind} was not heard",
        )

    @staticmethod
    def _wait(
        told: queue.Queue[tuple[float, Json]], is_it: Callable[[Json], bool], otherwise: str
    ) -> float:
        until = time.monotonic() + PATIENCE_S
        while (left_s := until - time.monotonic()) > 0:
            try:
                came, event = told.get(timeout=left_s)
            except queue.Empty:
                break
            if is_it(event):
                return came
        raise Unexpected(f"{otherwise} within {PATIENCE_S:.0f} s.")
