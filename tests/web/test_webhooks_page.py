"""What docs/webhooks.md shows is what happens."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from models.clock import wall
from models.endpoints import MOST_ENDPOINTS, OVERLAP, SLOTS, UNPROVEN_SLOTS
from schedules.deliveries import FEWEST_FAILURES, GIVEN_UP_AFTER, STEPS_S
from tasks.endpoints import FAILING_AT_ONCE
from web.api.deliveries import MOST_RESENT
from worker.outgoing import payloads, signing

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_request_that_is_shown_makes_an_endpoint(owner):
    answer = owner.post("/api/v1/endpoints", json.loads(blocks("json")[0]))
    assert answer.status_code == 201, answer.text
    assert answer.json["events"] == ["payment.*", "invoice.paid"]


def test_the_body_that_is_shown_has_the_parts_of_what_is_sent():
    shown = json.loads(blocks("json")[1])
    assert json.loads(payloads.written(shown)) == shown


@pytest.fixture
def is_from_paybeat():
    names: dict = {}
    exec(blocks("python")[0], names)
    return names["is_from_paybeat"]


def test_the_check_that_is_shown_takes_ours_and_nothing_else(is_from_paybeat):
    new, old, other = (signing.new_secret() for _ in range(3))
    now_s = int(wall().timestamp())
    body = b'{"type": "payment.succeeded"}'
    headers = signing.headers_of((new, old), message_id="msg_1", timestamp=now_s, body=body)
    assert is_from_paybeat(new, headers, body)
    assert is_from_paybeat(old, headers, body)
    assert not is_from_paybeat(other, headers, body)
    assert not is_from_paybeat(new, headers, body + b" ")
    assert not is_from_paybeat(new, headers | {"webhook-id": "msg_2"}, body)
    old_news = signing.headers_of((new,), message_id="msg_1", timestamp=now_s - 600, body=body)
    assert not is_from_paybeat(new, old_news, body)


def test_the_numbers_of_the_page_are_those_of_the_code():
    assert STEPS_S == (5, 300, 1800, 7200, 18000, 36000, 36000)
    assert timedelta(hours=27) < timedelta(seconds=sum(STEPS_S)) < timedelta(hours=28)
    assert (timedelta(days=5), 10) == (GIVEN_UP_AFTER, FEWEST_FAILURES)
    assert (timedelta(hours=24), 20, 1000) == (OVERLAP, MOST_ENDPOINTS, MOST_RESENT)
    assert (SLOTS, UNPROVEN_SLOTS, FAILING_AT_ONCE) == (4, 1, 12)
