"""stripe-python's transport over one urllib3 pool that all threads of a process share.

Its own `RequestsClient` keeps a session and so a pool a thread, follows redirects (a POST becomes a
GET) and lets a `.netrc` replace the API key. Here a connection goes to whichever thread needs one,
and every failure keeps its cause, which tells "never sent" from "nobody knows".
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NoReturn

import stripe
import urllib3

CONNECT_TIMEOUT_S = 3.0  # a healthy handshake takes a tenth of this from anywhere
CHUNK_BYTES = 64 * 1024


class PooledClient(stripe.HTTPClient):
    """Send one request at a time for each caller, without retries of its own."""

    name = "urllib3"

    def __init__(self, *, timeout_s: float, threads: int) -> None:
        """Keep up to `threads` idle connections; more are opened when more are asked for."""
        super().__init__()
        self._timeout_s = timeout_s
        self._pool = urllib3.PoolManager(
            maxsize=threads,
            block=False,
            retries=False,
            cert_reqs="CERT_REQUIRED",
            ca_certs=stripe.ca_bundle_path,
        )

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
        deadline = time.monotonic() + self._timeout_s
        try:
            answer = self._pool.request(
                method.upper(),
                url,
                body=post_data,
                headers=dict(headers or {}),
                timeout=urllib3.Timeout(
                    connect=min(CONNECT_TIMEOUT_S, self._timeout_s), read=self._timeout_s
                ),
                redirect=False,
                preload_content=False,
            )
            return _read(answer, deadline), answer.status, answer.headers
        except (urllib3.exceptions.HTTPError, OSError) as error:
            _lost(error)

    def close(self) -> None:
        """Drop the idle connections."""
        self._pool.clear()


def _read(answer: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    """Return the whole body; a server that trickles is cut off at the deadline.

    urllib3's own timeout starts anew with each byte, so it alone would never end the call; and only
    `read1` hands over what has come without waiting for its buffer to fill.
    """
    chunks = []
    while chunk := answer.read1(CHUNK_BYTES):
        chunks.append(chunk)
        if time.monotonic() > deadline and answer.length_remaining != 0:
            answer.close()
            raise TimeoutError("the body took too long")
    answer.release_conn()
    return b"".join(chunks)


def _lost(error: Exception) -> NoReturn:
    raise stripe.APIConnectionError(  # type: ignore[no-untyped-call]
        f"no answer: {type(error).__name__}"
    ) from error
