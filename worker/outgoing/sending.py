"""One POST to an address that a tenant gave: checked, bounded in time and size, never redirected.

The name is resolved once, all that it resolves to is checked, and the connection is made to an
address that was checked; TLS checks the certificate against the name. `http.client` speaks on a
socket of ours rather than a pool's: each wait on it knows how much of the whole time is left, so
that an answer that comes a byte at a time takes no longer than any other. Proxies of the
environment are not asked.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import cache
from ipaddress import ip_address
from typing import Any, Self

from models import clock
from worker import telemetry
from worker.outgoing.addresses import Address, Refused, Rules, Target, rules_of
from worker.settings import settings

CONNECT_S = 5.0
EXCERPT_S = 1.0
# Of the answer: what is shown to people, and what is read at all, headers and all.
MOST_EXCERPT = 1024
MOST_READ = 65_536
# Names are looked up in threads, for the system's resolver knows no limit that we could set.
LOOKUPS = 32
USER_AGENT = "Paybeat-Webhooks/1"
_REDIRECTS = range(300, 400)
# Statuses that may say when to come back.
_MAY_ASK = frozenset({429, 503})

Resolve = Callable[[str, int], Sequence[str]]


@dataclass(frozen=True)
class Reply:
    """What became of a POST: a status code, or an error that says why there is none."""

    status_code: int | None
    error: str | None
    excerpt: str
    duration_ms: int
    retry_after_s: float | None = None

    @property
    def is_good(self) -> bool:
        """Whether the message was taken: 2xx and nothing else."""
        return self.status_code is not None and 200 <= self.status_code < 300  # noqa: PLR2004


class _Failed(Exception):
    """No answer came; the message is for people."""


@cache
def _lookups() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(LOOKUPS, thread_name_prefix="lookup")


def resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a name as the system knows them, each once."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


@dataclass(frozen=True)
class Sender:
    """Sends by rules.

    Attributes:
        timeout_s: for all of it: the name, the connection, the answer.
        resolver: the seam for tests.
        context: what TLS believes; the system's roots if None.
    """

    rules: Rules
    timeout_s: float
    resolver: Resolve = resolve
    context: ssl.SSLContext | None = None

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Send and return what became of it; whatever goes wrong is in the reply."""
        began = time.monotonic()
        deadline = began + self.timeout_s
        try:
            target = self.rules.target(url)
            with self._connect(target, deadline) as connection:
                answer = _exchange(connection, target, headers, body)
        except Refused as error:
            answer = _Answer(error=f"refused: {error}")
        except _Failed as error:
            answer = _Answer(error=str(error))
        return Reply(
            answer.status_code,
            answer.error,
            answer.excerpt,
            round((time.monotonic() - began) * 1000),
            answer.retry_after_s,
        )

    def _connect(self, target: Target, deadline: float) -> _Timed:
        connect_by = min(deadline, time.monotonic() + CONNECT_S)
        error: Exception | None = None
        for address in self._addresses(target, connect_by):
            try:
                return self._open(target, address, connect_by, deadline)
            except OSError as failed:
                error = failed
        raise _Failed(_why(error)) from error

    def _addresses(self, target: Target, connect_by: float) -> list[Address]:
        """Return where to connect; one bad address among them refuses them all."""
        if (literal := target.address) is not None:
            return [literal]
        looked_up = _lookups().submit(self.resolver, target.host, target.port)
        try:
            found = looked_up.result(max(0.0, connect_by - time.monotonic()))
            addresses = [ip_address(each) for each in found]
        except TimeoutError:
            looked_up.cancel()
            raise _Failed("the name could not be resolved in time") from None
        except (OSError, ValueError) as error:
            raise _Failed("the name could not be resolved") from error
        if not addresses:
            raise _Failed("the name has no address")
        for address in addresses:
            self.rules.check(address)
        return addresses

    def _open(self, target: Target, address: Address, connect_by: float, deadline: float) -> _Timed:
        """Connect to exactly this address.

        Raises:
            OSError: it cannot be reached, or is not who its certificate says.
        """
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004
        plain = socket.socket(family, socket.SOCK_STREAM)
        try:
            plain.settimeout(_left_s(connect_by))
            plain.connect((str(address), target.port))
            if target.scheme == "https":
                plain.settimeout(_left_s(connect_by))
                context = self.context or _system_context()
                # For an address as host, the certificate must name the address.
                secure = context.wrap_socket(plain, server_hostname=target.host)
                return _Timed(secure, deadline)
        except BaseException:
            plain.close()
            raise
        return _Timed(plain, deadline)


@cache
def sender() -> Sender:
    """Return this process's sender, by its settings."""
    return Sender(rules_of(settings()), timeout_s=settings().endpoints_timeout_s)


@cache
def _system_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


@dataclass(frozen=True)
class _Answer:
    status_code: int | None = None
    error: str | None = None
    excerpt: str = ""
    retry_after_s: float | None = None


def _left_s(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


class _Timed:
    """A socket as `http.client` uses one, of which every wait ends by the deadline."""

    def __init__(self, plain: socket.socket, deadline: float) -> None:
        self.plain = plain
        self.deadline = deadline

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.plain.close()

    def sendall(self, data: bytes) -> None:
        """Send all of it; the time limit is for the whole."""
        self.plain.settimeout(_left_s(self.deadline))
        self.plain.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return what an answer is read from."""
        return io.BufferedReader(_Incoming(self))

    def close(self) -> None:
        """Leave it open for whoever reads the answer; it is closed when we are done."""


class _Incoming(io.RawIOBase):
    def __init__(self, timed: _Timed) -> None:
        self._timed = timed
        self._left = MOST_READ

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._left <= 0:
            raise _Failed("the answer is too long")
        plain = self._timed.plain
        plain.settimeout(_left_s(self._timed.deadline))
        number = plain.recv_into(memoryview(buffer)[: self._left])
        self._left -= number
        return number


def _exchange(
    connection: _Timed, target: Target, headers: Mapping[str, str], body: bytes
) -> _Answer:
    spoken = http.client.HTTPConnection(target.host, target.port)
    spoken.sock = connection
    sent = {
        "Host": target.host_header,
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "Accept-Encoding": "identity",
        "Connection": "close",
        **headers,
    }
    try:
        spoken.request("POST", target.path, body=body, headers=sent)
        answer = spoken.getresponse()
    except (OSError, http.client.HTTPException) as error:
        raise _Failed(_why(error)) from error
    status = answer.status
    # The status alone decides: nobody waits long for the rest.
    connection.deadline = min(connection.deadline, time.monotonic() + EXCERPT_S)
    return _Answer(
        status_code=status,
        error=_error_of(status),
        excerpt=_excerpt(answer),
        retry_after_s=_retry_after_s(answer.getheader("Retry-After"))
        if status in _MAY_ASK
        else None,
    )


def _error_of(status: int) -> str | None:
    if 200 <= status < 300:  # noqa: PLR2004
        return None
    if status in _REDIRECTS:
        return f"answered {status}: redirects are not followed"
    return f"answered {status}"


def _excerpt(answer: http.client.HTTPResponse) -> str:
    """Return how the answer's body begins; that there is no more of it changes nothing."""
    begun = b""
    with suppress(OSError, http.client.HTTPException, _Failed):
        while len(begun) < MOST_EXCERPT and (more := answer.read1(MOST_EXCERPT)):
            begun += more
    text = begun[:MOST_EXCERPT].decode(errors="replace")
    shown = "".join(each if each.isprintable() or each in "\n\t" else "\ufffd" for each in text)
    return telemetry.redact(shown)[:MOST_EXCERPT]


def _retry_after_s(text: str | None) -> float | None:
    """Read Retry-After: seconds, or a date; None for what is neither or is over."""
    if text is None:
        return None
    if text.strip().isdecimal() and text.isascii():
        return float(text.strip()[:10])
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - clock.wall()).total_seconds())


# Why there is no answer, in a few words; the first that fits.
_WORDS: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((TimeoutError,), "it did not answer in time"),
    ((ConnectionRefusedError,), "the connection was refused"),
    (
        (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError),
        "the connection was closed without an answer",
    ),
    ((http.client.HTTPException,), "what it answered is no HTTP"),
)


def _why(error: Exception | None) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate was refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or 'no reason was given'}"
    for kinds, words in _WORDS:
        if isinstance(error, kinds):
            return words
    return f"it could not be reached: {getattr(error, 'strerror', None) or type(error).__name__}"
