"""Events by `_bulk`, at a double over HTTP that keeps to its contract."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from models.ids import new_id
from worker import elastic
from worker.gateways.base import Rejected, Unavailable
from worker.settings import settings


@dataclass
class Double:
    """An index by id, and what it is to say of the next documents and requests."""

    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[dict[str, Any]] = field(default_factory=list)
    # By document: what it says before it takes it. By request: a status instead of an answer.
    items: dict[str, list[int]] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=list)

    def bulk(self, lines: list[Any]) -> dict[str, Any]:
        items = []
        for action, document in zip(lines[::2], lines[1::2], strict=True):
            [(op, about)] = action.items()
            assert op == "index"
            told = self.items.get(about["_id"])
            status = told.pop(0) if told else 201 if about["_id"] not in self.documents else 200
            if status < 300:
                self.documents[about["_id"]] = document
                items.append({"index": {"_id": about["_id"], "status": status}})
            else:
                error = {"type": "some_exception", "reason": "because"}
                items.append({"index": {"_id": about["_id"], "status": status, "error": error}})
        return {
            "took": 1,
            "errors": any("error" in each["index"] for each in items),
            "items": items,
        }


@pytest.fixture
def double(monkeypatch) -> Iterator[Double]:
    made = Double()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            assert raw.endswith(b"\n")
            lines = [json.loads(line) for line in raw.splitlines()]
            made.requests.append({"path": self.path, "headers": self.headers, "lines": lines})
            status = made.statuses.pop(0) if made.statuses else 200
            told = made.bulk(lines) if status == 200 else {"error": {"type": "refused"}}
            body = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("ELASTICSEARCH_URL", f"http://ada:s%3Ap@127.0.0.1:{server.server_port}/es")
    monkeypatch.setattr(elastic, "PAUSE_S", 0.001)
    settings.cache_clear()
    yield made
    monkeypatch.undo()
    settings.cache_clear()
    server.shutdown()
    thread.join()
    server.server_close()
    elastic._wire().close()


def event(**changes: Any) -> dict[str, Any]:
    return {
        "id": new_id(),
        "company_id": new_id(),
        "event_type": "payment",
        "name": "payment.succeeded",
        "source": "own",
        "user_id": None,
        "module_id": None,
        "amount": Decimal("12345678901.23"),
        "currency": "EUR",
        "quantity": None,
        "dimension": "",
        "metadata": {"told": 'a "line"\nand another'},
        "timestamp": datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=UTC),
        "date": date(2026, 3, 1),
        "export_id": 7,
        **changes,
    }


def test_a_document_has_its_events_id_and_exact_amounts(double):
    one = event()
    assert elastic.index([one]) == 1
    [request] = double.requests
    assert request["path"] == "/es/paybeat-events/_bulk"
    assert request["headers"]["Content-Type"] == "application/x-ndjson"
    assert request["headers"]["Authorization"] == "Basic YWRhOnM6cA=="
    [document] = double.documents.values()
    assert list(double.documents) == [str(one["id"])]
    assert document["amount"] == "12345678901.23"
    assert document["@timestamp"] == "2026-03-01T12:00:00.000001+00:00"
    assert document["metadata"] == one["metadata"]


def test_what_is_sent_twice_is_there_once(double):
    events = [event() for _ in range(3)]
    for _ in range(2):
        elastic.index(events)
    assert len(double.documents) == 3


def test_many_are_sent_in_requests_of_a_bounded_size(double, monkeypatch):
    monkeypatch.setattr(elastic, "BULK", 4)
    assert elastic.index(event() for _ in range(10)) == 10
    assert [len(each["lines"]) // 2 for each in double.requests] == [4, 4, 2]
    assert len(double.documents) == 10


def test_only_what_was_too_many_is_sent_again(double):
    events = [event() for _ in range(4)]
    double.items = {str(events[1]["id"]): [429, 429], str(events[3]["id"]): [503]}
    elastic.index(events)
    assert double.documents.keys() == {str(each["id"]) for each in events}
    sent = [[line["index"]["_id"] for line in each["lines"][::2]] for each in double.requests]
    assert sent == [
        [str(each["id"]) for each in events],
        [str(events[1]["id"]), str(events[3]["id"])],
        [str(events[1]["id"])],
    ]


def test_a_request_that_is_too_many_is_sent_again_whole(double):
    double.statuses = [429]
    elastic.index([event(), event()])
    assert (len(double.requests), len(double.documents)) == (2, 2)


def test_what_stays_too_many_waits(double):
    one = event()
    double.items = {str(one["id"]): [429] * 100}
    with pytest.raises(Unavailable, match="1 documents were not taken"):
        elastic.index([one])
    assert len(double.requests) == elastic.TRIES


def test_a_document_that_is_refused_is_named(double):
    good, bad = event(), event()
    double.items = {str(bad["id"]): [400]}
    with pytest.raises(Rejected, match=f"document {bad['id']} is refused"):
        elastic.index([good, bad])
    assert list(double.documents) == [str(good["id"])]


@pytest.mark.parametrize(("status", "kind"), [(503, Unavailable), (401, Rejected), (404, Rejected)])
def test_a_request_that_fails_is_an_error_by_what_must_be_done(double, status, kind):
    double.statuses = [status]
    with pytest.raises(kind):
        elastic.index([event()])


def test_a_server_that_is_not_there_is_waited_for(monkeypatch, double):
    monkeypatch.setenv("ELASTICSEARCH_URL", "http://127.0.0.1:9")
    settings.cache_clear()
    with pytest.raises(Unavailable, match="no answer"):
        elastic.index([event()])
