"""A certificate authority of a test's own, that certifies whatever it is asked to."""

from __future__ import annotations

import base64
import zlib
from datetime import datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from models.clock import now
from worker.transmissions import Transmission

HOST = "messageverificationcerts.paypal.com"
CERTIFICATE_URL = "https://api.paypal.com/v1/notifications/certs/CERT-1"
WEBHOOK_ID = "WEBHOOK-1"
DAY = timedelta(days=1)
USES = (
    "digital_signature content_commitment key_encipherment data_encipherment key_agreement"
    " key_cert_sign crl_sign encipher_only decipher_only"
).split()


@cache
def keys() -> tuple[rsa.RSAPrivateKey, rsa.RSAPrivateKey]:
    """Two keys, made once: an authority's and a signer's."""
    first, second = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    return first, second


def name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def build(subject: str, issuer: str, key: rsa.RSAPublicKey, start: datetime, end: datetime):
    return (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )


def usage(*given: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{use: use in given for use in USES})


class Authority:
    """A root and what it certifies."""

    def __init__(self, common_name: str = "A root") -> None:
        self.name = common_name
        self.key, self.signer = keys()
        self.root = (
            build(common_name, common_name, self.key.public_key(), now() - DAY, now() + 90 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage("key_cert_sign", "crl_sign"), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False
            )
            .sign(self.key, hashes.SHA256())
        )

    def certify(
        self,
        host: str | None = HOST,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        is_self_signed: bool = False,
    ) -> x509.Certificate:
        issuer = "somebody" if is_self_signed else self.name
        start, end = start or now() - DAY, end or now() + 30 * DAY
        builder = build("somebody", issuer, self.signer.public_key(), start, end)
        if host is not None:
            names = x509.SubjectAlternativeName([x509.DNSName(host)])
            builder = builder.add_extension(names, critical=False)
        made: x509.Certificate = (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage("digital_signature"), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
            .sign(self.signer if is_self_signed else self.key, hashes.SHA256())
        )
        return made

    def pem(self, certificate: x509.Certificate) -> bytes:
        return certificate.public_bytes(Encoding.PEM)

    def transmission(self, body: bytes, **changes: str) -> Transmission:
        """Return what PayPal would say of a delivery of `body`."""
        given = {"id": "T-1", "time": "2026-11-23T08:00:00Z", "webhook_id": WEBHOOK_ID, **changes}
        message = f"{given['id']}|{given['time']}|{given['webhook_id']}|{zlib.crc32(body)}"
        signature = self.signer.sign(message.encode(), padding.PKCS1v15(), hashes.SHA256())
        return Transmission(
            id=given["id"],
            time=given["time"],
            signature=base64.b64encode(signature).decode(),
            certificate_url=given.get("certificate_url", CERTIFICATE_URL),
            algorithm="SHA256withRSA",
        )
