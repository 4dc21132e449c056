"""HTTP to a provider over one urllib3 pool that all threads of a process share.

No retries, no redirects, no `.netrc`, and a deadline for the whole call. Every failure keeps its
cause, which tells "never sent" from "nobody knows".
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping

import urllib3
import urllib3.exceptions as http

from worker.gateways.base import GatewayError, OutcomeUnknown, Unavailable

CONNECT_TIMEOUT_S = 3.0  # a healthy handshake takes a tenth of this from anywhere
CHUNK_BYTES = 64 * 1024

# Refused, unresolved or timed out while connecting; no certificate to trust; no such address.
# Nothing was sent.
NEVER_SENT = (
    http.ConnectTimeoutError,
    http.NewConnectionError,
    http.LocationValueError,
    ssl.SSLCertVerificationError,
)
LOST = (http.HTTPError, OSError)  # what a request may raise, and nothing else


class Wire:
    """Send one request at a time for each caller."""

    def __init__(self, *, threads: int, ca_certs: str | None = None) -> None:
        """Keep up to `threads` idle connections; more are opened when more are asked for."""
        self._pool = urllib3.PoolManager(
            maxsize=threads,
            block=False,
            retries=False,
            cert_reqs="CERT_REQUIRED",
            ca_certs=ca_certs,
        )

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | str | None,
        deadline: float,
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """Return body, status and headers.

        Args:
            deadline: by `time.monotonic()`; a server that trickles is cut off at it.

        Raises:
            LOST: there is no whole answer; `failure_of` tells what that means.
        """
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise http.ConnectTimeoutError(None, url, "no time is left to send this")
        answer = self._pool.request(
            method,
            url,
            body=body,
            headers=dict(headers),
            timeout=urllib3.Timeout(connect=min(CONNECT_TIMEOUT_S, left_s), read=left_s),
            redirect=False,
            preload_content=False,
        )
        return _read(answer, deadline), answer.status, answer.headers

    def close(self) -> None:
        """Drop the idle connections."""
        self._pool.clear()


def _read(answer: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    """Return the whole body.

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


def failure_of(cause: BaseException | None) -> GatewayError:
    """Return what it means that a call got no whole answer."""
    name = type(cause).__name__
    reason = cause.args[0] if isinstance(cause, http.SSLError) and cause.args else cause
    if isinstance(reason, NEVER_SENT):
        return Unavailable(message=f"could not connect ({name})", code="not_connected")
    if isinstance(cause, http.TimeoutError | TimeoutError):
        return OutcomeUnknown(message=f"no answer in time ({name})", code="timeout")
    return OutcomeUnknown(message=f"the connection was lost ({name})", code="connection_lost")


def retry_after_s(headers: Mapping[str, str] | None) -> float | None:
    """Return the seconds that the provider asks us to wait, if it names any."""
    try:
        return max(0.0, float((headers or {}).get("retry-after", "")))
    except ValueError:
        return None
