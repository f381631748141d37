"""What a broker may ask: sooner what the device does anyway; nothing twice, nothing kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.agent.secure_broker import Authority, Peer, SecureBroker, secure_broker

from primum_agent.broker import Arrived, FakeBroker, Message
from primum_agent.broker_requests import (
    BETWEEN,
    MAX_REQUEST_BYTES,
    MOST_A_DAY,
    Asked,
    NoRequestError,
    Patience,
    Request,
    Wish,
    read_request,
)
from primum_agent.clock import FakeClock
from primum_agent.events import Entry, EventKind
from primum_agent.journal import Journal
from primum_agent.layout import Layout
from primum_agent.reporter import Reporter
from primum_agent.sensors import FakeSensors
from primum_device_sim.authorities.documents import DEVICE
from primum_verifier.core.errors import FailedError
from primum_verifier.record.chain import check_history

Eventually = Callable[..., Any]
WORD = "w1"
GOOD = {"word": WORD, "do": "poll"}


def ask(**members: object) -> bytes:
    return json.dumps({**GOOD, **members}).encode()


@pytest.mark.parametrize("wish", list(Wish))
def test_three_things_may_be_asked(wish: Wish) -> None:
    assert read_request(ask(do=str(wish)), word=WORD) == Request(wish)


def test_the_journal_may_be_asked_for_from_one_number_to_another() -> None:
    for members, expected in (
        ({"from": 7}, Request(Wish.JOURNAL, 7)),
        ({"from": 7, "to": 9}, Request(Wish.JOURNAL, 7, 9)),
        ({"from": 7, "to": 7}, Request(Wish.JOURNAL, 7, 7)),
        ({"to": 9}, Request(Wish.JOURNAL, 1, 9)),
        ({"from": None, "to": None}, Request(Wish.JOURNAL)),
    ):
        assert read_request(ask(do="journal", **members), word=WORD) == expected


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(ask(word="w0"), id="the word of yesterday"),
        pytest.param(ask(word=["w1"]), id="no word"),
        pytest.param(b'{"do": "poll"}', id="without a word"),
        pytest.param(ask(do="rollback"), id="what needs authority"),
        pytest.param(ask(do="install"), id="what needs authority, too"),
        pytest.param(ask(do=["poll"]), id="a list"),
        pytest.param(ask(do=None), id="nothing"),
        pytest.param(ask(url="https://evil.example.org/"), id="an address"),
        pytest.param(ask(path="/etc/passwd"), id="a path"),
        pytest.param(ask(version="0.9.0"), id="a version"),
        pytest.param(ask(**{"from": 1}), id="a number where none belongs"),
        pytest.param(ask(to=1), id="an end where none belongs"),
        pytest.param(ask(do="journal", **{"from": 7, "to": 6}), id="an end before the beginning"),
        pytest.param(ask(do="journal", to="6"), id="an end in letters"),
        pytest.param(ask().replace(b"{", b'{"do": "status", '), id="two wishes"),
        pytest.param(ask(do="journal", **{"from": 0}), id="zero"),
        pytest.param(ask(do="journal", **{"from": True}), id="a truth"),
        pytest.param(ask(do="journal", **{"from": 1.0}), id="a fraction"),
        pytest.param(ask(do="journal", **{"from": 2**53 + 1}), id="beyond what is a number"),
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\xfe", id="no text"),
        pytest.param(b"[" * 1000, id="deep"),
        pytest.param(b'{"word": NaN}', id="no number"),
        pytest.param(b"[]", id="no object"),
        pytest.param(ask(do="poll") + b" " * MAX_REQUEST_BYTES, id="long"),
        pytest.param(ask(**{f"m{number}": 1 for number in range(80)}), id="many members"),
    ],
)
def test_nothing_else_is_a_request(payload: bytes) -> None:
    """M01, M03, M05, M12, M13: signed or not, no word of it is looked at."""
    with pytest.raises(NoRequestError):
        read_request(payload, word=WORD)


@given(payload=st.binary(max_size=1100) | st.text(max_size=300).map(str.encode))
def test_any_bytes_are_a_request_or_refused(payload: bytes) -> None:
    with pytest.raises(NoRequestError):
        read_request(payload, word="a word that no payload holds")


@given(
    times=st.lists(
        st.tuples(st.sampled_from(Wish), st.floats(0.0, 4 * 3600.0)), min_size=1, max_size=300
    )
)
def test_however_often_it_is_asked_the_device_is_busy_within_bounds(
    times: list[tuple[Wish, float]],
) -> None:
    patience, now = Patience(), 0.0
    taken: list[tuple[Wish, float]] = []
    for wish, pause in times:
        now += pause
        if patience.takes(wish, now=now):
            taken.append((wish, now))
    for wish in Wish:
        own = [at for kind, at in taken if kind is wish]
        assert all(later - at >= BETWEEN[wish] for at, later in pairwise(own))
    for _, at in taken:
        assert sum(at <= other < at + 86_400 for _, other in taken) <= MOST_A_DAY


def test_a_broker_that_asks_all_day_fills_no_journal() -> None:
    patience = Patience()
    taken = [patience.takes(list(Wish)[turn % 2], now=turn * 61.0) for turn in range(200)]
    assert sum(taken) == MOST_A_DAY
    assert patience.takes(Wish.POLL, now=86_401.0)


# In the reporter


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture
def reporter(broker: FakeBroker, clock: FakeClock) -> Reporter:
    words = (f"w{number}" for number in range(1, 1000))
    return Reporter(
        broker=broker,
        sensors=FakeSensors(),
        clock=clock,
        fleet="demo",
        device_id="wearable-001",
        health_seconds=900.0,
        draw=lambda: 0.5,
        asked=Asked(make_word=lambda: next(words)),
    )


def of(broker: FakeBroker, end: str) -> list[Message]:
    return [item for item in broker.messages if item.topic.rpartition("/")[2] == end]


def word(broker: FakeBroker) -> str:
    said = json.loads(of(broker, "status")[-1].payload)
    return str(said["word"])


def arrive(
    reporter: Reporter, broker: FakeBroker, journal: Journal | None, *, now: float, **members: Any
) -> None:
    broker.pending.append(Arrived(ask(**members)))
    for _ in range(4):
        reporter.work(journal, now=now)


def asked(journal: Journal) -> list[Any]:
    events = [json.loads(line) for line in journal.events()]
    return [event["data"]["detail"] for event in events if event["type"].endswith("request.taken")]


def counted(broker: FakeBroker) -> Any:
    return json.loads(of(broker, "health")[-1].payload)["data"]["requests"]


def test_a_poll_is_taken_once_journaled_and_sent_again_it_is_nothing(
    reporter: Reporter, broker: FakeBroker, journal: Journal
) -> None:
    """M02: the same message again, with whatever packet id."""
    polls: list[int] = []
    reporter.asked.poll_now = lambda: polls.append(1)
    reporter.work(journal, now=0.0)
    first = word(broker)
    for _ in range(3):
        arrive(reporter, broker, journal, now=1.0, word=first)
    assert (len(polls), asked(journal)) == (1, [{"do": "poll"}])
    assert word(broker) != first, "the next one asks with another"
    arrive(reporter, broker, journal, now=70.0, word=word(broker), do="status")
    assert counted(broker) == {"taken": 2, "refused": 2}
    assert len(polls) == 1


def test_too_soon_is_refused_and_leaves_no_event(
    reporter: Reporter, broker: FakeBroker, journal: Journal
) -> None:
    polls: list[int] = []
    reporter.asked.poll_now = lambda: polls.append(1)
    reporter.work(journal, now=0.0)
    for now in (1.0, 2.0, 60.9, 61.0):
        arrive(reporter, broker, journal, now=now, word=word(broker))
    assert len(polls) == len(asked(journal)) == 2


def test_health_is_reported_when_it_is_asked_for(
    reporter: Reporter, broker: FakeBroker, journal: Journal
) -> None:
    reporter.work(journal, now=0.0)
    arrive(reporter, broker, journal, now=5.0, word=word(broker), do="status")
    assert len(of(broker, "health")) == 2


def test_a_word_dies_with_its_connection(
    reporter: Reporter, broker: FakeBroker, journal: Journal
) -> None:
    """M03: a broker that keeps a request for later has kept nothing."""
    reporter.work(journal, now=0.0)
    old = word(broker)
    broker.drop()
    reporter.work(journal, now=1.0)
    for _ in range(3):
        reporter.work(journal, now=100.0)
    assert word(broker) != old
    arrive(reporter, broker, journal, now=101.0, word=old)
    assert asked(journal) == []


def test_without_a_journal_nothing_is_taken(
    reporter: Reporter, broker: FakeBroker, journal: Journal
) -> None:
    """What could not be recorded is not done."""
    polls: list[int] = []
    reporter.asked.poll_now = lambda: polls.append(1)
    reporter.work(journal, now=0.0)
    arrive(reporter, broker, None, now=1.0, word=word(broker))
    assert polls == []


def test_what_cannot_be_recorded_is_not_done(
    layout: Layout, journal: Journal, clock: FakeClock
) -> None:
    """The journal as one who may only read it: every record of it fails."""
    reader = Journal.open_to_read(layout, clock=clock, device_id=DEVICE)
    asked_of = Asked(word=WORD)
    with pytest.raises(FailedError):
        asked_of.hear(reader, ask(do="journal"), now=0.0)
    reader.close()
    assert (asked_of.again, asked_of.word, asked_of.patience.taken) == (None, WORD, 0)
    assert asked(journal) == []


def test_what_was_taken_is_sent_again_whole_and_stays_taken(
    reporter: Reporter, broker: FakeBroker, journal: Journal
) -> None:
    for _ in range(70):
        journal.record(Entry(kind=EventKind.ATTEMPT_FAILED))
    for _ in range(20):
        reporter.work(journal, now=0.0)
    assert journal.waiting_count() == 0
    before = list(journal.events())
    broker.messages.clear()
    reporter.asked.word = WORD
    arrive(reporter, broker, journal, now=1.0, do="journal", **{"from": 11})
    assert journal.waiting_count() == 0, "nothing counts as unsent for it"
    for _ in range(20):
        reporter.work(journal, now=1.0)
    sent = [item.payload for item in of(broker, "provenance")]
    (request,) = set(journal.events()) - set(before)
    # That it was asked is news and goes first; it is part of what was asked for as well.
    assert sent[0] == request
    assert [line for line in sent if line != request] == before[10:]
    count = len(broker.messages)
    for _ in range(20):
        reporter.work(journal, now=2.0)
    assert len(broker.messages) == count, "once, not for ever"


def test_of_what_is_asked_for_with_an_end_no_more_is_sent(
    reporter: Reporter, broker: FakeBroker, journal: Journal
) -> None:
    for _ in range(70):
        journal.record(Entry(kind=EventKind.ATTEMPT_FAILED))
    for number in (20, 30, 40):
        journal.add_head(sequence=number, line=f"head {number}".encode(), key="")
    for _ in range(20):
        reporter.work(journal, now=0.0)
    before = list(journal.events())
    broker.messages.clear()
    reporter.asked.word = WORD
    arrive(reporter, broker, journal, now=1.0, do="journal", **{"from": 11, "to": 30})
    for _ in range(20):
        reporter.work(journal, now=1.0)
    (request,) = set(journal.events()) - set(before)
    sent = [item.payload for item in of(broker, "provenance")]
    assert [line for line in sent if line != request] == before[10:30]
    assert [item.payload for item in of(broker, "head")] == [b"head 20", b"head 30"]
    assert asked(journal) == [{"do": "journal", "from": 11, "to": 30}]
    assert reporter.asked.again is None


# The whole device


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def secure(broker_executable: Path, tmp_path: Path, authority: Authority) -> Iterator[SecureBroker]:
    with secure_broker(broker_executable, tmp_path / "secure", authority) as broker:
        yield broker


def test_a_receiver_wakes_a_device_and_fills_its_own_gaps(
    in_the_field: Any,
    secure: SecureBroker,
    authority: Authority,
    eventually: Eventually,
) -> None:
    field = in_the_field
    authority.renew(field.layout, DEVICE)
    text = field.settings(3600, 1).replace("mqtt://127.0.0.1:1", secure.uri)
    field.write("agent.toml", text.replace("[broker]", '[broker]\nca_file = "ca.pem"').encode())
    field.write("ca.pem", authority.file.read_bytes())
    topic = f"primum/demo/{DEVICE}/request"
    with field.running():
        early = Peer(secure, authority, "receiver", "primum/demo/+/status")
        eventually(lambda: word_of(early))
        field.release("1.0.0", counter=1)
        early.says(topic, ask(word=word_of(early)))
        eventually(lambda: "update.activated" in field.kinds())
        early.close()
        late = Peer(secure, authority, "receiver", "primum/demo/#")
        eventually(lambda: word_of(late))
        late.says(topic, ask(word=word_of(late), do="journal"))
        eventually(lambda: field.kinds().count("request.taken") == 2)
        eventually(lambda: whole(late, field))
        late.close()


def word_of(peer: Peer) -> str:
    said = [json.loads(line) for line in peer.of("status")]
    return str(said[-1].get("word", "")) if said else ""


def whole(peer: Peer, field: Any) -> bool:
    """Whether what somebody who came late holds is the history from its first event on."""
    told = dict.fromkeys(peer.of("provenance"))
    ordered = sorted(told, key=lambda line: str(json.loads(line)["sequence"]))
    if not ordered or not str(json.loads(ordered[0])["sequence"]).endswith("01"):
        return False
    report = check_history([*ordered, *peer.of("head")], device_key=field.device_key)
    return not report.gaps
