"""The ready-made message is what Celery itself would have sent."""

import base64
import json

import pytest
from celery.app.task import Context
from celery.exceptions import QueueNotFound

from models.ids import new_id
from models.outbox import Owed
from worker import dispatch
from worker.app import app


@pytest.fixture
def celerys_own(migrated):
    """A message that Celery sent, as it lies in Redis."""
    task_id = str(new_id())
    dispatch.doorbell().client.delete("payments")
    app.send_task("payments.charge", (task_id,), task_id=task_id, queue="payments")
    raw = dispatch.doorbell().client.rpop("payments")
    return json.loads(raw)


def ours(**columns) -> dict:
    owed = Owed(
        id=new_id(), task="payments.charge", queue="payments", request_id="req-9", **columns
    )
    queue, raw = dispatch.message_for(owed)
    assert queue == "payments"
    return json.loads(raw)


def test_our_message_has_every_field_that_celerys_has(celerys_own):
    message = ours(arguments={"transaction_id": str(new_id())})
    assert set(celerys_own) <= set(message) | {"properties"}
    assert set(celerys_own["properties"]) <= set(message["properties"])
    missing = set(celerys_own["headers"]) - set(message["headers"])
    assert missing <= {"group", "stamps"}
    assert message["content-type"] == celerys_own["content-type"]


def test_a_message_carries_ids_and_nothing_else():
    payment_id = str(new_id())
    message = ours(
        arguments={"transaction_id": payment_id, "reply": "secret-key", "event": {"amount": "1"}}
    )
    args, kwargs, _ = json.loads(base64.b64decode(message["body"]))
    assert args == [message["headers"]["id"]]
    assert kwargs == {"transaction_id": payment_id}
    assert "secret-key" not in json.dumps(message)


def test_celery_reads_our_headers():
    headers = ours(arguments={})["headers"]
    request = Context(headers)
    assert request.task == "payments.charge"
    assert request.get("request_id") == "req-9"


def test_a_misspelt_queue_is_an_error_and_not_a_queue_that_nobody_reads(migrated):
    with pytest.raises(QueueNotFound):
        app.send_task("payments.charge", (), queue="payment")
