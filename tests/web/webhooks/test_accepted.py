"""What Stripe signed is stored once, owed once, rung once, and answered the same each time."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import orjson
import pytest
from sqlalchemy.orm import Session

from models.outbox import Owed
from models.webhooks import PaymentWebhook
from tests.web.webhooks.door import OLD_KEY, Door, at_once, event, signature
from tests.web.webhooks.test_refused import nested
from worker.dispatch import message_for
from worker.settings import settings
from worker.signatures import DEPTH


def assert_received(response) -> None:
    assert response.status_code == 200, response.text
    assert response.json == {"received": True}


def test_an_event_is_stored_as_it_came_and_its_handling_is_owed(door: Door) -> None:
    body = event("evt_1", account="acct_1", said="'\\\" %s {} \u20ac \U0001f600 \x7f")
    signed = signature(body)
    before = datetime.now(UTC)

    assert_received(door.post(body, signed=signed))

    (stored,), (owed,) = door.stored(), door.owed()
    assert (stored.provider, stored.account, stored.provider_event_id) == (
        "stripe",
        "acct_1",
        "evt_1",
    )
    assert stored.event_type == "payment_intent.succeeded"
    assert stored.status == "received"
    assert stored.payload == json.loads(body)
    assert stored.headers == {"Stripe-Signature": signed}
    assert before <= stored.created_at <= datetime.now(UTC)
    assert (owed.task, owed.queue, owed.status) == ("webhooks.handle", "webhooks", "owed")
    assert owed.arguments == {"event_id": str(stored.id)}
    assert (owed.sends, owed.starts, owed.failures) == (1, 0, 0)
    assert owed.due_at - owed.sent_at == timedelta(seconds=settings().outbox_resend_after_s)
    assert door.rung() == [str(owed.id)]


def test_the_text_of_the_payload_is_kept_to_the_letter(door: Door) -> None:
    body = event("evt_1").replace(b'"amount": 1099', b'"amount" :\t1099.10')
    assert_received(door.post(body))
    with door.database.connect() as connection:
        query = "SELECT CAST(payload AS CHAR) FROM payment_webhooks"
        assert connection.exec_driver_sql(query).scalar_one() == body.decode()


def test_no_row_keeps_a_client_secret(door: Door) -> None:
    body = event("evt_1").replace(
        b'"amount": 1099',
        b'"client_secret" : "pi_1_secret_2", "url": "https://x.test/?client_secret=pi_1_secret_2&a=1",'
        b' "amount": 1099',
    )
    assert_received(door.post(body))
    with door.database.connect() as connection:
        query = "SELECT CAST(payload AS CHAR) FROM payment_webhooks"
        kept = connection.exec_driver_sql(query).scalar_one()
    assert kept == body.decode().replace("pi_1_secret_2", "")


@pytest.mark.parametrize("secret", ['a"b', "a\\", '\\"', "\u20ac&#=", ""])
def test_a_client_secret_of_any_characters_leaves_no_more_than_an_empty_text(
    door: Door, secret: str
) -> None:
    intent = {"client_secret": secret, "url": f"/?client_secret={secret}", "last": True}
    assert_received(door.post(event("evt_1", data={"object": intent})))
    kept = door.stored()[0].payload["data"]["object"]
    assert kept["client_secret"] == ""
    assert kept["last"] is True


ESCAPED = {
    "a field": rb'"client\u005fsecret": "pi_1_secret_2"',
    "a field with capital digits": rb'"\u0063lient\u005Fsecre\u0074": "pi_1_secret_2"',
    "its text": rb'"client_secret": "pi_1\u005fsecret\u005f2"',
    "an address": rb'"url": "/?a=1\u0026client_secret\u003dpi_1_secret_2\u0026b=2"',
    "a secret in an address": rb'"url": "/?client_secret=pi_1\u005fsecret_2"',
    "after a backslash": rb'"note": "\\\u0063lient_secret=pi_1_secret_2"',
}


@pytest.mark.parametrize("field", ESCAPED.values(), ids=ESCAPED)
def test_no_row_keeps_a_client_secret_that_is_written_with_escapes(
    door: Door, field: bytes
) -> None:
    body = event("evt_1").replace(b'"amount": 1099', field + b', "amount": 1099')
    assert "secret_2" in str(json.loads(body))
    assert_received(door.post(body))
    kept = door.stored()[0].payload["data"]["object"]
    assert "secret_2" not in str(kept)
    assert kept["amount"] == 1099


def test_an_escape_that_only_looks_like_one_is_kept_to_the_letter(door: Door) -> None:
    note = rb'"note": "client\\u005fsecret=1 \u0063lean"'
    body = event("evt_1").replace(b'"amount": 1099', note)
    assert_received(door.post(body))
    with door.database.connect() as connection:
        query = "SELECT CAST(payload AS CHAR) FROM payment_webhooks"
        assert connection.exec_driver_sql(query).scalar_one() == body.decode()


def test_its_rows_and_its_message_are_those_that_the_models_would_make(door: Door) -> None:
    assert_received(door.post(event("evt_1")))
    with Session(door.database) as session:
        stored = session.query(PaymentWebhook).one()
        owed = session.query(Owed).one()
        wanted = orjson.loads(message_for(owed)[1])
    assert stored.created_at == stored.updated_at == owed.sent_at == owed.created_at
    assert UUID(owed.arguments["event_id"]) == stored.id
    (sent,) = [orjson.loads(m) for m in door.broker.lrange("webhooks", 0, -1)]
    for message in (sent, wanted):
        del message["properties"]["delivery_tag"]
    assert sent == wanted


def test_a_second_copy_is_answered_alike_and_changes_nothing(door: Door) -> None:
    assert_received(door.post(event("evt_1")))
    before = (door.stored(), door.owed(), door.rung())
    assert_received(door.post(event("evt_1", type="charge.refunded")))
    assert (door.stored(), door.owed(), door.rung()) == before


def test_the_same_event_of_two_accounts_is_two_events(door: Door) -> None:
    assert_received(door.post(event("evt_1", account="acct_1")))
    assert_received(door.post(event("evt_1", account="acct_2")))
    assert_received(door.post(event("evt_1")))
    assert len(door.stored()) == len(door.owed()) == 3


def test_ids_that_differ_in_case_only_are_two_events(door: Door) -> None:
    assert_received(door.post(event("evt_1aB")))
    assert_received(door.post(event("evt_1Ab")))
    assert len(door.stored()) == len(door.owed()) == 2


def test_20_copies_at_once_are_one_event_and_one_debt(door: Door) -> None:
    answers = at_once([event("evt_1")] * 20, door)
    assert answers == [200] * 20
    (stored,), (owed,) = door.stored(), door.owed()
    assert owed.arguments == {"event_id": str(stored.id)}
    assert door.rung() == [str(owed.id)]


def test_many_events_at_once_each_get_their_own_debt_and_message(door: Door) -> None:
    bodies = [event(f"evt_{number % 40}") for number in range(120)]
    assert at_once(bodies, door) == [200] * 120
    stored, owed = door.stored(), door.owed()
    assert {row.provider_event_id for row in stored} == {f"evt_{n}" for n in range(40)}
    assert len(stored) == len(owed) == 40
    assert {row.arguments["event_id"] for row in owed} == {str(row.id) for row in stored}
    assert sorted(door.rung()) == sorted(str(row.id) for row in owed)


@pytest.mark.parametrize("offset_s", [-290, 290])
def test_a_clock_that_is_a_little_off_is_tolerated(door: Door, offset_s: int) -> None:
    body = event()
    assert_received(door.post(body, signed=signature(body, at=time.time() + offset_s)))


def test_the_secret_that_is_being_replaced_still_holds(door: Door) -> None:
    body = event()
    assert_received(door.post(body, signed=signature(body, key=OLD_KEY)))


def test_one_good_signature_among_others_is_enough(door: Door) -> None:
    body = event()
    stamp, _, good = signature(body).partition(",")
    assert_received(door.post(body, signed=f"{stamp},v1={'0' * 64},v0=1,{good},v1=short"))


def test_an_event_may_be_nested_as_deeply_as_the_database_takes(door: Door) -> None:
    assert_received(door.post(nested(DEPTH)))
    assert len(door.stored()) == 1


def test_an_event_of_nearly_a_mebibyte_is_stored_whole(door: Door) -> None:
    body = event(padding="\\'" * ((1 << 19) // 3))
    assert len(body) < 1 << 20
    assert_received(door.post(body))
    assert door.stored()[0].payload == json.loads(body)


def test_large_events_at_once_stay_within_what_the_database_takes(door: Door) -> None:
    bodies = [event(f"evt_{n}", padding="'" * 1_000_000) for n in range(24)]
    assert at_once(bodies, door) == [200] * 24
    assert len(door.stored()) == len(door.owed()) == 24
