from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.till import Till
from tests.servers import close_breakers
from tests.system import System
from tests.system_fixture import beating

# A call is given up after a second and its claim ends just after, so that a lost worker's work is
# taken up within seconds.
HASTY = {
    "STRIPE_TIMEOUT_S": "1",
    "PAYPAL_TIMEOUT_S": "0.4",
    "CLAIM_LEASE_S": "1.5",
    "ENDPOINTS_TIMEOUT_S": "1",
    "MAIL_TIMEOUT_S": "1",
    "OPENEXCHANGERATES_TIMEOUT_S": "1",
    "OUTBOX_SWEEP_EVERY_S": "0.3",
    "OUTBOX_RESEND_AFTER_S": "0.5",
    "OUTBOX_BACKOFF_S": "0.3",
    "RESOLVE_AFTER_S": "0.3",
}


@pytest.fixture(scope="session")
def marks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of crash marks: a file of a point's name kills the worker that comes there."""
    return tmp_path_factory.mktemp("marks")


@pytest.fixture(scope="session")
def hasty_system(
    tmp_path_factory: pytest.TempPathFactory, database_url: str, marks: Path
) -> Iterator[System]:
    """The system of all modules that want nothing but haste. Its beat rests between them."""
    with hurrying(tmp_path_factory.mktemp("system"), database_url, marks, {}) as running:
        running.beat.signal(signal.SIGSTOP)
        yield running
        running.beat.signal(signal.SIGCONT)


@pytest.fixture(scope="module")
def system(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    database_url: str,
    marks: Path,
) -> Iterator[System]:
    """A system in a hurry; a module's ENVIRON says where its own is not, or `{}` that it has one.

    Modules without are of the group `tests/faults`, so that one process runs them all.
    """
    own = getattr(request.module, "ENVIRON", None)
    if own is None:
        shared = request.getfixturevalue("hasty_system")
        with beating(shared):
            yield shared
        return
    with hurrying(tmp_path_factory.mktemp("system"), database_url, marks, own) as running:
        yield running


@contextmanager
def hurrying(
    folder: Path, database_url: str, marks: Path, environ: dict[str, str]
) -> Iterator[System]:
    parts = ("sandbox", "web", "beat")
    environ = HASTY | environ
    with System(folder, database_url=database_url, environ=environ, parts=parts) as running:
        # The worker alone may be killed.
        running.worker.environ["CRASH_MARKS"] = str(marks)
        running.worker.start()
        yield running


@pytest.fixture
def till(system: System) -> Iterator[Till]:
    if not system.worker.is_running:
        system.worker.start()
    close_breakers(system.redis)
    yield Till(system)
    system.stripe.clear_faults()
