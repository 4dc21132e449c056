"""Flask and nothing else: it reads the body and answers. The floor of any Flask endpoint."""

from __future__ import annotations

from flask import Flask, Response, request

app = Flask(__name__)


@app.post("/hello")
def hello() -> Response:
    request.get_data()
    return Response(b'{"received":true}', mimetype="application/json")
