"""What goes wrong on command, and what the book says afterwards."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path

import pytest
import stripe

from sandbox.standin.control import Refused
from tests.sandbox.shop import Shop
from tests.sandbox_fixture import API_KEY, SandboxProcess


def impatient(shop: Shop) -> Shop:
    shop.client = stripe.StripeClient(
        API_KEY,
        base_addresses={"api": shop.sandbox.url},
        max_network_retries=0,
        http_client=stripe.RequestsClient(timeout=0.3),
    )
    return shop


@pytest.mark.parametrize(
    ("kind", "charges"),
    [("timeout_before", 0), ("timeout_after", 1), ("drop_before", 0), ("drop_after", 1)],
)
def test_a_lost_answer_is_a_connection_error_and_the_book_knows(
    shop: Shop, kind: str, charges: int
) -> None:
    impatient(shop)
    shop.control.fault(kind)

    with pytest.raises(stripe.APIConnectionError):
        shop.pay(1000, "inr", key="k", transaction_id="t1")

    assert len(shop.control.charges("t1")) == charges
    assert shop.pay(1000, "inr", key="k", transaction_id="t1").status == "succeeded"
    assert len(shop.control.charges("t1")) == 1


def test_silence_ends_when_its_time_is_over(shop: Shop) -> None:
    shop.control.fault("timeout_after", delay_ms=300)
    started = time.monotonic()

    with pytest.raises(stripe.APIConnectionError):
        shop.pay(1000, "inr")

    assert time.monotonic() - started >= 0.3


def test_a_key_in_use_is_a_conflict(shop: Shop) -> None:
    shop.control.fault("key_in_use")

    with pytest.raises(stripe.APIError) as caught:
        shop.pay(1000, "inr", key="k")

    assert caught.value.http_status == HTTPStatus.CONFLICT


def test_a_good_card_declines_on_command(shop: Shop) -> None:
    shop.control.fault("decline", decline_code="do_not_honor", advice_code="try_again_later")

    with pytest.raises(stripe.CardError) as caught:
        shop.pay(1000, "inr")

    assert caught.value.error.decline_code == "do_not_honor"
    assert caught.value.error.advice_code == "try_again_later"
    assert shop.pay(1000, "inr").status == "succeeded"


def test_a_fault_strikes_as_often_as_it_was_told(shop: Shop) -> None:
    shop.control.fault("rate_limit", count=2)
    for _ in range(2):
        with pytest.raises(stripe.RateLimitError):
            shop.pay(1000, "inr")

    assert shop.pay(1000, "inr").status == "succeeded"


def test_a_fault_without_a_count_lasts_until_it_is_cleared(shop: Shop) -> None:
    shop.control.fault("rate_limit", count=None)
    for _ in range(3):
        with pytest.raises(stripe.RateLimitError):
            shop.pay(1000, "inr")

    shop.control.clear_faults()

    assert shop.pay(1000, "inr").status == "succeeded"


def test_a_fault_strikes_only_where_it_was_aimed(shop: Shop) -> None:
    shop.control.fault("rate_limit", path="/v1/refunds")
    intent = shop.pay(1000, "inr")

    with pytest.raises(stripe.RateLimitError):
        shop.client.v1.refunds.create({"payment_intent": intent.id})


def test_an_unknown_fault_is_refused(shop: Shop) -> None:
    with pytest.raises(Refused, match="kind must be one of"):
        shop.control.fault("gremlins")
    with pytest.raises(Refused, match="A fault has no colour"):
        shop.control.fault("slow", colour="red")


def test_a_fault_is_set_from_the_command_line(shop: Shop) -> None:
    command = [sys.executable, "-m", "sandbox.stripe.control", "--url", shop.sandbox.url]
    subprocess.run(
        [*command, "fault", "decline", "--decline-code", "stolen_card"],
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=30,
    )

    with pytest.raises(stripe.CardError) as caught:
        shop.pay(1000, "inr")

    assert caught.value.error.decline_code == "stolen_card"


def test_a_thousand_payments_at_once_are_charged_once_each(shop: Shop) -> None:
    method = shop.attach("pm_card_visa")

    with ThreadPoolExecutor(64) as pool:
        paid = pool.map(
            lambda n: shop.pay(1000, "inr", method=method, transaction_id=f"t{n}", key=f"k{n}"),
            range(1000),
        )
        assert {intent.status for intent in paid} == {"succeeded"}

    by_transaction = shop.control.book()["by_transaction"]
    assert {len(charges) for charges in by_transaction.values()} == {1}
    assert len(by_transaction) == 1000


def test_a_second_one_on_the_same_book_refuses_to_start(own_sandbox: SandboxProcess) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sandbox.stripe", "--port", "0", "--folder", own_sandbox.folder],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert done.returncode == 1
    assert "Another sandbox keeps its book" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_told_in_one_line(own_sandbox: SandboxProcess, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "sandbox.stripe", "--port", str(own_sandbox.port)),
            *("--folder", tmp_path / "other", "--webhook-url", ""),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert done.returncode == 1
    assert f"can't start on port {own_sandbox.port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_ends_cleanly_when_asked(own_sandbox: SandboxProcess) -> None:
    own_sandbox.stop()

    assert own_sandbox.process.returncode == 0


def test_the_book_outlives_a_kill(own_sandbox: SandboxProcess) -> None:
    shop = Shop(own_sandbox)
    intent = shop.pay(1000, "inr", transaction_id="t1")
    shop.client.v1.refunds.create({"payment_intent": intent.id, "amount": 10})
    before = own_sandbox.control.book()
    own_sandbox.kill()
    with (own_sandbox.folder / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"objects": [{"id": "torn')

    own_sandbox.start()

    after = own_sandbox.control.book()
    assert after | {"now": 0} == before | {"now": 0}
    shop.pay(1000, "inr", transaction_id="t2")
    own_sandbox.kill()
    own_sandbox.start()
    assert [len(own_sandbox.control.charges(name)) for name in ("t1", "t2")] == [1, 1]
