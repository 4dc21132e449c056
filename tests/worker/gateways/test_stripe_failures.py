from __future__ import annotations

import logging
import socket
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pytest
import stripe

from models.ids import new_id
from models.money import Money
from tests.worker.gateways.wire import (
    Behaviour,
    Wire,
    answer,
    drop,
    failure,
    hang,
    own_certificate,
    trickle,
    trickle_chunks,
    truncate,
    truncate_chunks,
)
from worker import telemetry
from worker.gateways.base import (
    Advice,
    ChargeRequest,
    Declined,
    GatewayError,
    OutcomeUnknown,
    Rejected,
    Unavailable,
)
from worker.gateways.stripe.client import StripeGateway

REQUEST = ChargeRequest(
    key="attempt-1",
    money=Money(Decimal("12.34"), "EUR"),
    customer="cus_1",
    method="pm_1",
    off_session=True,
    metadata={},
)
PAID = {
    "id": "pi_1",
    "object": "payment_intent",
    "amount": 1234,
    "amount_received": 1234,
    "currency": "eur",
    "status": "succeeded",
    "metadata": {},
}
CANARY = "canary_9f3b"


def card_error(**more: object) -> Behaviour:
    return failure(402, type="card_error", **more)


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port where nobody listens, held so that nobody will."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.mark.parametrize(
    ("said", "kind", "code"),
    [
        pytest.param(hang, OutcomeUnknown, "timeout", id="no answer"),
        pytest.param(trickle, OutcomeUnknown, "timeout", id="an answer without end"),
        pytest.param(trickle_chunks, OutcomeUnknown, "timeout", id="chunks without end"),
        pytest.param(truncate_chunks, OutcomeUnknown, "connection_lost", id="a chunk too few"),
        pytest.param(drop, OutcomeUnknown, "connection_lost", id="hung up"),
        pytest.param(truncate, OutcomeUnknown, "connection_lost", id="hung up half-way"),
        pytest.param(failure(500, type="api_error"), OutcomeUnknown, "api_error", id="500"),
        pytest.param(failure(502, type="api_error"), OutcomeUnknown, "api_error", id="502"),
        pytest.param(failure(503, type="api_error"), OutcomeUnknown, "api_error", id="503"),
        pytest.param(failure(504, type="api_error"), OutcomeUnknown, "api_error", id="504"),
        pytest.param(
            failure(409, type="idempotency_error", code="idempotency_key_in_use"),
            OutcomeUnknown,
            "idempotency_key_in_use",
            id="key in use",
        ),
        pytest.param(
            failure(424, type="api_error"), OutcomeUnknown, "api_error", id="a status never seen"
        ),
        pytest.param(answer(status=500, raw=b"oops"), OutcomeUnknown, "", id="500 in plain text"),
        pytest.param(
            answer(status=400, raw=b"<html>"), OutcomeUnknown, "", id="a page from a proxy"
        ),
        pytest.param(answer(status=200, raw=b"<html>"), OutcomeUnknown, "", id="200 but no JSON"),
        pytest.param(
            answer(status=302, headers={"Location": "/v1/elsewhere"}, body={}),
            OutcomeUnknown,
            "",
            id="a redirect, not followed",
        ),
        pytest.param(answer([]), OutcomeUnknown, "unreadable", id="200 but a list"),
        pytest.param(answer({"id": "pi_1"}), OutcomeUnknown, "unreadable", id="too little"),
        pytest.param(
            answer({**PAID, "currency": "xxx"}), OutcomeUnknown, "unreadable", id="strange money"
        ),
        pytest.param(
            answer({"error": "text"}, status=400), OutcomeUnknown, "unreadable", id="error in words"
        ),
        pytest.param(
            failure(400, type="idempotency_error"), Rejected, "idempotency_error", id="other body"
        ),
        pytest.param(
            failure(400, type="invalid_request_error", code="parameter_unknown"),
            Rejected,
            "parameter_unknown",
            id="wrong parameter",
        ),
        pytest.param(
            failure(404, type="invalid_request_error", code="resource_missing"),
            Rejected,
            "resource_missing",
            id="no such thing",
        ),
        pytest.param(
            failure(401, type="invalid_request_error"),
            Rejected,
            "invalid_request_error",
            id="wrong key",
        ),
        pytest.param(
            failure(403, type="invalid_request_error"),
            Rejected,
            "invalid_request_error",
            id="not permitted",
        ),
        pytest.param(
            card_error(code="card_declined", decline_code="invalid_amount"),
            Rejected,
            "card_declined",
            id="an amount that only we can have got wrong",
        ),
        pytest.param(
            card_error(code="card_declined", decline_code="do_not_honor"),
            Declined,
            "card_declined",
            id="declined",
        ),
        pytest.param(
            failure(429, {"Retry-After": "7"}, type="invalid_request_error", code="rate_limit"),
            Unavailable,
            "rate_limit",
            id="too many requests",
        ),
        pytest.param(
            failure(400, {"Retry-After": "7"}, type="invalid_request_error", code="lock_timeout"),
            Unavailable,
            "lock_timeout",
            id="lock timeout",
        ),
        pytest.param(
            answer(status=429, raw=b"slow down", headers={"Retry-After": "7"}),
            Unavailable,
            "",
            id="429 in plain text",
        ),
    ],
)
def test_an_answer_means_what_the_caller_must_do(
    wire: Wire, gateway: StripeGateway, said: Behaviour, kind: type[GatewayError], code: str
) -> None:
    wire.says(said)

    with pytest.raises(GatewayError) as raised:
        gateway.charge(REQUEST)

    assert type(raised.value) is kind
    assert raised.value.code == code
    assert len(wire.seen) == 1, "what may have been executed, or would not help, was sent again"


def test_a_refused_connection_was_never_sent(dead_port: int) -> None:
    gateway = StripeGateway(api_key="k", api_base=f"http://127.0.0.1:{dead_port}", timeout_s=1)

    with pytest.raises(Unavailable, match="not_connected"):
        gateway.charge(REQUEST)


def test_a_name_that_does_not_resolve_was_never_sent() -> None:
    gateway = StripeGateway(api_key="k", api_base="http://nowhere.invalid:1", timeout_s=1)

    with pytest.raises(Unavailable, match="not_connected"):
        gateway.charge(REQUEST)


def test_an_address_that_is_none_was_never_sent_to() -> None:
    gateway = StripeGateway(api_key="k", api_base="gopher://127.0.0.1", timeout_s=1)

    with pytest.raises(Unavailable, match="not_connected"):
        gateway.charge(REQUEST)


def test_a_server_with_a_certificate_of_its_own_making_is_told_nothing(
    wire: Wire, tmp_path: Path
) -> None:
    wire.use_tls(own_certificate(tmp_path))
    wire.says(answer(PAID))
    gateway = StripeGateway(api_key="k", api_base=wire.url.replace("http:", "https:"), timeout_s=5)

    with pytest.raises(Unavailable, match="not_connected"):
        gateway.charge(REQUEST)

    assert wire.seen == []


def test_a_server_that_does_not_take_the_connection_was_never_sent_anything() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        crowd = [socket.socket() for _ in range(4)]
        for each in crowd:  # more than its queue holds, so that the next one only waits
            each.setblocking(False)  # noqa: FBT003  its own name for it
            each.connect_ex(full.getsockname())
        port = full.getsockname()[1]
        gateway = StripeGateway(api_key="k", api_base=f"http://127.0.0.1:{port}", timeout_s=0.3)

        with pytest.raises(Unavailable, match="ConnectTimeoutError"):
            gateway.charge(REQUEST)

        for each in crowd:
            each.close()


@pytest.mark.parametrize("said", [hang, drop, truncate, failure(500, type="api_error"), answer([])])
def test_a_look_up_without_an_answer_changes_nothing_and_is_asked_again_later(
    wire: Wire, gateway: StripeGateway, said: Behaviour
) -> None:
    wire.says(said)

    for look in (
        lambda: gateway.retrieve("pi_1"),
        lambda: gateway.find(transaction_id=new_id(), customer="cus_1", key=""),
        lambda: gateway.retrieve_refund("re_1"),
    ):
        with pytest.raises(Unavailable):
            look()


@pytest.mark.parametrize(
    "said",
    [
        failure(429, type="invalid_request_error", code="rate_limit"),
        failure(429, type="invalid_request_error", code="lock_timeout"),
    ],
)
def test_a_busy_stripe_is_asked_again_at_once_with_the_same_key(
    wire: Wire, gateway: StripeGateway, said: Behaviour
) -> None:
    wire.says(said, said, answer(PAID))

    assert gateway.charge(REQUEST).provider_id == "pi_1"
    assert [seen.headers["idempotency-key"] for seen in wire.seen] == ["attempt-1"] * 3


def test_a_stripe_that_stays_busy_is_left_to_the_outbox_within_a_second(
    wire: Wire, gateway: StripeGateway
) -> None:
    wire.says(failure(429, type="invalid_request_error", code="rate_limit"))

    with pytest.raises(Unavailable):
        gateway.charge(REQUEST)

    assert len(wire.seen) == 3


def test_a_long_retry_after_is_told_and_not_waited_for(wire: Wire, gateway: StripeGateway) -> None:
    wire.says(failure(429, {"Retry-After": "30"}, type="invalid_request_error", code="rate_limit"))

    with pytest.raises(Unavailable) as busy:
        gateway.charge(REQUEST)

    assert busy.value.retry_after_s == 30
    assert len(wire.seen) == 1


def test_a_trickling_answer_is_cut_off_though_no_single_byte_is_late(
    wire: Wire, gateway: StripeGateway
) -> None:
    wire.says(trickle)
    started = time.monotonic()

    with pytest.raises(OutcomeUnknown):
        gateway.charge(REQUEST)

    assert time.monotonic() - started < 5  # alone, the read timeout would let it go on for 50 s


def test_everything_a_decline_said_is_kept(wire: Wire, gateway: StripeGateway) -> None:
    wire.says(
        card_error(
            code="card_declined",
            decline_code="do_not_honor",
            advice_code="try_again_later",
            network_advice_code="24",
            network_decline_code="05",
            message="Your card was declined.",
            payment_intent={"id": "pi_7"},
            payment_method={"id": "pm_1", "card": {"brand": "mastercard"}},
        )
    )

    with pytest.raises(Declined) as raised:
        gateway.charge(REQUEST)

    declined = raised.value
    assert (declined.advice, declined.wait_at_least_s) == (Advice.RETRY, 3600)
    assert (declined.code, declined.decline_code) == ("card_declined", "do_not_honor")
    assert (declined.advice_code, declined.network_advice_code) == ("try_again_later", "24")
    assert (declined.network_decline_code, declined.provider_id) == ("05", "pi_7")
    assert (declined.http_status, declined.provider_request_id) == (402, "req_wire")


def test_visas_hard_declines_are_known_by_the_cards_brand(
    wire: Wire, gateway: StripeGateway
) -> None:
    wire.says(
        card_error(
            decline_code="do_not_honor",
            network_decline_code="14",
            payment_method={"id": "pm_1", "card": {"brand": "visa"}},
        )
    )

    with pytest.raises(Declined) as declined:
        gateway.charge(REQUEST)

    assert declined.value.advice is Advice.STOP


def test_a_suspected_customer_is_told_declined_and_no_more(
    wire: Wire, gateway: StripeGateway
) -> None:
    wire.says(
        card_error(code="card_declined", decline_code="fraudulent", message="This smells of fraud.")
    )

    with pytest.raises(Declined) as declined:
        gateway.charge(REQUEST)

    assert declined.value.message == "Your card was declined."


@pytest.mark.parametrize(
    "said",
    [
        failure(
            400,
            type="invalid_request_error",
            param="card[token]",
            message=f"No such token: 'tok_{CANARY}'",
        ),
        failure(400, type="invalid_request_error", message=f"The token `tok_{CANARY}` was used."),
        failure(401, type="invalid_request_error", message=f"Invalid API Key provided: {CANARY}"),
        answer(raw=b'{"client_secret": "pi_1_secret_' + CANARY.encode()),
        answer({"client_secret": CANARY}),
        card_error(decline_code="do_not_honor", payment_intent={"id": "p", "secret": CANARY}),
    ],
)
def test_no_secret_rides_on_an_error_or_in_a_log(
    wire: Wire, gateway: StripeGateway, said: Behaviour, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wire.says(said)

    with pytest.raises(GatewayError) as raised:
        gateway.attach_method(key="k", customer="cus_1", token=f"tok_{CANARY}", type="card")

    error = raised.value
    assert error.__cause__ is None
    assert not isinstance(error.__context__, stripe.StripeError)
    told = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
    assert CANARY not in told
    assert CANARY not in caplog.text + repr([vars(record) for record in caplog.records])


@pytest.mark.parametrize(
    ("said", "level", "outcome"),
    [
        (answer(PAID), "INFO", "ok"),
        (card_error(decline_code="do_not_honor"), "INFO", "Declined"),
        (failure(500, type="api_error"), "WARNING", "OutcomeUnknown"),
        (failure(400, type="invalid_request_error"), "ERROR", "Rejected"),
    ],
)
def test_each_call_leaves_one_line_with_stripes_request_id(
    wire: Wire,
    gateway: StripeGateway,
    caplog: pytest.LogCaptureFixture,
    said: Behaviour,
    level: str,
    outcome: str,
) -> None:
    caplog.set_level(logging.INFO, logger="worker.gateways")
    wire.says(said)

    with telemetry.bind(transaction_id=new_id()):
        with suppress(GatewayError):
            gateway.charge(REQUEST)
        carried = telemetry.current()["provider_request_id"]

    (line,) = caplog.records
    assert (line.levelname, vars(line)["outcome"]) == (level, outcome)
    assert vars(line)["provider_call"] == "payment_intents.create"
    assert vars(line)["provider_request_id"] == carried == "req_wire"
    assert vars(line)["duration_ms"] > 0
    assert "provider_request_id" not in telemetry.current()


def test_a_token_that_stripe_refuses_is_no_error_of_ours(
    wire: Wire, gateway: StripeGateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="worker.gateways")
    wire.says(failure(400, type="invalid_request_error"))
    with pytest.raises(Rejected):
        gateway.attach_method(key="method-1", customer="cus_1", token="tok_no", type="card")
    assert {line.levelname for line in caplog.records} == {"INFO"}


def test_sixty_four_threads_share_one_gateway_and_its_connections(wire: Wire) -> None:
    wire.says(answer(PAID))
    gateway = StripeGateway(api_key="k", api_base=wire.url, timeout_s=30)

    def charge(number: int) -> str:
        request = ChargeRequest(
            key=f"key-{number}",
            money=REQUEST.money,
            customer="cus_1",
            method="pm_1",
            off_session=True,
            metadata={},
        )
        return gateway.charge(request).provider_id

    with ThreadPoolExecutor(64) as threads:
        answers = list(threads.map(charge, range(640)))

    assert answers == ["pi_1"] * 640
    assert {seen.headers["idempotency-key"] for seen in wire.seen} == {
        f"key-{number}" for number in range(640)
    }
    assert wire.connections <= 64
    gateway.close()
