"""Group M: a broker that is hostile, or carries what others send; the device reports all the same.

Where mosquitto cannot misbehave, a small broker of the tests' own does, over TLS and real sockets.
Each ends with what is left: events, connections, processor time.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from tests.scenarios.dangers.hostile_broker import (
    CONNACK,
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBLISH,
    SUBSCRIBE,
    TAKEN_OVER,
    HostileBroker,
    Talk,
    connack,
    number,
    packet,
    publication,
    text,
)
from tests.unit.agent.field import Field
from tests.unit.agent.secure_broker import Authority, Peer, SecureBroker, secure_broker
from tests.unit.agent.test_broker_over_tls import lines, link, peak_mib, reports_to
from tests.unit.agent.waiting import wait_for

from primum_agent import paho_broker, reporter
from primum_agent.broker import MAX_IN_FLIGHT, Message
from primum_agent.broker_tls import TlsFiles
from primum_agent.clock import FakeClock
from primum_agent.events import Entry, EventKind
from primum_agent.health import topic
from primum_agent.journal import Journal
from primum_agent.layout import Layout
from primum_agent.packet_watch import MAX_PACKET_BYTES, MAX_UNASKED
from primum_agent.paho_broker import PahoBroker
from primum_agent.reporter import Link, Reporter
from primum_agent.sensors import FakeSensors
from primum_agent.settings import read_settings
from primum_device_sim.authorities.documents import DEVICE
from primum_repo_tools.fleet.messages import split_topic
from primum_verifier.core.errors import RefusedError, UsageError
from primum_verifier.shell.broker_address import parse_broker

WATCHED_SECONDS = 5.0
"""For so long a device is watched beside a hostile broker."""

MOST_BUSY = 0.25
"""Processor time of the resident process against time: more would empty a battery."""

DESCRIBED = Path(__file__).resolve().parents[3] / "docs" / "asyncapi"
REQUEST = f"primum/demo/{DEVICE}/request".encode()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def hostile(authority: Authority) -> Iterator[Callable[[Callable[[Talk], Any]], HostileBroker]]:
    """Makes a broker that follows a script."""
    made: list[HostileBroker] = []

    def make(script: Callable[[Talk], Any]) -> HostileBroker:
        made.append(HostileBroker(authority, script))
        return made[-1]

    yield make
    for broker in made:
        broker.close()


@pytest.fixture
def secure(broker_executable: Path, tmp_path: Path, authority: Authority) -> Iterator[SecureBroker]:
    with secure_broker(broker_executable, tmp_path / "secure", authority) as broker:
        yield broker


@pytest.fixture
def field(tmp_path: Path, authority: Authority) -> Field:
    made = Field(tmp_path)
    made.enroll()
    authority.renew(made.layout, DEVICE)
    return made


def processor_seconds(process: int) -> float:
    """What a process used so far, its threads included."""
    words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def busy(process: int) -> float:
    """The share of one processor that it takes for a while."""
    before = processor_seconds(process)
    began = time.monotonic()
    time.sleep(WATCHED_SECONDS)
    return (processor_seconds(process) - before) / (time.monotonic() - began)


class Resident:
    """A reporter over a real connection and a real journal, turned by a thread of the test's own.

    Attributes:
        reporter: what is turned.
        client: its key and certificate.
    """

    def __init__(self, folder: Path, authority: Authority, *uris: str) -> None:
        layout = Layout(folder / "state")
        layout.run.mkdir(parents=True)
        authority.renew(layout, DEVICE)
        self._layout, self.client = layout, layout.client
        self._rung = threading.Event()
        self._over = threading.Event()
        self._orders: list[Callable[[Journal], object]] = []
        self.reporter = Reporter(
            broker=PahoBroker(
                addresses=tuple(parse_broker(uri, where="here") for uri in uris),
                tls=TlsFiles(authority.file, layout.client),
                client_id=DEVICE,
                will=Message(topic("demo", DEVICE, "status"), b"{}", retain=True),
                listens=topic("demo", DEVICE, "request"),
                hears=topic("demo", DEVICE, "receipt"),
                wake=self._rung.set,
            ),
            sensors=FakeSensors(),
            clock=FakeClock(),
            fleet="demo",
            device_id=DEVICE,
            health_seconds=900.0,
        )
        self.whys: list[str] = []
        self._thread = threading.Thread(target=self._turn, daemon=True)
        self._thread.start()

    def _turn(self) -> None:
        journal = Journal.open_or_restart(self._layout, clock=FakeClock(), device_id=DEVICE)
        while not self._over.is_set():
            due = self.reporter.work(journal, now=time.monotonic())
            if self.reporter.link is Link.DOWN and self.whys[-1:] != [self.reporter.why]:
                self.whys.append(self.reporter.why)
            while self._orders:
                self._orders.pop()(journal)
            self._rung.wait(min(0.1, max(0.0, due - time.monotonic())))
            self._rung.clear()
        self.reporter.close(journal)
        journal.close()

    def do(self, act: Callable[[Journal], Any]) -> Any:
        """Let something be done with the journal between two turns."""
        done: list[Any] = []
        self._orders.append(lambda journal: done.append(act(journal)))
        self._rung.set()
        wait_for(lambda: done)
        return done[0]

    def close(self) -> None:
        self._over.set()
        self._thread.join(timeout=10)


@pytest.fixture
def resident(tmp_path: Path, authority: Authority) -> Iterator[Callable[..., Resident]]:
    made: list[Resident] = []

    def make(*uris: str) -> Resident:
        made.append(Resident(tmp_path / f"resident-{len(made)}", authority, *uris))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same waits, shorter."""
    monkeypatch.setattr(paho_broker, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(paho_broker, "KEEP_ALIVE_SECONDS", 1)
    monkeypatch.setattr(paho_broker, "LOOP_SECONDS", 0.2)
    monkeypatch.setattr(reporter, "FIRST_BACK_OFF", 0.2)
    monkeypatch.setattr(reporter, "ANSWER_SECONDS", 1.0)


def asks(talk: Talk, payloads: list[bytes], *, topic: bytes = REQUEST) -> None:
    """Send each as a request with a packet id of its own."""
    for mid, payload in enumerate(payloads, 1):
        talk.send(publication(topic, payload, mid=mid))


# What is asked


def test_m01_m03_m05_m12_m13_what_a_broker_says_moves_nothing(
    field: Field, hostile: Any, authority: Authority
) -> None:
    """Commands, unsigned and with junk for a signature; words of yesterday; what is no JSON."""
    word: list[str] = []

    def script(talk: Talk) -> None:
        talk.welcome()
        word.append(json.loads(talk.until_said("status"))["word"])
        good = {"word": word[-1], "do": "poll"}
        asks(
            talk,
            [
                json.dumps(item).encode()
                for item in (
                    {**good, "do": "rollback", "version": "0.0.1"},
                    {**good, "do": "install", "signature": "A" * 88},
                    {**good, "url": "https://evil.example.org/model.onnx"},
                    {**good, "path": "/etc/passwd"},
                    {**good, "word": word[0][::-1]},
                    {**good, "deviceId": "wearable-002"},
                    {**good, "fleet": "other"},
                    {f"m{count}": 1 for count in range(1000)},
                    [good],
                    {**good, "do": {"poll": True}},
                )
            ]
            + [b"", b"\xff\xfe\x00", b"[" * 5000, b'{"word": NaN, "do": "poll"}', b"null"],
        )
        talk.answer_all()

    broker = hostile(script)
    field.release("1.0.0", counter=1)
    reports_to(field, authority, broker.uri)
    with field.running():
        wait_for(lambda: field.opened() and "update.activated" in field.kinds())
        wait_for(lambda: broker.heard("provenance") == lines(field))
        runs = field.opened()
        assert runs is not None
        assert len(broker.times) == 1, "nonsense ends no connection"
        assert link(field)["link"] == "up"
        assert "request.taken" not in field.kinds()
    assert not {"update.rolling-back", "safe-mode.entered"} & set(field.kinds())


def test_m02_one_request_that_comes_often_is_done_once(resident: Any, hostile: Any) -> None:
    """Another packet id, DUP 0; and the same on a topic of another device, and on none of ours."""
    said = threading.Event()

    def script(talk: Talk) -> None:
        talk.welcome()
        word = json.loads(talk.until_said("status"))["word"]
        payload = json.dumps({"word": word, "do": "status"}).encode()
        others = [
            b"primum/demo/wearable-002/request",
            b"primum/other/wearable-001/request",
            b"$SYS",
        ]
        for other in others:
            talk.send(publication(other, payload, mid=99))
        asks(talk, [payload] * 5)
        said.set()
        talk.answer_all()

    broker = hostile(script)
    device = resident(broker.uri)
    wait_for(said.is_set)
    wait_for(lambda: len(broker.heard("health")) > 1)
    events = device.do(lambda journal: [json.loads(line) for line in journal.events()])
    taken = [item for item in events if item["type"].endswith("request.taken")]
    assert len(taken) == 1
    wait_for(lambda: device.reporter.asked.patience.refused == 4)
    assert len(broker.times) == 1


# More than is answered for


@pytest.mark.parametrize("granted", [None, 3])
def test_no_more_is_on_the_way_than_a_broker_lets(
    resident: Any, hostile: Any, granted: int | None
) -> None:
    """Whatever a device holds ready, its status among it; as answers come the rest follows."""
    most = MAX_IN_FLIGHT if granted is None else granted
    go_on = threading.Event()
    silent: list[int] = []

    def script(talk: Talk) -> None:
        talk.welcome(properties=b"" if granted is None else b"\x21" + struct.pack(">H", granted))
        while len(talk.heard) < most:
            talk.answer(but=frozenset({PUBLISH}))
        talk.answer_all(but=frozenset({PUBLISH}), seconds=0.5)
        silent.append(len(talk.heard))
        # The first number was the subscription's.
        for mid in range(2, most + 2):
            talk.send(packet(PUBACK, struct.pack(">H", mid)))
        go_on.set()
        talk.answer_all()

    broker = hostile(script)
    device = resident(broker.uri)
    failed = Entry(kind=EventKind.ATTEMPT_FAILED)
    device.do(lambda journal: [journal.record(failed) for _ in range(200)])
    wait_for(go_on.is_set)
    assert silent == [most]
    wait_for(lambda: device.do(lambda journal: journal.waiting_count()) == 0)
    expected = device.do(lambda journal: list(journal.events()))
    assert broker.heard("provenance") == expected, "in order, none twice"


# Floods


def flood_of(data: Callable[[int], bytes]) -> Callable[[Talk], None]:
    def script(talk: Talk) -> None:
        talk.welcome()
        talk.until_said("status")
        for place in range(60_000):
            talk.send(data(place))
            if place % 50 == 49:
                time.sleep(0.05)  # a thousand a second

    return script


FLOODS = {
    "requests": lambda place: publication(REQUEST, b"[" * (place % 900), mid=place % 65_535 + 1),
    "elsewhere": lambda place: publication(b"a/b", b"x" * 100, mid=place % 65_535 + 1),
    "quality 0": lambda _: publication(REQUEST, b"x", qos=0),
    "quality 2": lambda place: publication(REQUEST, b"x" * 900, mid=place + 1, qos=2),
    "answers": lambda place: packet(PUBACK, struct.pack(">H", place % 65_535 + 1)),
    "pings": lambda _: packet(PINGRESP, b""),
    "256 MiB": lambda _: b"\x30\xff\xff\xff\x7f" + bytes(2**16),
    "no length": lambda _: b"\x30\xff\xff\xff\xff\xff",
}


@pytest.mark.parametrize("kind", FLOODS)
@pytest.mark.usefixtures("quick")
def test_m04_a_flood_is_left(resident: Any, hostile: Any, kind: str) -> None:
    """Whatever it consists of: nothing of it waits anywhere, and the back-off grows."""
    broker = hostile(flood_of(FLOODS[kind]))
    device = resident(broker.uri)
    wait_for(lambda: len(broker.times) == 4)
    gaps = [later - at for at, later in pairwise(broker.times)]
    assert gaps[2] > gaps[0], "the back-off grows"
    expected = {
        "256 MiB": f"above the bound of {MAX_PACKET_BYTES}",
        "no length": "no number",
        "quality 2": "not for a device",
    }.get(kind, f"{MAX_UNASKED} messages within a minute")
    assert any(expected in told for told in device.whys), device.whys
    kinds, waiting = device.do(
        lambda journal: (
            [json.loads(line)["type"] for line in journal.events()],
            journal.waiting_count(),
        )
    )
    told = ["primum.device.journal.begun", "primum.device.broker.unstable"]
    assert kinds == told[: len(kinds)], "nothing of it is recorded but that it goes on"
    # Who answers for everything answers for the events as well.
    assert waiting == len(kinds) or kind == "answers"


def test_m04_a_thousand_messages_a_second_starve_no_update(
    field: Field, hostile: Any, authority: Authority
) -> None:
    broker = hostile(flood_of(FLOODS["requests"]))
    reports_to(field, authority, broker.uri)
    with field.running() as process:
        wait_for(lambda: broker.times)
        field.release("1.0.0", counter=1)
        share = busy(process.pid)
        assert field.agent("check", "--provisioning", field.provisioning).returncode in {0, 5}
        wait_for(lambda: "update.activated" in field.kinds())
        assert share < MOST_BUSY
        assert peak_mib(process.pid) < 64
    assert len(broker.times) <= 6


# Names


@pytest.mark.parametrize(
    "name",
    ["a/b", "+", "a+", "#", "$SYS", "$share", "", "A", "a b", "a\\u0000", "ä", "x" * 65_535],
    ids=lambda name: name[:8] or "empty",
)
def test_m06_no_name_reaches_the_topic_of_another(field: Field, name: str) -> None:
    """In the settings, and where a receiver takes a message."""
    good = field.settings(3600, 1)
    for old in (f'device_id = "{DEVICE}"', 'fleet = "demo"'):
        assert old in good
        text = good.replace(old, f'{old.partition("=")[0]}= "{name}"')
        field.write("agent.toml", text.encode())
        with pytest.raises(UsageError):
            read_settings(field.provisioning)
    with pytest.raises(RefusedError):
        split_topic(f"primum/demo/{name}/provenance", fleet="demo")
    assert not field.layout.journal.exists()


def test_m06_topics_that_nobody_subscribed_to_are_no_requests(resident: Any, hostile: Any) -> None:
    done = threading.Event()

    def script(talk: Talk) -> None:
        talk.welcome()
        word = json.loads(talk.until_said("status"))["word"]
        payload = json.dumps({"word": word, "do": "poll"}).encode()
        for name in (b"#", b"+", b"$SYS/broker", REQUEST + b"/more", b"\x00"):
            talk.send(publication(name, payload))
        talk.until_said("provenance")
        done.set()
        talk.answer_all()

    broker = hostile(script)
    device = resident(broker.uri)
    wait_for(done.is_set)
    wait_for(lambda: device.do(lambda journal: journal.waiting_count()) == 0)
    assert device.do(lambda journal: journal.last_sequence()) == 1, "only that the journal began"


# Connections that are none


def no_suback(talk: Talk) -> None:
    talk.welcome()
    talk.answer_all(but=frozenset({SUBSCRIBE}))


def no_pingresp(talk: Talk) -> None:
    talk.welcome()
    talk.answer_all(but=frozenset({PINGREQ}))


def no_puback(talk: Talk) -> None:
    talk.welcome()
    talk.answer_all(but=frozenset({PUBLISH}))


def half_open(talk: Talk) -> None:
    """The other side is gone, and nobody says so."""
    talk.welcome()
    talk.answer_all(seconds=0.3)
    threading.Event().wait(60)


def no_connack(talk: Talk) -> None:
    talk.packet()
    threading.Event().wait(60)


MUTE: dict[Callable[[Talk], None], str] = {
    no_suback: "no answer to the subscription",
    no_pingresp: "no answer to a ping",
    no_puback: "never acknowledges",
    half_open: "no answer to a ping",
    no_connack: "no answer within",
}


@pytest.mark.parametrize("script", MUTE, ids=lambda script: script.__name__)
@pytest.mark.usefixtures("quick")
def test_m07_a_connection_that_is_none_is_left(
    resident: Any,
    hostile: Any,
    script: Callable[[Talk], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if script is half_open:
        monkeypatch.setattr(reporter, "ANSWER_SECONDS", 60.0)
    broker = hostile(script)
    device = resident(broker.uri)
    wait_for(lambda: len(broker.times) == 3)
    assert any(MUTE[script] in told for told in device.whys), device.whys
    assert device.reporter.failures >= 2
    waits = [later - at for at, later in pairwise(broker.times)]
    assert min(waits) > 0.3, "not at once"


def each_second(talk: Talk) -> None:
    """Answers everything for a second; says each time the contrary about the session."""
    talk.welcome(present=talk.place % 2 == 1)
    talk.answer_all(seconds=1.0)


def thrown_out(talk: Talk) -> None:
    talk.welcome()
    talk.answer_all(seconds=0.5)
    talk.send(packet(DISCONNECT, bytes([TAKEN_OVER, 0])))


def at_once(talk: Talk) -> None:
    talk.welcome()


@pytest.mark.parametrize(
    "script", [no_suback, no_puback, each_second, thrown_out, at_once], ids=lambda one: one.__name__
)
def test_m07_m08_no_broker_keeps_a_device_busy(
    field: Field, hostile: Any, authority: Authority, script: Callable[[Talk], None]
) -> None:
    """The real resident process, with its real waits."""
    broker = hostile(script)
    reports_to(field, authority, broker.uri)
    with field.running() as process:
        wait_for(lambda: broker.times)
        assert busy(process.pid) < MOST_BUSY
    assert len(broker.times) <= 4


@pytest.mark.usefixtures("quick")
def test_m08_a_broker_that_ends_each_second_gets_all_in_the_end(
    resident: Any, hostile: Any
) -> None:
    """Whether it says that it kept the session or not: the journal knows what is missing."""
    broker = hostile(each_second)
    device = resident(broker.uri)
    for count in range(120):
        device.do(lambda journal: journal.record(Entry(kind=EventKind.ATTEMPT_FAILED)))
        if count % 40 == 39:
            seen = len(broker.times)
            wait_for(lambda seen=seen: len(broker.times) > seen)  # type: ignore[misc] # bound here
    wait_for(lambda: device.do(lambda journal: journal.waiting_count()) == 0)
    told = list(dict.fromkeys(broker.heard("provenance")))
    assert told == device.do(lambda journal: list(journal.events())), "each, in order"
    before = len(broker.times)
    wait_for(lambda: len(broker.times) >= before + 3)
    gaps = [later - at for at, later in pairwise(broker.times[before - 1 :])]
    assert gaps[-1] > gaps[0], "with nothing new the back-off grows"


# Others under the device's name


@pytest.mark.usefixtures("quick")
def test_m09_who_takes_the_connection_over_is_told_of_and_not_chased(
    resident: Any, secure: SecureBroker, authority: Authority
) -> None:
    """A second client with the device's id and certificate, which comes back at once each time.

    mosquitto throws the older one out without a word.
    """
    receiver = Peer(secure, authority, "receiver", "primum/demo/#")
    device = resident(secure.uri)
    wait_for(lambda: receiver.of("provenance"))
    other = _another_of_the_device(device.client, secure, authority)
    kinds = lambda journal: [json.loads(line)["type"] for line in journal.events()]  # noqa: E731 - asked of the thread that holds the journal
    wait_for(lambda: "primum.device.broker.unstable" in device.do(kinds))
    (problem,) = device.do(lambda journal: journal.problems())
    assert (problem.topic, problem.what) == ("broker", "broker.unstable")
    other.disconnect()
    other.loop_stop()
    wait_for(lambda: device.do(lambda journal: journal.waiting_count()) == 0)
    told = device.do(kinds)
    assert told == ["primum.device.journal.begun", "primum.device.broker.unstable"]
    assert len(set(receiver.of("provenance"))) == 2
    receiver.close()


@pytest.mark.usefixtures("quick")
def test_m09_where_the_broker_names_the_other_the_device_is_patient(
    resident: Any, hostile: Any
) -> None:
    """Even while each connection gets something acknowledged; told once."""
    broker = hostile(thrown_out)
    device = resident(broker.uri)
    for count in range(1, 6):
        wait_for(lambda count=count: len(broker.times) >= count)  # type: ignore[misc] # bound here
        device.do(lambda journal: journal.record(Entry(kind=EventKind.ATTEMPT_FAILED)))
    gaps = [later - at for at, later in pairwise(broker.times)]
    assert gaps[3] > gaps[0] + 0.5, "what is acknowledged does not shorten the back-off"
    events = device.do(lambda journal: [json.loads(line) for line in journal.events()])
    (told,) = [item for item in events if item["type"].endswith("broker.unstable")]
    assert told["data"]["reasons"] == ["broker.taken-over"]


def _another_of_the_device(client: Path, secure: SecureBroker, authority: Authority) -> paho.Client:
    other = paho.Client(CallbackAPIVersion.VERSION2, client_id=DEVICE, protocol=paho.MQTTv5)
    other.tls_set_context(_terms(authority, client))
    other.reconnect_delay_set(min_delay=1, max_delay=1)
    other.connect("127.0.0.1", secure.port)
    other.loop_start()
    return other


def test_m10_nobody_leaves_a_will_or_a_status_in_the_name_of_another(
    field: Field, secure: SecureBroker, authority: Authority
) -> None:
    """The shipped access list; and what is forged in other ways is signed by nobody."""
    receiver = Peer(secure, authority, "receiver", "primum/demo/#")
    reports_to(field, authority, secure.uri)
    with field.running():
        wait_for(lambda: receiver.of("status"))
        for end in ("status", "provenance", "head", "health", "monitor"):
            _dies_with_a_will(secure, authority, f"primum/demo/{DEVICE}/{end}")
        neighbour = Peer(secure, authority, "wearable-002")
        neighbour.says("primum/demo/wearable-002/status", b"the last word")
        wait_for(lambda: receiver.of("status")[-1:] == [b"the last word"])
        neighbour.close()
    forged = [told for _, told in receiver.messages if told.startswith(b"forged")]
    assert forged == []
    receiver.close()


def _dies_with_a_will(secure: SecureBroker, authority: Authority, name: str) -> None:
    """Connect as another device, with a will in the name of ours, and fall silent."""
    context = ssl.create_default_context(cafile=str(authority.file))
    context.load_cert_chain(*authority.identity("wearable-002"))
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id="dies",
        protocol=paho.MQTTv5,
        reconnect_on_failure=False,
    )
    client.tls_set_context(context)
    client.will_set(name, b"forged", qos=1, retain=True)
    client.connect("127.0.0.1", secure.port)
    client.loop(timeout=1.0)
    end = client.socket()
    assert isinstance(end, ssl.SSLSocket)
    end.shutdown(socket.SHUT_RDWR)


def test_m11_what_lies_retained_is_no_truth_to_the_device(
    field: Field, secure: SecureBroker, authority: Authority
) -> None:
    """Junk on its own status, and an old request: overwritten, and not heard."""
    loose = paho.Client(CallbackAPIVersion.VERSION2, client_id="loose", protocol=paho.MQTTv5)
    loose.tls_set_context(_terms(authority, field.layout.client))
    loose.connect("127.0.0.1", secure.port)
    loose.loop_start()
    junk = json.dumps({"presence": "online", "mode": "safe", "release": "f" * 64}).encode()
    name = f"primum/demo/{DEVICE}/status"
    loose.publish(name, junk, qos=1, retain=True).wait_for_publish(timeout=10)
    loose.disconnect()
    loose.loop_stop()
    receiver = Peer(secure, authority, "receiver", "primum/demo/#")
    wait_for(lambda: receiver.of("status") == [junk])
    receiver.client.publish(
        REQUEST.decode(), b'{"do": "poll", "word": ""}', qos=1, retain=True
    ).wait_for_publish(timeout=10)
    field.release("1.0.0", counter=1)
    reports_to(field, authority, secure.uri)
    with field.running():
        wait_for(lambda: "update.activated" in field.kinds())
        opened = field.opened()
        assert opened is not None
        wait_for(lambda: json.loads(receiver.of("status")[-1]).get("release") == _release(field))
        late = Peer(secure, authority, "receiver", name)
        wait_for(lambda: late.messages)
        assert json.loads(late.messages[0][1])["release"] == _release(field)
        late.close()
        assert "request.taken" not in field.kinds()
    receiver.close()


def _release(field: Field) -> str:
    journal = field.journal()
    used = journal.state().in_use
    journal.close()
    assert used is not None
    return used.release


def _terms(authority: Authority, client: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.file))
    context.load_cert_chain(client)
    return context


# Properties

USER_PROPERTY = b"\x26" + text(b"k" * 50) + text(b"v" * 50)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(
            publication(REQUEST, b"x", properties=b"\x23\xff\xff"), id="topic alias out of range"
        ),
        pytest.param(publication(b"", b"x", properties=b"\x23\x00\x01"), id="alias of no topic"),
        pytest.param(
            publication(REQUEST, b"x", properties=USER_PROPERTY * 150), id="user properties"
        ),
        pytest.param(
            publication(REQUEST, b"x", properties=USER_PROPERTY * 5000), id="huge user properties"
        ),
        pytest.param(publication(REQUEST, b"x", properties=b"\x7f\x00"), id="unknown property"),
        pytest.param(publication(REQUEST, b"x", properties=b"\x26\xff\xff"), id="property cut off"),
        pytest.param(packet(PUBLISH, b"\xff\xff", 2), id="topic cut off"),
        pytest.param(packet(PUBACK, b"\x00"), id="answer cut off"),
        pytest.param(packet(PUBACK, b"\x00\x01\xfe\x00"), id="unknown reason"),
        pytest.param(packet(CONNACK, b"\x00\x00\x00"), id="a second welcome"),
        pytest.param(publication(b"\xff\xfe", b"x"), id="topic that is no text"),
        pytest.param(packet(15, b"\x18\x00"), id="AUTH"),
        pytest.param(packet(1, b"\x00\x04MQTT\x05\x00\x00\x00"), id="CONNECT"),
        pytest.param(b"\x00\x00", id="no packet"),
    ],
)
@pytest.mark.usefixtures("quick")
def test_m14_odd_packets_are_ignored_or_end_the_connection(
    resident: Any, hostile: Any, data: bytes
) -> None:
    sent = threading.Event()

    def script(talk: Talk) -> None:
        talk.welcome()
        talk.until_said("status")
        if talk.place == 0:
            # The device may leave at the first bytes of a packet that is too large.
            sent.set()
            talk.send(data)
        talk.answer_all()

    broker = hostile(script)
    device = resident(broker.uri)
    wait_for(sent.is_set)
    device.do(lambda journal: journal.record(Entry(kind=EventKind.ATTEMPT_FAILED)))
    wait_for(lambda: len(set(broker.heard("provenance"))) == 2)
    wait_for(lambda: device.do(lambda journal: journal.waiting_count()) == 0)
    kinds = device.do(lambda journal: [json.loads(line)["type"] for line in journal.events()])
    assert not [kind for kind in kinds if kind.endswith("request.taken")]


@pytest.mark.parametrize("told", ["at the welcome", "later"])
@pytest.mark.usefixtures("quick")
def test_m14_no_other_server_is_gone_to(resident: Any, hostile: Any, told: str) -> None:
    """Use another server: the settings say which there are, and nobody else."""
    other = hostile(no_suback)
    place = b"\x1c" + text(f"127.0.0.1:{other.port}".encode())
    moved = number(len(place)) + place

    def script(talk: Talk) -> None:
        if told == "at the welcome":
            talk.packet()
            talk.send(connack(code=0x9D, properties=place))
        else:
            talk.welcome(properties=place)
            talk.until_said("status")
            talk.send(packet(DISCONNECT, b"\x9d" + moved))
            # One that hangs up on what the device still sends takes its own last word back.
            talk.answer_all()

    broker = hostile(script)
    device = resident(broker.uri)
    wait_for(lambda: len(broker.times) == 3)
    assert other.times == []
    assert any("Server moved" in said for said in device.whys), device.whys


def test_m08_the_terms_of_a_session_are_those_that_are_described(
    resident: Any, hostile: Any
) -> None:
    """It is kept for a day, begins where it was, and a will of quality 1 is retained."""
    asked: list[bytes] = []

    def script(talk: Talk) -> None:
        asked.append(talk.packet()[2])
        talk.send(connack(present=True))
        talk.answer_all()

    broker = hostile(script)
    resident(broker.uri)
    wait_for(lambda: broker.heard("provenance"))
    head, rest = asked[0][:10], asked[0][10:]
    assert head[:7] == b"\x00\x04MQTT\x05"
    will, quality, retained = 0x04, 0x08, 0x20
    assert head[7] == will | quality | retained, "and no clean start"
    assert struct.unpack(">H", head[8:10]) == (60,)
    properties = rest[1 : 1 + rest[0]]
    described = json.loads((DESCRIBED / "asyncapi.json").read_text())["servers"]["broker"]
    terms = described["bindings"]["mqtt"]
    assert b"\x11" + struct.pack(">I", terms["sessionExpiryInterval"]) in properties
    assert b"\x27" + struct.pack(">I", terms["maximumPacketSize"]) in properties
