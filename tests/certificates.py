"""Certificates for tests: a chain of our own, as an operator has one from an authority."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Chain:
    """PEM files; `root` is what a reader trusts."""

    certificate: Path
    key: Path
    root: str


def chain(folder: Path, name: str = "signer", lasts: timedelta = 20 * DAY) -> Chain:
    """A signer's certificate by an authority that nobody knows. lasts: from now on."""
    ours, theirs = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = _certificate("Authority", ours, "Authority", ours, 30 * DAY)
    leaf = _certificate("Signer", theirs, "Authority", ours, lasts)
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    certificate.write_bytes(_pem(leaf) + _pem(root))
    key.write_bytes(
        theirs.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    )
    return Chain(certificate, key, _pem(root).decode())


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    by: ec.EllipticCurvePrivateKey,
    lasts: timedelta,
) -> x509.Certificate:
    now, of_authority = datetime.now(UTC), name == issuer
    usage = x509.KeyUsage(
        digital_signature=not of_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=of_authority,
        crl_sign=of_authority,
        encipher_only=False,
        decipher_only=False,
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(by.public_key())
    made = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 10 * DAY)
        .not_valid_after(now + lasts)
        .add_extension(x509.BasicConstraints(of_authority, None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
    )
    if of_authority:
        made = made.add_extension(identifier, critical=False)
    else:
        signs = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        made = made.add_extension(signs, critical=False)
    return made.sign(by, hashes.SHA256())


def _name(name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Shop"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(form.Encoding.PEM)
