"""The connection to a broker: one that means harm, and one that asks who is there."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from tests.unit.agent.test_broker_proxy import SPIES, Proxy
from tests.unit.repo_tools.fleet.receivers import end, primum_repo, start

from primum_device_sim.broker import BrokerHandle, running_broker
from primum_repo_tools.fleet.messages import MAX_PACKET_BYTES
from primum_repo_tools.fleet.subscriber import Access, Subscriber
from primum_verifier.core.errors import FailedError
from primum_verifier.shell.broker_address import BrokerAddress

Eventually = Callable[..., Any]
CONNACK = bytes.fromhex("2003000000")
SUBACK = bytes.fromhex("9007000100") + b"\x01" * 4
GIANT = b"\x32" + b"\xff\xff\xff\x7f"
"""The head of a PUBLISH of 256 MB."""


@pytest.fixture
def hostile() -> Any:
    """A broker that greets, and then sends what a test wants, as often as it is taken."""
    listening = socket.create_server(("127.0.0.1", 0))
    sent = [0]

    def serve(first: bytes, more: bytes) -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(CONNACK)
            connection.recv(4096)
            connection.sendall(SUBACK + first)
            try:
                while True:
                    sent[0] += connection.send(more)
            except OSError:
                return

    def run(first: bytes, more: bytes) -> tuple[int, list[int]]:
        threading.Thread(target=serve, args=(first, more), daemon=True).start()
        return listening.getsockname()[1], sent

    yield run
    listening.close()


def listen(port: int) -> None:
    """A receiver's connection for up to a minute."""
    subscriber = Subscriber(
        Access(broker=BrokerAddress("127.0.0.1", port, tls=False)), fleet="demo", name="one"
    )
    subscriber.connect()
    for _ in range(60):
        subscriber.collect(at_most=10, wait=1.0)


def test_a_broker_that_sends_a_giant_is_left_before_it_is_in_memory(hostile: Any) -> None:
    port, sent = hostile(GIANT, b"x" * 65_536)
    with pytest.raises(FailedError) as found:
        listen(port)
    assert found.value.reason == "broker.unreachable"
    assert str(MAX_PACKET_BYTES) in found.value.found
    assert sent[0] < 64 * 1024 * 1024, "a part of the 256 MB, in the buffers on the way"


@pytest.mark.parametrize(
    "first",
    [
        b"\x32\xff\xff\xff\xff\xff\xff",  # a length that never ends
        b"\x32\x05\x00\xff\xff\x00\x00",  # a topic longer than the packet
        b"\x32\x09\x00\x04\xff\xfe\xfd\xfc\x00\x01\x00",  # a topic that is no UTF-8
        b"\x32\x06\x00\x00\x00\x01\x00x",  # no topic, and no alias for one
        b"\x30\x07\x00\x04primu",  # cut short by what follows
        b"\xf0\x00\x20\x00\xe0\x00",  # AUTH, an empty CONNACK, DISCONNECT
    ],
)
def test_a_broker_that_speaks_nonsense_ends_the_connection_and_not_the_receiver(
    hostile: Any, first: bytes
) -> None:
    port, _ = hostile(first, b"\x00" * 100)
    with pytest.raises(FailedError) as found:
        listen(port)
    assert found.value.reason == "broker.unreachable"


def _certificates(folder: Path) -> None:
    """An authority, and a certificate of it for the broker and for the receiver."""
    authority = generate_private_key(SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
    now = datetime.now(UTC)
    for name in ("ca", "broker", "receiver"):
        key = authority if name == "ca" else generate_private_key(SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = (
            x509.CertificateBuilder()
            .subject_name(issuer if name == "ca" else subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=name == "ca", path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]),
                critical=False,
            )
            .sign(authority, SHA256())
        )
        (folder / f"{name}.pem").write_bytes(made.public_bytes(Encoding.PEM))
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / f"{name}.key").write_bytes(pem)


def _secure(folder: Path) -> tuple[int, tuple[str, ...]]:
    """The port and the settings of a broker that asks for a certificate."""
    _certificates(folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return port, (
        f"listener {port} 127.0.0.1",
        f"cafile {folder / 'ca.pem'}",
        f"certfile {folder / 'broker.pem'}",
        f"keyfile {folder / 'broker.key'}",
        "require_certificate true",
    )


def test_a_receiver_and_a_broker_know_each_other_by_certificates(
    broker_executable: Path, tmp_path: Path, eventually: Eventually
) -> None:
    """Also through a proxy, which sees nothing of it."""
    port, settings = _secure(tmp_path)
    database = f"sqlite:///{tmp_path / 'fleet.db'}"
    with running_broker(broker_executable, tmp_path / "broker", extra_settings=settings) as broker:
        own = ("--certificate", tmp_path / "receiver.pem", "--certificate-key",
               tmp_path / "receiver.key")  # fmt: skip
        known = start(database, port, "--ca", tmp_path / "ca.pem", *own, scheme="mqtts")
        eventually(lambda: _greeted(broker))
        assert end(known)["refused"] == {}
        proxy = Proxy()
        way = ("--proxy", f"http://127.0.0.1:{proxy.port}")
        led = start(database, port, "--ca", tmp_path / "ca.pem", *own, *way, scheme="mqtts")
        eventually(lambda: proxy.asked)
        eventually(lambda: _greeted(broker) > 1)
        assert end(led)["refused"] == {}
        assert proxy.asked == [f"127.0.0.1:{port}"]
        proxy.close()
        for words in (("--ca", tmp_path / "receiver.pem", *own), ("--ca", tmp_path / "ca.pem")):
            stranger = start(database, port, *words, scheme="mqtts")
            _, told = stranger.communicate(timeout=30)
            assert stranger.returncode == 3
            assert "broker.unreachable" in told


def _greeted(broker: BrokerHandle) -> int:
    """How often the receiver connected."""
    return broker.log.read_text(errors="replace").count("as primum-demo-one")


def test_no_variable_of_the_environment_leads_a_receiver_through_a_proxy(
    broker: BrokerHandle, tmp_path: Path, eventually: Eventually
) -> None:
    """N07 for receivers: also where a library is installed that would obey them."""
    told = tmp_path / "led-astray"
    (tmp_path / "spies").mkdir()
    (tmp_path / "spies" / "socks.py").write_text(SPIES.format(told=str(told)))
    proxy = Proxy()
    names = ("mqtt_proxy", "MQTT_PROXY", "all_proxy", "ALL_PROXY", "https_proxy", "HTTP_PROXY")
    environment = dict.fromkeys(names, f"http://127.0.0.1:{proxy.port}")
    # What excepts this machine from proxies would hide it.
    environment |= {"no_proxy": "", "NO_PROXY": "", "PYTHONPATH": str(tmp_path / "spies")}
    before = _greeted(broker)
    database = f"sqlite:///{tmp_path / 'fleet.db'}"
    receiver = start(database, broker.port, **environment)
    eventually(lambda: _greeted(broker) > before)
    assert end(receiver)["refused"] == {}
    assert proxy.asked == []
    assert not told.exists()
    proxy.close()


@pytest.mark.parametrize(
    "words",
    [
        ("--broker", "mqtt://127.0.0.1:1", "--proxy", "http://127.0.0.1:2"),
        ("--broker", "mqtts://127.0.0.1:1", "--proxy", "http://user:word@127.0.0.1:2"),
        ("--broker", "mqtts://127.0.0.1:1", "--proxy", "127.0.0.1:2"),
    ],
)
def test_a_proxy_that_would_not_be_used_or_is_none_is_refused(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    done = primum_repo("ingest", *words, "--database", f"sqlite:///{tmp_path / 'fleet.db'}")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
