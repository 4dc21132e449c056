from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.worker.gateways.wire import Wire, serve
from worker.gateways.stripe.client import StripeGateway


@pytest.fixture
def wire() -> Iterator[Wire]:
    server = serve()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.wire
    server.wire.stopping.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def gateway(wire: Wire) -> Iterator[StripeGateway]:
    """A gateway that waits half a second, at a wire that says what the test tells it to."""
    made = StripeGateway(api_key="sk_test_wire", api_base=wire.url, timeout_s=1.5)
    yield made
    made.close()
