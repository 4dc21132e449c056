"""A user of the API over HTTP: signed in, with exact numbers and idempotency keys."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Self
from uuid import UUID, uuid4

import requests

TIMEOUT_S = 30


class Answer:
    """What came back; numbers with a point are Decimals."""

    def __init__(self, response: requests.Response) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self.text = response.text

    @property
    def body(self) -> Any:
        return json.loads(self.text, parse_float=Decimal)

    def __repr__(self) -> str:
        return f"{self.status} {self.text[:1000]}"


class Client:
    """Speaks for one user. Every POST carries an idempotency key of its own unless told."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url
        self.token = token
        self.user: dict[str, Any] = {}
        self.headers: dict[str, str] = {}

    @classmethod
    def signed_in(cls, url: str, email: str, password: str) -> Self:
        client = cls(url)
        answer = client.post("/api/v1/auth/login", {"email": email, "password": password})
        assert answer.status == 200, answer
        client.token = answer.body["access_token"]
        client.user = answer.body["user"]
        return client

    @property
    def company_id(self) -> UUID:
        return UUID(self.user["company_id"])

    def get(self, path: str, **query: Any) -> Answer:
        return self.send("GET", path, query=query)

    def post(
        self, path: str, body: Any = None, *, key: str | None = None, **headers: str
    ) -> Answer:
        """`headers` by name with underscores: `prefer="wait=1"`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.send(
            "POST", path, body=body, headers={"Idempotency-Key": key or str(uuid4()), **named}
        )

    def delete(self, path: str, *, key: str | None = None) -> Answer:
        return self.send("DELETE", path, headers={"Idempotency-Key": key or str(uuid4())})

    def send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        sent = {**self.headers, **(headers or {})}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        data = None
        if body is not None:
            sent["Content-Type"] = "application/json"
            data = body if isinstance(body, bytes) else json.dumps(body, default=str).encode()
        # A connection a call: tests kill and restart the server between calls.
        response = requests.request(
            method, self.url + path, params=query, data=data, headers=sent, timeout=TIMEOUT_S
        )
        return Answer(response)
