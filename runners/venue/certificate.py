"A certificate for the exchange's host names, made at start and trusted by nobody but the client that is handed it."
import datetime
import ipaddress
import os
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOSTS = tuple(f"{name}.binance.com" for name in ("fapi", "fstream", "api", "dapi", "dstream", "eapi", "papi", "ws-fapi", "www",
                                                 "stream")) + ("localhost",)


def make_certificate(folder: str | Path) -> tuple[Path, Path]:
    "Paths of a fresh certificate and its key, both PEM; the key is readable by its owner only."
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "replay venue")])
    names = [x509.DNSName(host) for host in HOSTS] + [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    now = datetime.datetime.now(datetime.UTC)
    build = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    build = build.serial_number(x509.random_serial_number())
    build = build.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=30))
    build = build.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = build.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).sign(key, hashes.SHA256())
    shown, hidden = folder / "venue.pem", folder / "venue.key"
    shown.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    with os.fdopen(os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return shown, hidden


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    "TLS for the server."
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
