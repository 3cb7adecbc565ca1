"""Pictures by https: whose certificate is trusted, and what may follow."""

import socket
import ssl
from datetime import UTC, datetime, timedelta

import pytest

from manylabel.preprocessing.rejections import RejectReason
from tests.preprocessing.pictures._answers import PICTURE, fetch, location, rejection


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Of localhost, signed by itself, with its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path_factory.mktemp("certificate") / "localhost.pem"
    path.write_bytes(private + made.public_bytes(pem))
    return path


@pytest.fixture
def secure(server, certificate):
    """The server speaks TLS; the address of a path there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    names = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.names = names
    return lambda path, host="localhost": server.url(path, host).replace("http:", "https:")


def test_a_certificate_that_is_not_trusted(server, secure):
    server.answers |= {"/a.jpg": PICTURE}
    outcome = rejection(secure("/a.jpg"), deadline=5, connect_timeout=5)
    assert outcome.reason is RejectReason.UNREACHABLE
    assert "its certificate is not trusted" in outcome.detail
    assert server.asked.total() == 0


def test_a_certificate_that_is_trusted(server, secure, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server.answers |= {"/a.jpg": PICTURE}
    patient = {"deadline": 5, "connect_timeout": 5}
    assert fetch(secure("/a.jpg"), **patient) == PICTURE
    assert server.names == ["localhost"]
    another = rejection(secure("/a.jpg", "127.0.0.1"), **patient)
    assert "its certificate is not trusted" in another.detail


def test_a_redirect_out_of_tls(server, secure, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server.answers |= {"/a.jpg": location("http://localhost:1/a.jpg?key=secret")}
    outcome = rejection(secure("/a.jpg"), deadline=5, connect_timeout=5)
    assert outcome.reason is RejectReason.BAD_RESPONSE
    assert outcome.detail.startswith("a redirect from https to http://localhost:1/a.jpg,")


def test_a_server_that_speaks_no_tls(server):
    url = server.url("/a.jpg").replace("http:", "https:")
    assert rejection(url).reason is RejectReason.UNREACHABLE


def test_tls_that_is_never_agreed_upon():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        outcome = rejection(
            f"https://127.0.0.1:{silent.getsockname()[1]}/a.jpg", connect_timeout=0.2
        )
    assert outcome.detail.endswith("no connection within 0.2 seconds")
