from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.system import BIN, ROOT


def run(system, *command):
    return subprocess.run(
        command,
        check=False,
        env=system.environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def demo(system, shared_relay):
    made = run(system, BIN / "flask", "--app", "web.app", "demo-company")
    assert made.returncode == 0, made.stderr
    return lambda: run(system, sys.executable, "-m", "sandbox.demo")


def test_the_demo_pays_an_invoice_and_shows_each_step(demo):
    done = demo()
    assert done.returncode == 0, done.stderr
    assert "\033" not in done.stdout
    steps = [line for line in done.stdout.splitlines() if "●" in line]
    assert len(steps) == 7
    assert "1499.00 INR" in done.stdout
    assert "open → paid" in done.stdout
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["status"] == "paid"
    assert told["seconds"].keys() == {
        "login", "invoice", "card", "payment", "payment.succeeded", "invoice.paid", "webhook",
    }  # fmt: skip


def test_the_demo_runs_again_beside_its_earlier_invoices(demo):
    first, second = (json.loads(demo().stdout.splitlines()[-1]) for _ in "12")
    assert first["invoice"] < second["invoice"]


def test_a_declined_demo_ends_with_one_sentence(system, demo):
    system.stripe.fault("decline", path="/v1/payment_intents*", decline_code="generic_decline")
    done = demo()
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    [sentence] = done.stderr.splitlines()
    assert sentence.startswith("The payment is failed")


def test_a_demo_with_nobody_there_ends_with_one_sentence(system, demo):
    system.web.stop()
    try:
        done = demo()
    finally:
        system.web.start()
    assert done.returncode == 1
    assert "does not answer" in done.stderr
    assert "Traceback" not in done.stderr
