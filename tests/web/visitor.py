"""A caller of the application in this process."""

from __future__ import annotations

from typing import Any, Self

from flask import Flask
from werkzeug.test import TestResponse

PASSWORD = "correct horse battery staple"


class Visitor:
    """Sends requests; signed in if it has a token."""

    def __init__(self, app: Flask, token: str | None = None) -> None:
        self.app = app
        self.token = token

    def sign_in(self, email: str, password: str = PASSWORD) -> Self:
        answer = self.post("/api/v1/auth/login", {"email": email, "password": password})
        assert answer.status_code == 200, answer.text
        return type(self)(self.app, answer.json["access_token"])

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.send("GET", path, headers=_named(headers))

    def post(self, path: str, body: Any = None, **headers: str) -> TestResponse:
        return self.send("POST", path, json=body, headers=_named(headers))

    def send(self, method: str, path: str, **options: Any) -> TestResponse:
        headers = dict(options.pop("headers", None) or {})
        if self.token is not None:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        if options.get("json", "") is None:
            del options["json"]
        return self.app.test_client().open(path, method=method, headers=headers, **options)


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def problem_of(answer: TestResponse, status: int, kind: str) -> dict[str, Any]:
    """Return the problem that an answer must be."""
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    body = answer.json
    assert body["type"] == f"urn:paybeat:problem:{kind}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert body["instance"] == answer.request.path
    assert body["request_id"] == answer.headers["X-Request-Id"]
    return body
