"""`make demo SCENARIO=dunning`, on a system of its own: three days pass for all of it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.invariants import judge
from tests.system import BIN, ROOT, System


@pytest.fixture(scope="module")
def system(tmp_path_factory, database_url):
    folder = tmp_path_factory.mktemp("system")
    parts = ["sandbox", "web", "relay", "worker", "beat"]
    with System(folder, database_url=database_url, parts=parts) as running:
        made = run(running, BIN / "flask", "--app", "web.app", "demo-company")
        assert made.returncode == 0, made.stderr
        yield running


def run(system, *command, **environ):
    return subprocess.run(
        command,
        check=False,
        env={**system.environ, **environ},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


def demo(system, **environ):
    return run(system, sys.executable, "-m", "sandbox.demo", "dunning", **environ)


def test_a_declined_payment_climbs_for_three_days_and_each_step_is_shown(system):
    done = demo(system)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["status"], told["attempts"], told["days"]) == ("paid", 3, 3.0)
    for shown in (
        "insufficient_funds",
        "24 hours pass",
        "48 hours pass",
        "if declined",
        "browsers heard payment.failed of retry 1",
        "browsers heard payment.succeeded of retry 2",
        "retry_scheduled",
        "payment_recovered",
        "open → paid",
    ):
        assert shown in done.stdout
    judge(system)


def test_a_ladder_that_stops_ends_with_one_sentence(system):
    system.stripe.fault("decline", path="/v1/payment_intents*", decline_code="stolen_card")
    done = demo(system)
    system.stripe.clear_faults()
    assert done.returncode == 1
    [sentence] = done.stderr.splitlines()
    assert sentence.startswith("Dunning is stopped")


def test_without_the_sandbox_s_stripe_it_ends_with_one_sentence(system):
    done = demo(system, STRIPE_API_BASE="http://127.0.0.1:9")
    assert done.returncode == 1
    [sentence] = done.stderr.splitlines()
    assert sentence.startswith("The sandbox's Stripe is needed")
