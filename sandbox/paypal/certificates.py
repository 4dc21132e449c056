"""The sandbox's own root and the certificate that signs its events, made once in a folder."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sandbox.standin.wire import Answer

HOST = "messageverificationcerts.sandbox.paypal.com"
PEM = "application/x-pem-file"
KEY_BITS = 2048
EARLIER = timedelta(days=1)
LIFE = timedelta(days=3650)
# Longer than anybody advances the sandbox's clock.
USES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


class Signer:
    """Signs with the key of a certificate that chains to the root in `folder`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._root, self._leaf, self._key = (
            folder / name for name in ("root.pem", "leaf.pem", "leaf.key")
        )
        # The key is put in place last: a kill before it makes all three anew.
        if not self._key.exists():
            self._make()
        key = serialization.load_pem_private_key(self._key.read_bytes(), password=None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise TypeError(f"{self._key} holds no RSA key")
        self._private = key
        digest = hashlib.sha256(self.certificate).hexdigest()
        self.id = f"CERT-{digest[:8]}-{digest[8:16]}-{digest[16:24]}"

    @property
    def root(self) -> bytes:
        """The root, which a trust store of the sandbox holds, as PEM."""
        return self._root.read_bytes()

    @property
    def certificate(self) -> bytes:
        """The certificate of the signatures, as PEM."""
        return self._leaf.read_bytes()

    def answer(self, certificate_id: str) -> Answer:
        """Answer who fetches the certificate."""
        if certificate_id != self.id:
            return Answer(404, b"", content_type=PEM)
        return Answer(200, self.certificate, content_type=PEM)

    def signature(self, message: bytes) -> bytes:
        """Return the signature: RSA, PKCS#1 v1.5, SHA-256."""
        return self._private.sign(message, padding.PKCS1v15(), hashes.SHA256())

    def _make(self) -> None:
        root_key, leaf_key = _new_key(), _new_key()
        issuer = _name("Paybeat sandbox root")
        root = (
            _builder(issuer, issuer, root_key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(root_key.public_key()), critical=False
            )
            .sign(root_key, hashes.SHA256())
        )
        leaf = (
            _builder(_name(HOST), issuer, leaf_key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage("digital_signature"), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()),
                critical=False,
            )
            .sign(root_key, hashes.SHA256())
        )
        self._root.write_bytes(root.public_bytes(serialization.Encoding.PEM))
        self._leaf.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
        self._key.touch(mode=0o600)
        self._key.write_bytes(
            leaf_key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )


def _new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(*given: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{use: use in given for use in USES})


def _builder(
    subject: x509.Name, issuer: x509.Name, key: rsa.RSAPublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLIER)
        .not_valid_after(now + LIFE)
    )
