"""The key that signs the stand-in's events: no secret, the same in every sandbox."""

from __future__ import annotations

import base64
from functools import cache
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SEED = b"the mail of the sandbox"


@cache
def _key() -> ec.EllipticCurvePrivateKey:
    number = int.from_bytes(sha256(SEED).digest()) >> 1
    return ec.derive_private_key(number, ec.SECP256R1())


def public_key() -> str:
    """Return what SendGrid shows as the verification key: DER in base64."""
    der = _key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


def signature(timestamp: str, body: bytes) -> str:
    """Return the signature of a body that is sent at a time."""
    signed = _key().sign(timestamp.encode() + body, ec.ECDSA(SHA256()))
    return base64.b64encode(signed).decode()
