"""PayPal's webhook certificates, fetched once and kept by address, and the roots we trust."""

from __future__ import annotations

import ssl
import threading
import time
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from cryptography import x509

from worker.gateways.base import Unavailable
from worker.gateways.paypal.signatures import chain_of
from worker.gateways.wire import LOST, Wire, failure_of
from worker.settings import settings
from worker.signatures import Refused
from worker.transmissions import HOST, require_paypal

KEPT = 16
# PayPal uses a few at a time and changes them about once a year.
LARGEST_BYTES = 64 * 1024
LONGEST_FETCH_S = 5.0
SUCCESS = 200
GONE = (404, 410)


class NoRoots(Exception):
    """There is no root to trust: PAYPAL_TRUST_STORE names none and neither does the system."""


class Certificates:
    """The certificates that were fetched, for all threads.

    Args:
        api_base: a stand-in's address, which is asked in PayPal's place; empty for PayPal itself.
    """

    def __init__(self, *, api_base: str, timeout_s: float) -> None:
        self._base = urlsplit(api_base) if api_base else None
        self._timeout_s = min(timeout_s, LONGEST_FETCH_S)
        self._wire = Wire(threads=1)
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, list[x509.Certificate]] = OrderedDict()

    def at(self, url: str) -> list[x509.Certificate]:
        """Return the certificate at an address of PayPal's, and its issuers.

        Raises:
            Refused: the address is not PayPal's, or there is no certificate at it.
            Unavailable: it could not be fetched now.
        """
        require_paypal(url)
        with self._lock:
            kept = self._kept.get(url)
        if kept is None:
            # Not under the lock: whoever names an address that hangs keeps only himself waiting.
            kept = chain_of(self._fetch(url))
            with self._lock:
                self._kept[url] = kept
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
        return kept

    def close(self) -> None:
        """Drop the idle connections."""
        self._wire.close()

    def _fetch(self, url: str) -> bytes:
        if self._base is not None:
            parts = urlsplit(url)
            url = urlunsplit((self._base.scheme, self._base.netloc, parts.path, parts.query, ""))
        try:
            body, status, _ = self._wire.send(
                "GET",
                url,
                headers={"Accept": "*/*"},
                body=None,
                deadline=time.monotonic() + self._timeout_s,
            )
        except LOST as error:
            lost = failure_of(error)
        else:
            if status in GONE:
                raise Refused("There is no certificate at its address.")
            if status == SUCCESS and len(body) <= LARGEST_BYTES:
                return body
            lost = Unavailable(message=f"status {status}", code="no_certificate")
        raise Unavailable(
            message=f"the certificate was not fetched: {lost.message}", code=lost.code
        )


@cache
def certificates() -> Certificates:
    """Return this process's certificates."""
    chosen = settings()
    base = chosen.paypal_api_base
    is_theirs = HOST.fullmatch(urlsplit(base).netloc) is not None
    return Certificates(api_base="" if is_theirs else base, timeout_s=chosen.paypal_timeout_s)


@cache
def roots() -> Sequence[x509.Certificate]:
    """Return whom we trust to vouch for PayPal.

    Raises:
        NoRoots: nobody.
    """
    path = settings().paypal_trust_store
    if path:
        found = x509.load_pem_x509_certificates(Path(path).read_bytes())
    else:
        known = ssl.create_default_context().get_ca_certs(binary_form=True)
        found = [each for der in known if (each := _readable(der)) is not None]
    if not found:
        raise NoRoots("PAYPAL_TRUST_STORE is needed: this system has no file of trusted roots")
    return found


def _readable(der: bytes) -> x509.Certificate | None:
    """Return a root of the system's; old ones that break the rules cannot vouch for anybody."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return x509.load_der_x509_certificate(der)
        except (ValueError, Warning):
            return None
