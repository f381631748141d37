"""A real broker with the settings and the access list that the project ships, and its authority."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from paho.mqtt.enums import CallbackAPIVersion

from primum_agent.client_certificate import make_request, take_certificate
from primum_agent.layout import Layout

SHIPPED = Path(__file__).resolve().parents[3] / "packaging" / "mosquitto"
HERE = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
ELSEWHERE = x509.SubjectAlternativeName([x509.DNSName("elsewhere.example.org")])


def named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    """Signs the certificates of one broker, its devices and its receiver."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self._key = generate_private_key(SECP256R1())
        self._number = 0
        basic = x509.BasicConstraints(ca=True, path_length=None)
        self._root = self._sign("root", self._key.public_key(), [(basic, True)])
        self.file = folder / "ca.pem"
        self.file.write_bytes(self._root.public_bytes(Encoding.PEM))

    def _sign(
        self,
        name: str,
        key: Any,
        extensions: list[tuple[x509.ExtensionType, bool]],
        *,
        begins: timedelta = timedelta(days=-2),
        ends: timedelta = timedelta(days=30),
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named("root"))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins)
            .not_valid_after(now + ends)
        )
        for extension, critical in extensions:
            made = made.add_extension(extension, critical=critical)
        return made.sign(self._key, SHA256())

    def identity(
        self, name: str, *, names: x509.SubjectAlternativeName = HERE
    ) -> tuple[Path, Path]:
        """Certificate and key of somebody, as files."""
        self._number += 1
        key = generate_private_key(SECP256R1())
        certificate = self._sign(name, key.public_key(), [(names, False)])
        files = tuple(self.folder / f"{name}-{self._number}.{end}" for end in ("pem", "key"))
        files[0].write_bytes(certificate.public_bytes(Encoding.PEM))
        files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return files[0], files[1]

    def answer(self, request: bytes, *, ends: timedelta = timedelta(days=30)) -> bytes:
        """What the issuer makes of a device's request."""
        asked = x509.load_pem_x509_csr(request)
        name = asked.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        use = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        alternative = asked.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        extensions: list[tuple[x509.ExtensionType, bool]] = [(use, False), (alternative, False)]
        made = self._sign(str(name), asked.public_key(), extensions, ends=ends)
        return made.public_bytes(Encoding.PEM)

    def renew(self, layout: Layout, device: str, *, ends: timedelta = timedelta(days=30)) -> str:
        """Give a device its certificate by the way of ``enroll --renew``; its serial number."""
        request = make_request(layout, device_id=device)
        # One that has ended meanwhile held when it was taken.
        now = datetime.now(UTC) + min(ends, timedelta(0)) - timedelta(hours=1)
        answer = self.answer(request, ends=ends)
        return take_certificate(layout, answer, device_id=device, now=now).serial


class SecureBroker:
    """One mosquitto, as shipped, on a port of its own.

    Attributes:
        port: where it listens; the same after a restart.
        log: what it wrote.
    """

    def __init__(
        self,
        executable: Path,
        folder: Path,
        authority: Authority,
        *,
        names: x509.SubjectAlternativeName = HERE,
    ) -> None:
        folder.mkdir()
        certificate, key = authority.identity("broker", names=names)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        access = folder / "primum.acl"
        access.write_text((SHIPPED / "primum.acl").read_text())
        access.chmod(0o600)
        text = (SHIPPED / "primum.conf").read_text()
        for old, new in (
            ("listener 8883", f"listener {self.port} 127.0.0.1"),
            ("/etc/mosquitto/certs/broker.pem", str(certificate)),
            ("/etc/mosquitto/certs/broker.key", str(key)),
            ("/etc/mosquitto/certs/devices-ca.pem", str(authority.file)),
            ("/etc/mosquitto/primum.acl", str(access)),
            ("persistence true", f"persistence true\npersistence_location {folder}/"),
        ):
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        user = "user root\n" if os.geteuid() == 0 else ""
        self._command = [str(executable), "-c", str(folder / "mosquitto.conf")]
        (folder / "mosquitto.conf").write_text(f"{text}{user}log_dest stderr\nlog_type all\n")
        self.log = folder / "mosquitto.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(self._command, stdout=output, stderr=output)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.02)
        raise AssertionError(self.log.read_text())

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=10)

    @property
    def uri(self) -> str:
        return f"mqtts://127.0.0.1:{self.port}"


@contextmanager
def secure_broker(executable: Path, folder: Path, authority: Authority) -> Iterator[SecureBroker]:
    """It runs while the block does."""
    broker = SecureBroker(executable, folder, authority)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


class Peer:
    """Somebody else at the broker, with a certificate of its own.

    Attributes:
        messages: what it was sent: the topic, and the payload.
        answers: the reason codes of what it published.
    """

    def __init__(self, broker: SecureBroker, authority: Authority, name: str, *topics: str) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.answers: list[str] = []
        self.ready = threading.Event()
        certificate, key = authority.identity(name)
        context = ssl.create_default_context(cafile=str(authority.file))
        context.load_cert_chain(certificate, key)
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=f"peer-{name}", protocol=paho.MQTTv5
        )
        self.client.tls_set_context(context)
        self.client.on_message = lambda _, __, told: self.messages.append(
            (told.topic, bytes(told.payload))
        )
        self.client.on_publish = lambda *words: self.answers.append(str(words[3]))
        self._topics = topics
        self.client.on_subscribe = lambda *_: self.ready.set()
        self.client.on_connect = lambda client, *_: self._begin(client)
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()
        assert self.ready.wait(10)

    def _begin(self, client: paho.Client) -> None:
        for topic in self._topics:
            client.subscribe(topic, qos=1)
        if not self._topics:
            self.ready.set()

    def says(self, topic: str, payload: bytes) -> None:
        self.client.publish(topic, payload, qos=1).wait_for_publish(timeout=10)

    def of(self, end: str) -> list[bytes]:
        return [payload for topic, payload in self.messages if topic.rpartition("/")[2] == end]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class ScriptedBroker:
    """A server that speaks TLS and then does what a test says, with each connection anew.

    Args:
        authority: signs its certificate.
        script: is given the connected socket, and ends the connection by returning.
    """

    def __init__(self, authority: Authority, script: Callable[[ssl.SSLSocket], None]) -> None:
        self._script = script
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*authority.identity("broker"))
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def uri(self) -> str:
        return f"mqtts://127.0.0.1:{self.port}"

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                plain, _ = self._server.accept()
                self.connections += 1
                with suppress(OSError), plain:
                    secure = self._context.wrap_socket(plain, server_side=True)
                    with secure:
                        self._script(secure)

    def close(self) -> None:
        self._server.close()
