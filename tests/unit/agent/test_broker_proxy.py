"""A proxy is used only where the settings name one, and believed in nothing."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.agent.secure_broker import Authority, Peer, SecureBroker, secure_broker
from tests.unit.agent.test_broker_over_tls import lines, link, reports_to, why

from primum_agent.settings import read_settings
from primum_device_sim.authorities.documents import DEVICE
from primum_verifier.core.errors import UsageError
from primum_verifier.shell.broker_proxy import (
    MAX_ANSWER_BYTES,
    ProxyAddress,
    ProxyKind,
    forget_proxies,
    open_tunnel,
    parse_proxy,
)

Eventually = Callable[..., Any]


class Proxy:
    """A small real proxy, HTTP and SOCKS 5 as it is spoken to; or one that does what a test says.

    Attributes:
        asked: whom it was asked for.
        script: in place of a good answer.
    """

    def __init__(self, script: Callable[[socket.socket], None] | None = None) -> None:
        self.asked: list[str] = []
        self.script = script
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                plain, _ = self._server.accept()
                threading.Thread(target=self._answer, args=(plain,), daemon=True).start()

    def _answer(self, plain: socket.socket) -> None:
        with suppress(OSError), plain:
            if self.script is not None:
                self.script(plain)
                return
            first = plain.recv(1, socket.MSG_PEEK)
            host, port = self._socks(plain) if first == b"\x05" else self._http(plain)
            self.asked.append(f"{host}:{port}")
            with socket.create_connection((host, port)) as onward:
                if first == b"\x05":
                    plain.sendall(bytes([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]))
                else:
                    plain.sendall(b"HTTP/1.1 200 Connection established\r\nVia: here\r\n\r\n")
                back = threading.Thread(target=_copy, args=(onward, plain), daemon=True)
                back.start()
                _copy(plain, onward)
                back.join()

    @staticmethod
    def _socks(plain: socket.socket) -> tuple[str, int]:
        assert plain.recv(3) == bytes([5, 1, 0])
        plain.sendall(bytes([5, 0]))
        head = plain.recv(5)
        assert head[:4] == bytes([5, 1, 0, 3])
        rest = plain.recv(head[4] + 2)
        return rest[:-2].decode(), int.from_bytes(rest[-2:], "big")

    @staticmethod
    def _http(plain: socket.socket) -> tuple[str, int]:
        asked = b""
        while not asked.endswith(b"\r\n\r\n"):
            asked += plain.recv(1)
        host, _, port = asked.split(b" ")[1].decode().rpartition(":")
        return host.strip("[]"), int(port)

    def close(self) -> None:
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def secure(broker_executable: Path, tmp_path: Path, authority: Authority) -> Iterator[SecureBroker]:
    with secure_broker(broker_executable, tmp_path / "secure", authority) as broker:
        yield broker


def through(field: Any, proxy: str) -> None:
    """Let the settings name a proxy."""
    text = (field.provisioning / "agent.toml").read_text()
    field.write("agent.toml", text.replace("[broker]", f'[broker]\nproxy = "{proxy}"').encode())


@pytest.mark.parametrize("kind", list(ProxyKind))
def test_through_a_proxy_all_is_told_and_tls_is_with_the_broker(
    in_the_field: Any,
    secure: SecureBroker,
    authority: Authority,
    eventually: Eventually,
    kind: ProxyKind,
) -> None:
    field = in_the_field
    authority.renew(field.layout, DEVICE)
    receiver = Peer(secure, authority, "receiver", "primum/demo/#")
    proxy = Proxy()
    reports_to(field, authority, secure.uri)
    through(field, f"{kind}://127.0.0.1:{proxy.port}")
    with field.running():
        eventually(lambda: receiver.of("provenance") == lines(field))
        assert link(field)["address"] == secure.uri
        found = field.agent("doctor", "--provisioning", field.provisioning).stdout
        assert f"{secure.uri} speaks TLSv1.3" in found
    assert set(proxy.asked) == {f"127.0.0.1:{secure.port}"}
    proxy.close()
    receiver.close()


def hangs(plain: socket.socket) -> None:
    while plain.recv(4096):
        pass


def drips(plain: socket.socket) -> None:
    plain.recv(4096)
    while True:
        plain.sendall(b"H")
        threading.Event().wait(0.05)


def endless(plain: socket.socket) -> None:
    plain.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        plain.sendall(b"X: " + b"x" * 1000)


def says(answer: bytes) -> Callable[[socket.socket], None]:
    def script(plain: socket.socket) -> None:
        plain.sendall(answer)
        hangs(plain)

    return script


LIES: dict[str, Callable[[socket.socket], None]] = {
    "ends": lambda plain: plain.close(),
    "refuses": says(b"HTTP/1.1 407 Who are you\r\n\r\n"),
    "no HTTP": says(b"\x05\x00\r\n\r\n"),
    "endless": endless,
    "hangs": hangs,
    "drips": drips,
    "another page": says(b"HTTP/1.1 200 OK\r\n\r\n<html>please log in</html>"),
}


@pytest.mark.parametrize("kind", list(ProxyKind))
@pytest.mark.parametrize("lie", LIES)
def test_a_proxy_that_lies_is_left_in_time(kind: ProxyKind, lie: str) -> None:
    proxy = Proxy(LIES[lie])
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as plain:
        if lie == "another page" and kind is ProxyKind.HTTP:
            open_tunnel(plain, kind=kind, host="broker.example", port=8883, seconds=0.5)
            assert plain.recv(6) == b"<html>", "TLS with the broker's name fails on it"
        else:
            with pytest.raises(OSError, match=r"proxy|timed out|reset"):
                open_tunnel(plain, kind=kind, host="broker.example", port=8883, seconds=0.5)
    proxy.close()


def test_an_answer_without_end_is_left_before_its_time() -> None:
    proxy = Proxy(endless)
    with (
        socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as plain,
        pytest.raises(OSError, match="has no end"),
    ):
        open_tunnel(plain, kind=ProxyKind.HTTP, host="broker.example", port=8883, seconds=60)
    proxy.close()


def test_a_proxy_that_intercepts_is_not_believed(
    in_the_field: Any,
    broker_executable: Path,
    tmp_path: Path,
    authority: Authority,
    eventually: Eventually,
) -> None:
    """It leads to a broker of its own: nothing is told there; then it hangs, and updates go on."""
    field = in_the_field
    other = Authority(tmp_path / "other")
    authority.renew(field.layout, DEVICE)
    with secure_broker(broker_executable, tmp_path / "theirs", other) as theirs:

        def leads_astray(plain: socket.socket) -> None:
            Proxy._http(plain)
            plain.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            with socket.create_connection(("127.0.0.1", theirs.port)) as onward:
                threading.Thread(target=_copy, args=(onward, plain), daemon=True).start()
                _copy(plain, onward)

        proxy = Proxy(leads_astray)
        reports_to(field, authority, "mqtts://127.0.0.1:1")
        through(field, f"http://127.0.0.1:{proxy.port}")
        field.release("1.0.0", counter=1)
        with field.running():
            assert "certificate verify failed" in eventually(lambda: why(field))
            proxy.script = hangs
            eventually(lambda: "update.activated" in field.kinds())
        assert "New client connected" not in theirs.log.read_text()
        proxy.close()


SPIES = """
import pathlib, socket
HTTP, SOCKS4, SOCKS5 = 3, 1, 2
def get_default_proxy():
    return None
def create_connection(*words, **options):
    pathlib.Path({told!r}).write_text(str(options))
    raise OSError("led astray")
"""


def test_no_variable_of_the_environment_leads_through_a_proxy(
    in_the_field: Any, secure: SecureBroker, authority: Authority, eventually: Eventually
) -> None:
    """N07 for brokers: also where a library is installed that would obey them."""
    field = in_the_field
    authority.renew(field.layout, DEVICE)
    told = field.folder / "led-astray"
    spies = field.folder / "spies"
    spies.mkdir()
    (spies / "socks.py").write_text(SPIES.format(told=str(told)))
    receiver = Peer(secure, authority, "receiver", "primum/demo/#")
    proxy = Proxy()
    reports_to(field, authority, secure.uri)
    named = dict.fromkeys(
        ("mqtt_proxy", "MQTT_PROXY", "all_proxy", "ALL_PROXY", "https_proxy"),
        f"http://127.0.0.1:{proxy.port}",
    )
    # What excepts this machine from proxies would hide it.
    with field.running(PYTHONPATH=str(spies), no_proxy="", NO_PROXY="", **named):
        eventually(lambda: receiver.of("provenance") == lines(field))
    assert proxy.asked == []
    assert not told.exists()
    proxy.close()
    receiver.close()


def test_what_names_a_proxy_is_forgotten_and_nothing_else() -> None:
    environment = {
        "mqtt_proxy": "a",
        "HTTPS_PROXY": "b",
        "no_proxy": "c",
        "PROXY": "d",
        "PATH": "e",
    }
    forget_proxies(environment)
    assert environment == {"PROXY": "d", "PATH": "e"}
    assert "PATH" in os.environ


def test_addresses_of_proxies() -> None:
    found = parse_proxy("http://proxy.example:3128", where="here")
    assert found == ProxyAddress(ProxyKind.HTTP, "proxy.example", 3128)
    assert parse_proxy("socks5://[::1]:1080/", where="here").uri == "socks5://[::1]:1080"


@pytest.mark.parametrize(
    "text",
    [
        "https://proxy.example:3128",
        "socks4://proxy.example:1080",
        "proxy.example:3128",
        "http://proxy.example",
        "http://proxy.example:0",
        "http://proxy.example:99999",
        "http://user:word@proxy.example:3128",
        "http://proxy.example:3128/path",
        "http://proxy.example:3128?x",
        "http://pro xy:3128",
        "http://" + "x" * 400 + ":1",
        "",
    ],
)
def test_other_addresses_are_refused(in_the_field: Any, text: str) -> None:
    with pytest.raises(UsageError):
        parse_proxy(text, where="here")
    if text:
        good = in_the_field.settings(3600, 1).replace("mqtt://127.0.0.1:1", "mqtts://x.example")
        named = good.replace("[broker]", f"[broker]\nproxy = {json.dumps(text)}")
        in_the_field.write("agent.toml", named.encode())
        with pytest.raises(UsageError):
            read_settings(in_the_field.provisioning)


def test_a_proxy_beside_brokers_of_this_machine_alone_is_refused(in_the_field: Any) -> None:
    """It would never be used, and whoever wrote it believes that it is."""
    text = in_the_field.settings(3600, 1)
    named = text.replace("[broker]", '[broker]\nproxy = "http://proxy.example:3128"')
    in_the_field.write("agent.toml", named.encode())
    with pytest.raises(UsageError):
        read_settings(in_the_field.provisioning)


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(ProxyKind), answer=st.binary(max_size=MAX_ANSWER_BYTES // 16))
def test_any_answer_is_a_way_or_refused(kind: ProxyKind, answer: bytes) -> None:
    here, there = socket.socketpair()
    with here, there:
        there.sendall(answer)
        there.shutdown(socket.SHUT_WR)
        with suppress(OSError):
            open_tunnel(here, kind=kind, host="broker.example", port=8883, seconds=5)
