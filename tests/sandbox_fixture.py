"""The stand-ins for providers as fixtures: a process each, one for each test process.

`sandbox` (Stripe) and `paypal` are empty at the start of every test. Their `control` sets faults
and reads the book; `control.webhooks(url=...)` tells where the endpoint is. `own_sandbox` and
`own_paypal` are fresh ones that may be killed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import stripe

from sandbox.fx.control import Control as FxControl
from sandbox.mail import keys
from sandbox.mail.control import Control as MailControl
from sandbox.paypal.control import Control as PayPalControl
from sandbox.stripe.control import Control
from tests.waiting import PATIENCE_S

API_KEY = "sk_test_sandbox"
WEBHOOK_SECRET = "whsec_tests"


def end_with_parent() -> None:
    """Have the kernel end this process with the test process that started it."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


class StandInProcess:
    """One running stand-in; `kill()` and `start()` keep port and book."""

    module: str
    options: tuple[str, ...] = ()

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options or self.options
        self.port = 0
        self.start()

    def start(self, *, webhook_url: str = "") -> None:
        command = [sys.executable, "-m", self.module, "--port", str(self.port), *self.options]
        command += ["--folder", str(self.folder), "--webhook-url", webhook_url]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=end_with_parent,  # noqa: PLW1509  one call into the kernel, no locks
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "listens on" in line, f"{self.module} did not start: {line!r}"
        self.port = int(line.rsplit(":", 1)[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)
        self.process.wait(PATIENCE_S)
        if self.process.stdout:
            self.process.stdout.close()


class SandboxProcess(StandInProcess):
    """The stand-in for Stripe."""

    module = "sandbox.stripe"
    webhook_secret = WEBHOOK_SECRET
    options = ("--webhook-secret", WEBHOOK_SECRET)

    def start(self, *, webhook_url: str = "") -> None:
        super().start(webhook_url=webhook_url)
        self.control = Control(self.url)

    def client(self, key: str = API_KEY) -> stripe.StripeClient:
        return stripe.StripeClient(key, base_addresses={"api": self.url}, max_network_retries=0)


class PayPalProcess(StandInProcess):
    """The stand-in for PayPal."""

    module = "sandbox.paypal"
    webhook_id = "WEBHOOK-TESTS"
    options = ("--webhook-id", webhook_id, "--client-id", "", "--client-secret", "")

    def start(self, *, webhook_url: str = "") -> None:
        super().start(webhook_url=webhook_url)
        self.control = PayPalControl(self.url)


class FxProcess(StandInProcess):
    """The stand-in for Open Exchange Rates."""

    module = "sandbox.fx"
    app_id = "0123456789abcdef0123456789abcdef"
    options = ("--app-id", app_id)

    def start(self, *, webhook_url: str = "") -> None:
        super().start(webhook_url=webhook_url)
        self.control = FxControl(self.url)


class MailProcess(StandInProcess):
    """The stand-in for SendGrid."""

    module = "sandbox.mail"
    webhook_key = keys.public_key()

    def start(self, *, webhook_url: str = "") -> None:
        super().start(webhook_url=webhook_url)
        self.control = MailControl(self.url)


@pytest.fixture(scope="session")
def sandbox_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    process = SandboxProcess(tmp_path_factory.mktemp("stripe"))
    yield process
    process.stop()


@pytest.fixture
def sandbox(sandbox_process: SandboxProcess) -> SandboxProcess:
    sandbox_process.control.reset()
    return sandbox_process


@pytest.fixture
def own_sandbox(tmp_path: Path) -> Iterator[SandboxProcess]:
    process = SandboxProcess(tmp_path / "stripe")
    yield process
    process.stop()


@pytest.fixture(scope="session")
def paypal_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PayPalProcess]:
    process = PayPalProcess(tmp_path_factory.mktemp("paypal"))
    yield process
    process.stop()


@pytest.fixture
def paypal(paypal_process: PayPalProcess) -> PayPalProcess:
    paypal_process.control.reset()
    return paypal_process


@pytest.fixture
def own_paypal(tmp_path: Path) -> Iterator[PayPalProcess]:
    process = PayPalProcess(tmp_path / "paypal")
    yield process
    process.stop()


@pytest.fixture(scope="session")
def fx_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FxProcess]:
    process = FxProcess(tmp_path_factory.mktemp("fx"))
    yield process
    process.stop()


@pytest.fixture
def fx(fx_process: FxProcess) -> FxProcess:
    fx_process.control.reset()
    return fx_process


@pytest.fixture(scope="session")
def mail_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailProcess]:
    process = MailProcess(tmp_path_factory.mktemp("mail"))
    yield process
    process.stop()


@pytest.fixture
def mail(mail_process: MailProcess) -> MailProcess:
    mail_process.control.reset()
    return mail_process
