"""The whole of Paybeat as processes: web, worker, beat and the stand-ins for Stripe and PayPal.

    with System(tmp_path, database_url=...) as system:
        owner = system.member()
        owner.post("/api/v1/invoices", {...})
        system.worker.kill()
        system.worker.start()

Each part is a `Part` with its own pid, log and `start`, `stop`, `kill`. The servers are the
system's own where none are given, so that a test may stop, hang or flush them.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self
from uuid import UUID, uuid4

import redis
import requests
import sqlalchemy
from sqlalchemy.orm import Session

from models import schema
from models.base import COMPANY
from models.tenants import Company, Role, Tenant, User
from sandbox.children import LOOPBACK, Child, free_port, last_lines
from sandbox.mail.control import Control as MailControl
from sandbox.paypal.control import Control as PayPalControl
from sandbox.servers import PrivateMariaDB, PrivateValkey
from sandbox.stripe.control import Control
from tests.bare import UNMEASURED, measured
from tests.client import Client
from tests.servers import make_empty_database
from tests.waiting import PATIENCE_S, wait_for
from worker.passwords import hash_password
from worker.queues import SUBJECTS

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
PASSWORD = "correct horse battery staple"
WEBHOOK_SECRET = "whsec_system"

# Time runs faster than in production, so that a test waits for seconds and not for minutes.
QUICK = {
    "PAYBEAT_ENV": "sandbox",
    "LOG_FORMAT": "json",
    "RATE_LIMIT": "1000000 per minute",
    "LOGIN_RATE_LIMIT": "1000000 per minute",
    "STRIPE_API_KEY": "sk_test_sandbox",
    "STRIPE_WEBHOOK_KEY": WEBHOOK_SECRET,
    "OUTBOX_SWEEP_EVERY_S": "0.5",
    "OUTBOX_RESEND_AFTER_S": "2",
    "OUTBOX_BACKOFF_S": "0.5",
    "RESOLVE_AFTER_S": "0.5",
    "BREAKER_PAUSE_S": "0.3",
    "BREAKER_LONGEST_PAUSE_S": "0.6",
    # What a test keeps from coming must not be fetched.
    "MISSED_EVENTS_EVERY_S": "1000000000",
    # A test compares with a provider where it means to, and waits for nothing that it does not.
    "RECONCILIATIONS_EVERY_S": "1000000000",
    "ENDPOINTS_HTTP": "true",
    "ENDPOINTS_ALLOW": "127.0.0.0/8",
    "WEB_WORKERS": "1",
    "WEB_THREADS": "64",
}
LEAVE_S = 5.0
# For all parts together at the end of a system. Each is gone in about one second, with what was
# measured of it written down; a worker that holds a task would take its 20.
_FOREIGN = ("REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD", "REDIS_DB", "CRASH_MARKS")


class Part:
    """One process of the system. `environ` may be changed between a stop and a start."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        environ: Mapping[str, str],
        *,
        log: Path,
        is_ready: Callable[[Part], object],
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.environ = dict(environ)
        self.log = log
        self._is_ready = is_ready
        self._child: Child | None = None
        self._log_began = 0

    @property
    def pid(self) -> int:
        assert self._child is not None, f"{self.name} was not started"
        return self._child.pid

    @property
    def is_running(self) -> bool:
        return self._child is not None and self._child.exit_code() is None

    @property
    def said(self) -> str:
        """What it has logged since its last start."""
        with self.log.open(errors="replace") as log:
            log.seek(self._log_began)
            return log.read()

    def launch(self, **environ: str) -> Self:
        """Start it without waiting; `environ` holds for this start only."""
        assert not self.is_running, f"{self.name} runs already"
        self._log_began = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as output:
            self._child = Child(
                self.argv, env={**self.environ, **environ}, cwd=ROOT, output=output, grace_s=25
            )
        return self

    def wait_ready(self) -> Self:
        def holds() -> object:
            assert self.is_running, f"{self.name} ended:\n{last_lines(self.log, 20)}"
            return self._is_ready(self)

        wait_for(holds)
        return self

    def start(self, **environ: str) -> Self:
        return self.launch(**environ).wait_ready()

    def stop(self) -> None:
        """End it as a deployment does: SIGTERM, then wait."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def kill(self) -> None:
        """End it as a power cut does."""
        self.signal(signal.SIGKILL)
        self.wait_dead()

    def wait_dead(self, timeout_s: float = PATIENCE_S) -> None:
        """Wait until it has ended by itself, as at a crash point."""
        assert self._child is not None
        self._child.wait(timeout_s)
        self._child = None

    def signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


class System:
    """Everything up, on servers and ports of its own.

    Args:
        folder: logs, and the data of what is started here.
        database_url: an empty database is made beside the one that this names; without it a
            MariaDB is started.
        environ: settings that differ from `QUICK`, for every part.
        parts: what to start with the system; the others can be started later.
        measured: the parts that coverage measures. What the others do is done and measured in
            the processes of tests too, at a third of the cost.
    """

    def __init__(
        self,
        folder: Path,
        *,
        database_url: str | None = None,
        environ: Mapping[str, str] | None = None,
        parts: Sequence[str] = ("sandbox", "web", "worker", "beat"),
        measured: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self._given_database = database_url
        self._given_environ = dict(environ or {})
        self._first = tuple(parts)
        self._measured = tuple(measured)
        self._running = ExitStack()
        self.mariadb: PrivateMariaDB | None = None
        self.tenant_id: UUID

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._start_servers()
            self._make_parts()
            for name in self._first:
                self.parts[name].launch()
            for name in self._first:
                self.parts[name].wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        running = [part for part in getattr(self, "parts", {}).values() if part.is_running]
        for part in running:
            part.signal(signal.SIGTERM)
        deadline = time.monotonic() + LEAVE_S
        for part in running:
            with suppress(subprocess.TimeoutExpired):
                part.wait_dead(max(0.0, deadline - time.monotonic()))
            if part.is_running:
                part.kill()
        self._running.close()

    def _start_servers(self) -> None:
        self.valkey = self._running.enter_context(PrivateValkey(self.folder / "valkey"))
        if self._given_database is None:
            self.mariadb = self._running.enter_context(PrivateMariaDB(self.folder / "mariadb"))
            self.database_url = self.mariadb.url
        else:
            url = sqlalchemy.make_url(self._given_database)
            name = f"{url.database}_system_{uuid4().hex[:8]}"
            self.database_url = url.set(database=name).render_as_string(hide_password=False)
            make_empty_database(self.database_url)
            self._running.callback(self._drop_database, name)
        self.engine = sqlalchemy.create_engine(
            self.database_url, isolation_level="READ COMMITTED", pool_pre_ping=True
        )
        self._running.callback(self.engine.dispose)
        self.redis: redis.Redis = redis.Redis.from_url(self.valkey.url, decode_responses=True)
        self._running.callback(self.redis.close)
        schema.upgrade(self.engine)
        with self.session() as session:
            tenant = Tenant(name="A tenant", is_platform=True)
            session.add(tenant)
            session.flush()
            self.tenant_id = tenant.id

    def _drop_database(self, name: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(sqlalchemy.text(f"DROP DATABASE IF EXISTS `{name}`"))

    def _environ(self) -> dict[str, str]:
        """What every part is told; with it, where each of them is."""
        port, stripe_port, paypal_port, mail_port, relay_port = (free_port() for _ in range(5))
        self.web_url = f"http://{LOOPBACK}:{port}"
        self.relay_url = f"http://{LOOPBACK}:{relay_port}"
        self.stripe_url = f"http://{LOOPBACK}:{stripe_port}"
        self.paypal_url = f"http://{LOOPBACK}:{paypal_port}"
        self.mail_url = f"http://{LOOPBACK}:{mail_port}"
        inherited = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
        return {
            **inherited,
            **QUICK,
            **UNMEASURED,
            "PATH": f"{BIN}:{os.environ.get('PATH', '')}",
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.valkey.url,
            "BROKER_URL": self.valkey.url,
            "STRIPE_API_BASE": self.stripe_url,
            "PAYPAL_API_BASE": self.paypal_url,
            "PUBLIC_URL": self.web_url,
            "PAYPAL_TRUST_STORE": str(self.folder / "paypal" / "root.pem"),
            "SANDBOX_PORT": str(stripe_port),
            "SANDBOX_PAYPAL_PORT": str(paypal_port),
            "SENDGRID_API_BASE": self.mail_url,
            "SANDBOX_MAIL_PORT": str(mail_port),
            "SANDBOX_MAIL_WEBHOOK_URL": f"{self.web_url}/api/v1/webhooks/sendgrid",
            "SANDBOX_PAYPAL_WEBHOOK_URL": f"{self.web_url}/api/v1/webhooks/paypal",
            "SANDBOX_CLOCK": str(self.folder / "clock"),
            "SANDBOX_WEBHOOK_URL": f"{self.web_url}/api/v1/webhooks/stripe",
            "HOST": LOOPBACK,
            "PORT": str(port),
            "RELAY_PORT": str(relay_port),
            "REMAP_SIGTERM": "SIGQUIT",
            **self._given_environ,
        }

    def _make_parts(self) -> None:
        self.environ = self._environ()
        celery: list[str | Path] = [BIN / "celery", "-A", "worker.app"]
        queues, flags = ",".join(SUBJECTS), "-P threads -c 16 -E --without-mingle --without-gossip"
        self.stripe = Control(self.stripe_url)
        self.paypal = PayPalControl(self.paypal_url)
        self.mail = MailControl(self.mail_url)
        self.parts = {
            "sandbox": self._part(
                "sandbox",
                [sys.executable, "-m", "sandbox.stripe", "--folder", self.folder / "stripe"],
                lambda _: self.stripe.is_up(),
            ),
            "paypal": self._part(
                "paypal",
                [sys.executable, "-m", "sandbox.paypal", "--folder", self.folder / "paypal"],
                lambda _: self.paypal.is_up(),
            ),
            "mail": self._part(
                "mail",
                [sys.executable, "-m", "sandbox.mail", "--folder", self.folder / "mail"],
                lambda _: self.mail.is_up(),
            ),
            "web": self._part(
                "web",
                [BIN / "gunicorn", "web.app:create_app()", "-c", "web/gunicorn.py"],
                lambda _: self._is_answering(f"{self.web_url}/healthz"),
            ),
            "relay": self._part(
                "relay",
                [BIN / "gunicorn", "web.relay.app:create_app()", "-c", "web/relay/gunicorn.py"],
                lambda _: self._is_answering(f"{self.relay_url}/healthz"),
            ),
            "worker": self._part(
                "worker",
                # As in the Procfile, one process for all queues; mingle would only wait a second.
                [*celery, "worker", "-n", "one@%h", "-Q", queues, *flags.split()],
                _is_worker_ready,
            ),
            "beat": self._part("beat", [*celery, "beat"], lambda part: "beat: " in part.said),
        }
        # The page shows what was sent; no worker here sends any.
        self.parts["web"].environ["MAIL_PROVIDER"] = "sendgrid"

    def _part(
        self, name: str, argv: Sequence[str | Path], is_ready: Callable[[Part], object]
    ) -> Part:
        log = self.folder / f"{name}.log"
        environ = self.environ | (measured() if name in self._measured else {})
        return Part(name, argv, environ, log=log, is_ready=is_ready)

    @property
    def web(self) -> Part:
        return self.parts["web"]

    @property
    def relay(self) -> Part:
        """The relay, which is not started by default; sockets are at `/ws` of `relay_url`."""
        return self.parts["relay"]

    @property
    def worker(self) -> Part:
        return self.parts["worker"]

    @property
    def beat(self) -> Part:
        return self.parts["beat"]

    @property
    def sandbox(self) -> Part:
        return self.parts["sandbox"]

    def more(self, kind: str, name: str) -> Part:
        """Return another process of a kind, `worker` or `beat`, not started yet."""
        argv = [
            word.replace("one@", f"{name}@") if isinstance(word, str) else word
            for word in self.parts[kind].argv
        ]
        self.parts[name] = part = Part(
            name,
            argv,
            self.environ,
            log=self.folder / f"{name}.log",
            is_ready=self.parts[kind]._is_ready,
        )
        return part

    @contextmanager
    def session(self, company_id: UUID | None = None) -> Iterator[Session]:
        """A transaction of the test's own, to make rows and to read them."""
        with (
            Session(self.engine, expire_on_commit=False, info={COMPANY: company_id}) as session,
            session.begin(),
        ):
            yield session

    def company(self, name: str = "A company", *, currency: str = "INR") -> UUID:
        with self.session() as session:
            company = Company(
                tenant_id=self.tenant_id, name=name, email="bills@example.com", currency=currency
            )
            session.add(company)
            session.flush()
            return company.id

    def member(self, role: Role = Role.OWNER, *, company_id: UUID | None = None) -> Client:
        """Return a client of a new user who is signed in; of a new company unless one is given."""
        if company_id is None and role is not Role.OPERATOR:
            company_id = self.company()
        email = f"{uuid4()}@example.com"
        with self.session() as session:
            user = User(
                tenant_id=self.tenant_id,
                company_id=company_id,
                email=email,
                password_hash=hash_password(PASSWORD),
                role=role,
            )
            session.add(user)
            session.flush()
        return Client.signed_in(self.web_url, email, PASSWORD)

    def wait_until(self, holds: Callable[[], object], timeout_s: float = PATIENCE_S) -> None:
        """Wait on a condition; when it does not come about, show what the parts said last."""
        try:
            wait_for(holds, timeout_s)
        except AssertionError:
            tails = [f"--- {part.log}\n{last_lines(part.log, 15)}" for part in self.parts.values()]
            raise AssertionError("it did not come about\n" + "\n".join(tails)) from None

    @staticmethod
    def _is_answering(url: str) -> bool:
        try:
            return requests.get(url, timeout=2).ok
        except requests.RequestException:
            return False


def _is_worker_ready(part: Part) -> object:
    return re.search(r"\w+@\S+ ready", part.said)
