from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.till import Till
from tests.servers import close_breakers
from tests.system import System

# A call is given up after a second and its claim ends just after, so that a lost worker's work is
# taken up within seconds.
HASTY = {
    "STRIPE_TIMEOUT_S": "1",
    "PAYPAL_TIMEOUT_S": "0.4",
    "CLAIM_LEASE_S": "1.5",
    "OUTBOX_SWEEP_EVERY_S": "0.3",
    "OUTBOX_RESEND_AFTER_S": "0.5",
    "OUTBOX_BACKOFF_S": "0.3",
    "RESOLVE_AFTER_S": "0.3",
}


@pytest.fixture(scope="module")
def marks(tmp_path_factory: pytest.TempPathFactory):
    """The folder of crash marks: a file of a point's name kills the worker that comes there."""
    return tmp_path_factory.mktemp("marks")


@pytest.fixture(scope="module")
def system(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    database_url: str,
    marks,
) -> Iterator[System]:
    """One system for the module's tests, in a hurry; a module's ENVIRON says where it is not."""
    folder = tmp_path_factory.mktemp("system")
    parts = ("sandbox", "web", "beat")
    environ = HASTY | getattr(request.module, "ENVIRON", {})
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
