"""Whether PayPal signed a webhook, found out offline. Pure: bytes and certificates in.

The signed message is `<transmission id>|<time>|<our webhook's id>|<CRC-32 of the body>`, signed by
RSA PKCS #1 v1.5 with SHA-256 under a certificate that must be in date, lead to a root that we
trust and name a host of PayPal's.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from worker.signatures import Refused
from worker.transmissions import HOST, Transmission

LONGEST_CHAIN = 6  # a certificate, its issuers, and then some


def chain_of(pem: bytes) -> list[x509.Certificate]:
    """Return the certificates of a file, the signer's first.

    Raises:
        Refused: there are none, or too many.
    """
    try:
        found = x509.load_pem_x509_certificates(pem)
    except ValueError:
        found = []
    if not 0 < len(found) <= LONGEST_CHAIN:
        raise Refused("What is at the certificate's address is no certificate.")
    return found


def check(
    body: bytes,
    transmission: Transmission,
    chain: Sequence[x509.Certificate],
    *,
    webhook_id: str,
    roots: Sequence[x509.Certificate],
    at: datetime,
) -> None:
    """Refuse a body that PayPal did not sign.

    Args:
        body: the raw bytes of the request.
        chain: the certificate and its issuers, from the address that the transmission names.
        roots: whom we trust.
        at: when the certificate must be in date: the time of receipt.

    Raises:
        Refused: the signature, the certificate or its chain is not good.
    """
    signer = _trusted(chain, roots, at)
    message = "|".join(
        (transmission.id, transmission.time, webhook_id, str(zlib.crc32(body)))
    ).encode()
    try:
        signature = base64.b64decode(transmission.signature, validate=True)
        signer.verify(signature, message, PKCS1v15(), SHA256())
    except (binascii.Error, InvalidSignature):
        raise Refused("The signature does not match.") from None


def _trusted(
    chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate], at: datetime
) -> RSAPublicKey:
    """Return the key of a certificate that is PayPal's, in date, and of a root we trust."""
    leaf, *issuers = chain
    policy = PolicyBuilder().store(Store(list(roots))).time(at.astimezone(UTC).replace(tzinfo=None))
    try:
        policy.build_server_verifier(x509.DNSName(_host_in(leaf))).verify(leaf, issuers)
    except VerificationError:
        raise Refused("The certificate is not in date, or of no root that we trust.") from None
    key = leaf.public_key()
    if not isinstance(key, RSAPublicKey):
        raise Refused("The certificate's key is not RSA.")
    return key


def _host_in(leaf: x509.Certificate) -> str:
    """Return a host of PayPal's that a certificate names; a wildcard stands for any of its own."""
    try:
        named = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = named.value.get_values_for_type(x509.DNSName)
    except (x509.ExtensionNotFound, ValueError):
        names = []
    for name in names:
        host = name.lower().replace("*", "any", 1)
        if HOST.fullmatch(host):
            return host
    raise Refused("The certificate names no host of PayPal's.")
