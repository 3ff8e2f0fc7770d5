"""Certificates for tests, made on the spot."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def certificate_file(directory: Path) -> Path:
    """A key and a certificate of 127.0.0.1 that vouches for itself, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("127.0.0.1")
    host = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = _builder(name, name, key).add_extension(host, False).sign(key, hashes.SHA256())
    path = directory / "server.pem"
    path.write_bytes(_key_pem(key) + _pem(made))
    return path


class Authority:
    """A certificate authority of the test's own; it vouches for 127.0.0.1 and localhost."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "authority.pem"
        self.server_file = directory / "signed.pem"
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("test authority")
        signed = _builder(name, name, key).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), True
        )
        self.file.write_bytes(_pem(signed.sign(key, hashes.SHA256())))
        server_key = ec.generate_private_key(ec.SECP256R1())
        hosts = x509.SubjectAlternativeName(
            [x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("localhost")]
        )
        server = _builder(_name("localhost"), name, server_key).add_extension(hosts, False)
        self.server_file.write_bytes(_key_pem(server_key) + _pem(server.sign(key, hashes.SHA256())))

    def context(self) -> ssl.SSLContext:
        """A client's who trusts it and nobody else."""
        return ssl.create_default_context(cafile=str(self.file))


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )


def _pem(made: x509.Certificate) -> bytes:
    return made.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    return key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)


def certificate(directory: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context for 127.0.0.1, and that of a client who trusts it."""
    path = certificate_file(directory)
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(path)
    client_side = ssl.create_default_context(cafile=str(path))
    return server_side, client_side
