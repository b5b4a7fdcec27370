"""X.509 for TLS: the hub's own authority and certificates for its servers. Source: RFC 5280.

P-256 throughout, since every TLS stack a member may bring reads it. The authority is pinned in
`region/hub.toml`, which the threshold signs: no public authority is trusted for the region.
"""

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from keys.errors import KeyFileError

_BACKDATED: Final = timedelta(days=1)  # a client whose clock is behind connects, and is told so


def make_ca(common_name: str, now: datetime, days: int) -> tuple[bytes, bytes]:
    """Return certificate and private key, both PEM, of a new authority.

    The private key is not encrypted: keep it in a key store.
    """
    key = generate_private_key(SECP256R1())
    name = _name(common_name)
    certificate = (
        _builder(name, name, key, now, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, SHA256())
    )
    return certificate.public_bytes(Encoding.PEM), _private_pem(key)


def issue_server(
    ca_cert_pem: bytes,
    ca_key_pem: bytes,
    names: Sequence[str],
    now: datetime,
    days: int,
    *,
    routes: bool = False,
) -> tuple[bytes, bytes]:
    """Return certificate and private key, both PEM, of a TLS server.

    Args:
        ca_cert_pem: The authority's certificate.
        ca_key_pem: The authority's private key.
        names: DNS names or IP addresses under which it is reached; the first is its subject.
        now: The current time.
        days: How long it holds; never beyond the authority.
        routes: It also calls the other servers of its cluster, as a TLS client.

    Raises:
        KeyFileError: The authority's certificate or key cannot be read.
    """
    usages = [ExtendedKeyUsageOID.SERVER_AUTH]
    if routes:
        usages.append(ExtendedKeyUsageOID.CLIENT_AUTH)
    try:
        authority = x509.load_pem_x509_certificate(ca_cert_pem)
        signer = load_pem_private_key(ca_key_pem, password=None)
    except ValueError as error:
        raise KeyFileError("bad-certificate", "the authority's files cannot be read") from error
    if not isinstance(signer, EllipticCurvePrivateKey):
        raise KeyFileError("bad-certificate", "the authority's key is not a P-256 key")
    key = generate_private_key(SECP256R1())
    lasting = min(days, (authority.not_valid_after_utc - now).days)
    authority_id = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    certificate = (
        _builder(_name(names[0]), authority.subject, key, now, lasting)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority_id),
            critical=False,
        )
        .add_extension(x509.SubjectAlternativeName(map(_general_name, names)), critical=False)
        .sign(signer, SHA256())
    )
    return certificate.public_bytes(Encoding.PEM), _private_pem(key)


def expires_at(certificate_pem: bytes) -> datetime:
    """Return until when the first certificate of a PEM file holds.

    Raises:
        KeyFileError: It cannot be read.
    """
    try:
        return x509.load_pem_x509_certificate(certificate_pem).not_valid_after_utc
    except ValueError as error:
        raise KeyFileError("bad-certificate", "the certificate cannot be read") from error


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: EllipticCurvePrivateKey,
    now: datetime,
    days: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _private_pem(key: EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
