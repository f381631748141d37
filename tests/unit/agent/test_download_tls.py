"""Whom a device believes on the wire, whom it shows who it is, and by which way it goes."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.unit.agent.field import Field
from tests.unit.agent.secure_broker import ELSEWHERE, Authority
from tests.unit.agent.served import Served
from tests.unit.agent.test_broker_proxy import Proxy
from tests.unit.agent.test_glance import Asker

from primum_agent.glance import Seen
from primum_agent.settings import read_settings
from primum_device_sim.authorities.documents import DEVICE
from primum_verifier.core.errors import UsageError

FAILED = 3
PINNED = '[network]\nca_file = "servers.pem"\n'


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours")


@pytest.fixture
def served(in_the_field: Field, attempt_now: Callable[..., int]) -> Iterator[Served]:
    made = Served(in_the_field, attempt_now)
    yield made
    made.close()


def terms(authority: Authority, *, elsewhere: bool = False, ended: bool = False) -> ssl.SSLContext:
    """A server's side, with a certificate of this authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if ended:
        real = authority._sign
        past = {"begins": timedelta(days=-9), "ends": timedelta(days=-1)}
        authority._sign = lambda *a, **b: real(*a, **{**b, **past})  # type: ignore[method-assign]
    names = {"names": ELSEWHERE} if elsewhere else {}
    context.load_cert_chain(*authority.identity("server", **names))
    return context


def pinned(served: Served, authority: Authority, *, more: str = "", **server: bool) -> None:
    """Serve over TLS, and let the device believe this authority and no other."""
    (served.field.provisioning / "servers.pem").write_bytes(authority.file.read_bytes())
    served.serve(context=terms(authority, **server), more=PINNED + more)


def is_active(served: Served) -> bool:
    found = served.field.opened()
    return found is not None and found.version == "1.0.0"


def test_pinned_authority_is_believed_by_polls_downloads_and_glances(
    served: Served, ours: Authority
) -> None:
    served.field.release("1.0.0", counter=1)
    pinned(served, ours)
    assert served.attempt_now() == 0
    assert is_active(served)
    asker = Asker(served)
    assert asker() is Seen.NOTHING_NEW
    assert asker() is Seen.NOTHING_NEW
    asker.glance.close()


@pytest.mark.parametrize("case", ["another authority", "another name", "expired", "old protocol"])
def test_n06_server_that_is_not_who_it_says_hears_no_byte_of_http(
    served: Served, ours: Authority, tmp_path: Path, case: str
) -> None:
    """Neither the attempt nor a glance says a word to it; what is trusted stays as it was."""
    served.field.release("1.0.0", counter=1)
    if case == "another authority":
        (served.field.provisioning / "servers.pem").write_bytes(ours.file.read_bytes())
        served.serve(context=terms(Authority(tmp_path / "theirs")), more=PINNED)
    else:
        pinned(served, ours, elsewhere=case == "another name", ended=case == "expired")
    if case == "old protocol":
        context = served.own.context
        assert context is not None
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            context.minimum_version = ssl.TLSVersion.TLSv1
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            context.maximum_version = ssl.TLSVersion.TLSv1
    assert served.attempt_now() == FAILED
    asker = Asker(served)
    assert asker() is Seen.LOOK
    asker.glance.close()
    assert served.own.connections >= 2
    assert served.own.asked == []
    (event, *_) = served.events("transport.failed")
    assert event["data"]["reasons"] == ["transport.unreachable"]


def test_a_server_that_asks_who_comes_is_shown_the_client_certificate(
    served: Served, ours: Authority
) -> None:
    served.field.release("1.0.0", counter=1)
    pinned(served, ours, more="client_certificate = true\n")
    context = served.own.context
    assert context is not None
    context.load_verify_locations(ours.file)
    context.verify_mode = ssl.CERT_REQUIRED
    assert served.attempt_now() == FAILED, "it has none yet"
    assert served.own.asked == []
    ours.renew(served.field.layout, DEVICE)
    assert served.attempt_now() == 0
    assert is_active(served)
    asker = Asker(served)
    assert asker() is Seen.NOTHING_NEW
    asker.glance.close()


def test_the_proxy_of_the_settings_is_the_way_to_all_but_what_is_direct(
    served: Served, ours: Authority
) -> None:
    """CONNECT, and TLS with the server behind it; a gateway in the house is asked straight."""
    served.field.release("1.0.0", counter=1)
    proxy = Proxy()
    at = f'proxy = "http://127.0.0.1:{proxy.port}"\n'
    pinned(served, ours, more=at)
    assert served.attempt_now() == 0
    assert is_active(served)
    assert set(proxy.asked) == {f"127.0.0.1:{served.own.port}"}
    asker = Asker(served)
    before = len(proxy.asked)
    assert asker() is Seen.NOTHING_NEW
    assert len(proxy.asked) == before + 2
    asker.glance.close()
    served.close()
    pinned(served, ours, more=f'{at}direct = ["127.0.0.1"]\n')
    before = len(proxy.asked)
    assert served.attempt_now() == 0
    assert len(proxy.asked) == before
    proxy.close()


def test_certificates_that_cannot_be_read_are_told_by_name(served: Served) -> None:
    served.serve(more='[network]\nca_file = "not-there.pem"\n')
    with pytest.raises(UsageError) as caught:
        served.attempt_now()
    assert "not-there.pem" in caught.value.where


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ('proxy = "socks5://127.0.0.1:9"', "network.proxy"),
        ('proxy = "127.0.0.1:9"', "network.proxy"),
        ('ca_file = "../servers.pem"', "network.ca_file"),
        ("most_bytes_per_second = 150", "network.most_bytes_per_second"),
        ("least_bytes_per_second = 0", "network.least_bytes_per_second"),
        ("total_seconds = 0", "network.total_seconds"),
        ("proxies = 1", "network"),
    ],
)
def test_settings_of_the_network_that_cannot_be(served: Served, line: str, named: str) -> None:
    served.serve(more=f"[network]\n{line}\n")
    with pytest.raises(UsageError) as caught:
        read_settings(served.field.provisioning)
    assert named in caught.value.where or named in caught.value.found


def test_a_bandwidth_of_the_settings_is_kept_to(served: Served) -> None:
    """The real attempt, with as little as the settings allow at once."""
    served.field.release("1.0.0", counter=1)
    served.serve(more="[network]\nmost_bytes_per_second = 2000\n")
    before = time.monotonic()
    assert served.attempt_now() == 0
    wanted = served.field.event("update.downloading")["data"]["detail"]["bytes"]
    assert time.monotonic() - before >= wanted / 2000 - 1
