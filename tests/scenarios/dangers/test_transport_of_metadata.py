"""Mirrors and networks that cut, lie, delay and impersonate, while metadata is fetched."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.http_fetching import HttpFetcher, Patience, Wire
from primum_verifier.shell.tuf_fetching import METADATA_ATTEMPTS

MANIFEST = "releases/pvc/1.0.0/manifest.json"
HTTP = Wire(allow_http=True)


@pytest.fixture
def served(publisher: Any, device: Any, serve: Any) -> Any:
    """The repository behind a real server, which the device now asks."""
    found = serve(publisher.folder)
    device.url, device.fetcher = found.url, HttpFetcher(HTTP)
    return found


def raw(handler: Any, *lines: bytes) -> bool:
    handler.wfile.write(b"\r\n".join(lines))
    handler.close_connection = True
    return True


CUT: dict[str, tuple[bytes, ...]] = {
    "shorter_than_announced": (b"HTTP/1.1 200 OK", b"Content-Length: 500", b"", b"{"),
    "chunk_cut": (b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked", b"", b"5", b"{"),
    "last_chunk_missing": (b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked", b"", b"1", b"{", b""),
    "chunk_size_nonsense": (b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked", b"", b"zz", b"{"),
    "no_answer_at_all": (b"",),
    "no_http": (b"SSH-2.0-portal", b"", b""),
}


@pytest.mark.parametrize("case", CUT)
def test_n01_body_cut_short_is_asked_for_again_then_refused(
    publisher: Any, device: Any, served: Any, case: str
) -> None:
    """Retried within bounds, then told in our own words; no foreign error leaks."""
    publisher.publish()
    served.handler.answer = lambda handler: (
        handler.path.endswith("timestamp.json") and raw(handler, *CUT[case])
    )
    device.survives(Reason.TRANSPORT_INTERRUPTED)
    asked = [path for path in served.requests if path.endswith("timestamp.json")]
    assert len(asked) == METADATA_ATTEMPTS
    served.handler.answer = None
    device.next_run_succeeds()


def test_n01_link_that_breaks_once_costs_no_run(publisher: Any, device: Any, served: Any) -> None:
    """The first answer is cut, the second is whole."""
    publisher.publish()
    cuts = [CUT["shorter_than_announced"]]

    def once(handler: Any) -> bool:
        return handler.path.endswith("timestamp.json") and bool(cuts) and raw(handler, *cuts.pop())

    served.handler.answer = once
    device.run(MANIFEST)
    assert device.versions()["timestamp"] == 2
    device.next_run_succeeds()


def test_n01_link_that_breaks_between_two_files_keeps_what_was_accepted(
    publisher: Any, device: Any, served: Any
) -> None:
    """The new timestamp came whole, the snapshot never does: the timestamp counts (5.4.5)."""
    publisher.publish()
    served.handler.answer = lambda handler: (
        handler.path.endswith("snapshot.json") and raw(handler, *CUT["chunk_cut"])
    )
    device.survives(Reason.TRANSPORT_INTERRUPTED, accepted={"timestamp.json"})
    assert device.versions()["timestamp"] == 2
    served.handler.answer = None
    device.next_run_succeeds()


@pytest.mark.parametrize("status", [429, 503, 500])
def test_n05_server_that_asks_to_wait_ten_years_is_not_obeyed(
    device: Any, served: Any, status: int
) -> None:
    """One answer ends the run at once; when to ask again is the device's own choice."""

    def later(handler: Any) -> bool:
        handler.send_response(status)
        handler.send_header("Retry-After", "315360000")
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return True

    served.handler.answer = later
    device.survives(Reason.TRANSPORT_STATUS)
    assert len(served.requests) == 1
    served.handler.answer = None
    device.next_run_succeeds()


def test_n05_server_that_drips_is_left_after_the_total_time(
    publisher: Any, device: Any, served: Any
) -> None:
    """A byte now and then keeps every read alive; the whole download has a bound of its own."""
    device.fetcher = HttpFetcher(HTTP, patience=Patience(total_seconds=0.2))
    stop = threading.Event()

    def drip(handler: Any) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Length", "30000")
        handler.end_headers()
        while not stop.wait(0.02):
            try:
                handler.wfile.write(b" ")
            except OSError:
                break
        handler.close_connection = True
        return True

    publisher.publish()
    served.handler.answer = drip
    device.survives(Reason.TRANSPORT_INTERRUPTED)
    assert len(served.requests) == 1, "asking again at once would only take as long again"
    stop.set()
    served.handler.answer = None
    device.next_run_succeeds()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect_to_another_server_is_not_followed(
    publisher: Any, device: Any, served: Any, serve: Any, status: int
) -> None:
    """A server does not choose from where metadata is read."""
    elsewhere = serve(publisher.folder)

    def moved(handler: Any) -> bool:
        handler.send_response(status)
        handler.send_header("Location", f"{elsewhere.url}{handler.path[1:]}")
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return True

    served.handler.answer = moved
    device.survives(Reason.TRANSPORT_STATUS)
    assert not elsewhere.requests
    served.handler.answer = None
    device.next_run_succeeds()


def test_n07_proxy_of_the_environment_is_not_asked(
    device: Any, served: Any, serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``https_proxy`` in the environment points at an attacker."""
    (tmp_path / "empty").mkdir()
    attacker = serve(tmp_path / "empty")
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, attacker.url)
    device.fetcher = HttpFetcher(HTTP)
    before = device.files()
    device.run(MANIFEST)
    device.assert_untouched(before)
    assert served.requests
    assert not attacker.requests
    device.next_run_succeeds()


class Authority:
    """A certificate authority, and what it issues."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir()
        self.folder, self.name = folder, name
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._issue(name, self.key, authority=True)
        self.file = folder / "ca.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _issue(
        self, name: str, key: ec.EllipticCurvePrivateKey, *, authority: bool, **terms: Any
    ) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = subject if authority else self.certificate.subject
        now = dt.datetime.now(dt.UTC)
        address = ip_address(terms.get("address", "127.0.0.1"))
        end = now + dt.timedelta(days=terms.get("days", 1))
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=9))
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(address)]), critical=False)
            .sign(self.key, hashes.SHA256())
        )

    def context(self, *, own: bool = True, **terms: Any) -> ssl.SSLContext:
        """A server's side, with a certificate of this authority, or one that signed itself."""
        key = ec.generate_private_key(ec.SECP256R1())
        signed = self._issue("server", key, authority=False, **terms) if own else self.certificate
        pem = self.folder / "server.pem"
        pem.write_bytes(
            (key if own else self.key).private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + signed.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        return context


Tls = Callable[[ssl.SSLContext], tuple[str, list[bytes]]]


@pytest.fixture
def tls() -> Iterator[Tls]:
    """A TLS server that writes down what it hears after the handshake, and answers "not there"."""
    listening: list[socket.socket] = []

    def start(context: ssl.SSLContext) -> tuple[str, list[bytes]]:
        heard: list[bytes] = []
        server = socket.create_server(("127.0.0.1", 0))
        listening.append(server)

        def run() -> None:
            while True:
                try:
                    plain, _ = server.accept()
                except OSError:
                    return
                plain.settimeout(5)
                try:
                    with context.wrap_socket(plain, server_side=True) as speaking:
                        if said := speaking.recv(4096):
                            heard.append(said)
                            speaking.sendall(
                                b"HTTP/1.1 404 no\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                            )
                except OSError:
                    plain.close()

        threading.Thread(target=run, daemon=True).start()
        return f"https://127.0.0.1:{server.getsockname()[1]}/", heard

    yield start
    for server in listening:
        server.close()


def expired(ours: Authority, _: Authority) -> ssl.SSLContext:
    return ours.context(days=-1)


def wrong_name(ours: Authority, _: Authority) -> ssl.SSLContext:
    return ours.context(address="127.0.0.2")


def other_authority(_: Authority, theirs: Authority) -> ssl.SSLContext:
    return theirs.context()


def self_signed(_: Authority, theirs: Authority) -> ssl.SSLContext:
    return theirs.context(own=False)


def old_protocol(ours: Authority, _: Authority) -> ssl.SSLContext:
    context = ours.context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    # The deprecation warned of is the danger staged here.
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.maximum_version = ssl.TLSVersion.TLSv1
    return context


@pytest.mark.parametrize("case", [expired, wrong_name, other_authority, self_signed, old_protocol])
def test_n06_server_that_is_not_who_it_says_hears_no_byte_of_http(
    device: Any, tmp_path: Path, tls: Tls, case: Callable[..., ssl.SSLContext]
) -> None:
    """Expired, wrong name, an authority that was swapped in, self-signed, TLS 1.0 alone."""
    ours, theirs = Authority(tmp_path / "ours", "ours"), Authority(tmp_path / "theirs", "theirs")
    url, heard = tls(case(ours, theirs))
    device.url, device.fetcher = url, HttpFetcher(Wire(ca_file=ours.file))
    error = device.survives(Reason.TRANSPORT_UNREACHABLE)
    assert isinstance(error, FailedError)
    assert not heard
    device.url, device.fetcher = "", None
    device.next_run_succeeds()


def test_n06_right_server_is_spoken_to(device: Any, tmp_path: Path, tls: Tls) -> None:
    """The counterpart: with the right certificate the same server hears the request."""
    ours = Authority(tmp_path / "ours", "ours")
    url, heard = tls(ours.context())
    device.url, device.fetcher = url, HttpFetcher(Wire(ca_file=ours.file))
    device.survives(Reason.TRUST_NOT_FOUND)
    assert heard[0].startswith(b"GET /metadata/2.root.json ")
    device.url, device.fetcher = "", None
    device.next_run_succeeds()
