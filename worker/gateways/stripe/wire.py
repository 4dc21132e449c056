"""stripe-python's transport over the shared wire.

Its own `RequestsClient` keeps a session and so a pool a thread, follows redirects (a POST becomes a
GET) and lets a `.netrc` replace the API key.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import stripe

from worker.gateways.wire import LOST, Wire


class PooledClient(stripe.HTTPClient):
    """Send one request at a time for each caller, without retries of its own."""

    name = "urllib3"

    def __init__(self, *, timeout_s: float, threads: int) -> None:
        """Keep up to `threads` idle connections; more are opened when more are asked for."""
        super().__init__()
        self._timeout_s = timeout_s
        self._wire = Wire(threads=threads, ca_certs=stripe.ca_bundle_path)

    def request(  # type: ignore[override]  # bytes, as its own RequestsClient returns
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
        *,
        _usage: list[str] | None = None,
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """Return body, status and headers; whatever goes wrong is an `APIConnectionError`."""
        try:
            return self._wire.send(
                method.upper(),
                url,
                headers=headers or {},
                body=post_data,
                deadline=time.monotonic() + self._timeout_s,
            )
        except LOST as error:
            raise stripe.APIConnectionError(  # type: ignore[no-untyped-call]
                f"no answer: {type(error).__name__}"
            ) from error

    def close(self) -> None:
        """Drop the idle connections."""
        self._wire.close()
