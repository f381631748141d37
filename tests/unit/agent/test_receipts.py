"""Receipts on the device: taken by a key that the trust map names, and by nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner
from tests.unit.agent.test_reporting_for_real import Subscriber

from primum_agent.checkpointing import prune
from primum_agent.clock import ClockQuality, FakeClock
from primum_agent.desk import ask
from primum_agent.events import Entry, EventKind
from primum_agent.exporting import export
from primum_agent.finding import Finding
from primum_agent.journal import Journal
from primum_agent.journal_bounds import JournalBounds
from primum_agent.layout import Layout
from primum_agent.receipt_checks import receipts_found
from primum_agent.receipts import (
    MAX_RECEIPT_BYTES,
    MOST_WAITING,
    TOPIC,
    Arriving,
    could_be_receipt,
    kept_receipts,
    newest_receipt,
)
from primum_agent.signer import make_device_key, open_device_key
from primum_agent.take_receipts import take
from primum_device_sim.broker import BrokerHandle
from primum_repo_tools.fleet.database import open_database
from primum_repo_tools.fleet.ingesting import Ingester
from primum_repo_tools.fleet.receipts import Receiver
from primum_repo_tools.fleet.store import FleetStore
from primum_repo_tools.fleet.subscriber import Access
from primum_repo_tools.fleet.subscriber import Subscriber as Receiving
from primum_repo_tools.keys import Signer
from primum_repo_tools.moments import now_utc
from primum_verifier.core.document import canonical_json
from primum_verifier.core.envelope import public_key_of
from primum_verifier.core.errors import EXIT_DONE, EXIT_REFUSED
from primum_verifier.record.receipt import RECEIPT_PAYLOAD_TYPE
from primum_verifier.shell import cli
from primum_verifier.shell.broker_address import parse_broker

DEVICE = "wearable-001"
PRIVATE, THIEF = Ed25519PrivateKey.generate(), CryptoSigner.generate_ed25519()
KEY = public_key_of(CryptoSigner(PRIVATE).public_key)
RECEIVER = CryptoSigner(PRIVATE, KEY.for_verifying())
Eventually = Callable[..., Any]


def receipt(sequence: Any, digest: str, *, by: CryptoSigner = RECEIVER, **more: Any) -> bytes:
    content = {
        "type": "urn:primum:chain-receipt:v0.1",
        "role": "receiver",
        "fleet": "demo",
        "deviceId": DEVICE,
        "firstSequence": 1,
        "sequence": sequence,
        "eventHash": digest,
        "issuedAt": "2026-06-01T12:00:00Z",
    }
    made = Envelope(canonical_json(content | more), RECEIPT_PAYLOAD_TYPE, {})
    signature = by.sign(made.pae())
    signature.keyid = public_key_of(by.public_key).key_id
    made.signatures[signature.keyid] = signature
    return canonical_json(made.to_dict()).strip()


def grow(journal: Journal, count: int) -> None:
    for _ in range(count):
        journal.record(Entry(kind=EventKind.ATTEMPT_FAILED))


def digest(journal: Journal, sequence: int) -> str:
    found = journal.digest_of(sequence)
    assert found is not None
    return found


def took(journal: Journal, *lines: bytes) -> list[tuple[int, bool]]:
    found = take(journal, lines, receivers=[KEY], fleet="demo", device_id=DEVICE)
    return [(item.sequence, item.agrees) for item in found]


def troubles(journal: Journal) -> list[str]:
    return [item.what for item in journal.problems() if item.topic == TOPIC]


def test_a_receipt_of_a_known_receiver_is_kept_with_its_exact_bytes(journal: Journal) -> None:
    grow(journal, 5)
    line = receipt(4, digest(journal, 4))
    assert took(journal, line) == [(4, True)]
    kept = newest_receipt(journal)
    assert kept is not None
    assert (kept.sequence, kept.key_id, kept.line.encode()) == (4, KEY.key_id, line)
    assert troubles(journal) == []
    assert journal.last_sequence() == 6, "taking one is no event, or it would never end"


def test_what_no_known_receiver_signed_for_this_device_is_left(journal: Journal) -> None:
    """Attack: whoever holds the broker says that all has arrived, so that it is pruned."""
    grow(journal, 5)
    right = digest(journal, 4)
    lies = [
        receipt(4, right, by=THIEF),
        receipt(4, right, deviceId="wearable-002"),
        receipt(4, right, fleet="another"),
        receipt(4, right, role="device"),
        receipt(4, right).replace(b'"sig":"', b'"sig":"AA'),
        b"{}",
        b"\xff\x00",
        b"",
    ]
    assert took(journal, *lies) == []
    assert take(journal, [receipt(4, right)], receivers=[], fleet="demo", device_id=DEVICE) == ()
    assert (kept_receipts(journal), troubles(journal)) == ([], [])


def test_a_receipt_over_another_event_is_evidence_of_a_clone(journal: Journal) -> None:
    """Attack: a second device with this key reports; the receiver holds its events."""
    grow(journal, 5)
    assert took(journal, receipt(4, "b" * 64)) == [(4, False)]
    assert troubles(journal) == ["trust.equivocation: event 4"]
    assert newest_receipt(journal) is None
    assert [item.agrees for item in kept_receipts(journal)] == [False]


def test_a_receipt_over_what_is_not_here_shows_that_an_older_journal_was_put_back(
    journal: Journal,
) -> None:
    grow(journal, 5)
    assert took(journal, receipt(60, "b" * 64)) == [(60, False)]
    assert troubles(journal) == ["trust.equivocation: event 60"]


def test_what_is_kept_is_bounded_and_the_newest_stay(journal: Journal) -> None:
    grow(journal, 90)
    for number in range(1, 90):
        day = f"2026-06-{1 + number // 3:02}T12:00:00Z"
        took(journal, receipt(number, digest(journal, number), issuedAt=day))
        took(journal, receipt(100 + number, "b" * 64))
    kept = kept_receipts(journal)
    agreeing = [item.sequence for item in kept if item.agrees]
    assert len(agreeing) <= 32
    assert agreeing[-8:] == list(range(82, 90))
    assert len({item.issued_at for item in kept if item.agrees}) > 20, "one of each day before"
    assert [item.sequence for item in kept if not item.agrees] == [189]
    assert len(journal.counter("receipts", "")) < 64 * 1024


def test_of_what_was_pruned_only_the_last_can_be_compared(layout: Layout) -> None:
    make_device_key(layout)
    journal, _ = pruned(layout, wait_for_receipt=False)
    checkpoint = journal.checkpoint()
    assert checkpoint is not None
    number = checkpoint.sequence
    assert took(journal, receipt(number - 1, "b" * 64)) == []
    assert took(journal, receipt(number, checkpoint.hash)) == [(number, True)]
    journal.close()


def pruned(layout: Layout, *, wait_for_receipt: bool, received: int = 0) -> tuple[Journal, int]:
    """A journal that is old enough to be pruned; how many events were."""
    bounds = JournalBounds(keep_days=10, keep_events=2, wait_for_receipt=wait_for_receipt)
    journal = Journal.open_or_restart(layout, clock=FakeClock(), device_id=DEVICE, bounds=bounds)
    grow(journal, 30)
    journal.acknowledge(events=[row.sequence for row in journal.waiting_events(99)], heads=[])
    if received:
        took(journal, receipt(received, digest(journal, received)))
    journal.close()
    clock = FakeClock(moment=FakeClock().moment + timedelta(days=20))
    journal = Journal.open(layout, clock=clock, device_id=DEVICE, bounds=bounds)
    count = prune(journal, signer=open_device_key(layout), device_id=DEVICE, clock=clock)
    return journal, count


@pytest.mark.parametrize(("received", "expected"), [(0, 0), (12, 12), (31, 29)])
def test_where_it_is_asked_for_only_what_a_receiver_holds_is_pruned(
    layout: Layout, received: int, expected: int
) -> None:
    """Attack: a broker acknowledges everything and delivers nothing."""
    make_device_key(layout)
    journal, count = pruned(layout, wait_for_receipt=True, received=received)
    journal.close()
    assert count == expected


# What doctor tells


def told(journal: Journal, *, receivers: int = 1, needed: bool = False, **later: float) -> Finding:
    """What is found out about receipts so much later."""
    clock = FakeClock(moment=FakeClock().moment + timedelta(**later))
    return receipts_found(journal, receivers=receivers, needed=needed, clock=clock)


def acknowledge(journal: Journal, upto: int) -> None:
    journal.acknowledge(events=list(range(1, upto + 1)), heads=[])


def test_a_broker_that_takes_everything_and_delivers_nothing_is_found_by_a_person(
    journal: Journal,
) -> None:
    """Attack: acknowledgements come, receipts never do."""
    grow(journal, 5)
    assert told(journal, days=9).well, "nothing was acknowledged: the broker is told elsewhere"
    acknowledge(journal, 6)
    assert told(journal, hours=20).well, "a receiver may be down for a night"
    found = told(journal, days=2, hours=1)
    assert not found.well
    assert "event 1 was acknowledged and is not known to have arrived" in found.found
    assert "recorded 2.0 days ago" in found.found
    assert "fleet ingest" in found.remedy
    took(journal, receipt(4, digest(journal, 4)))
    found = told(journal, days=2)
    assert not found.well
    told_of_four = "to event 4 of 6, countersigned 2026-06-01T12:00:00Z (2.0 days ago); event 5 was"
    assert found.found.startswith(told_of_four)
    took(journal, receipt(6, digest(journal, 6)))
    found = told(journal, days=300)
    assert (found.well, found.note) == (True, False)
    assert found.found.endswith("countersigned 2026-06-01T12:00:00Z (300.0 days ago)")


def test_a_device_that_knows_no_receiver_says_who_could_tell(journal: Journal) -> None:
    grow(journal, 5)
    found = told(journal, receivers=0)
    assert (found.well, found.note) == (True, True)
    assert "--receiver" in found.remedy
    found = told(journal, receivers=0, needed=True)
    assert not found.well, "nothing would ever be pruned"
    assert "before they are pruned" in found.found


def test_a_clock_that_was_never_set_makes_no_receipt_late(layout: Layout) -> None:
    grade = FakeClock(moment=datetime(1970, 1, 1, tzinfo=UTC), grade=ClockQuality.UNSET)
    journal = Journal.open_or_restart(layout, clock=grade, device_id=DEVICE)
    grow(journal, 2)
    acknowledge(journal, 3)
    assert told(journal).well, "recorded in 1970"
    found = receipts_found(journal, receivers=1, needed=False, clock=grade)
    assert found.well, "it is 1970"
    took(journal, receipt(2, digest(journal, 2)))
    found = receipts_found(journal, receivers=1, needed=False, clock=grade)
    assert "ago" not in found.found
    assert "ago" in told(journal, minutes=30).found
    assert "ago" not in told(journal, minutes=-30).found.partition(";")[0], "a receipt to come"
    journal.close()


# On the resident side

WORD = {"fleet": "demo", "device_id": DEVICE, "newest": 3}


@given(payload=st.binary(max_size=300))
def test_any_bytes_could_be_a_receipt_or_not(payload: bytes) -> None:
    assert could_be_receipt(payload, **WORD) is False  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("payload", "could_be"),
    [
        (receipt(4, "a" * 64), True),
        (receipt(3, "a" * 64), False),
        (receipt(2**60, "a" * 64), False),
        (receipt(4, "a" * 64, fleet="another"), False),
        (receipt(4, "a" * 64, deviceId="wearable-002"), False),
        (receipt(4, "a" * 64, more="x" * MAX_RECEIPT_BYTES), False),
        (receipt(4, "a" * 64) + b"\n{}", False),
        (receipt(True, "a" * 64), False),
        (receipt("4", "a" * 64), False),
        (b"[" * 4000, False),
        (json.dumps({"payload": 7}).encode(), False),
    ],
)
def test_what_says_nothing_new_of_this_device_starts_no_child(
    payload: bytes, *, could_be: bool
) -> None:
    assert could_be_receipt(payload, **WORD) is could_be  # type: ignore[arg-type]


def test_a_number_that_is_none_is_no_number_of_an_event() -> None:
    line = receipt(True, "a" * 64)
    assert not could_be_receipt(line, fleet="demo", device_id=DEVICE, newest=0)


def test_a_flood_costs_a_few_lines_of_memory() -> None:
    arriving = Arriving()
    for number in range(500):
        arriving.hear(receipt(4 + number, "a" * 64), fleet="demo", device_id=DEVICE, newest=3)
    arriving.hear(b"x" * 1_000_000, fleet="demo", device_id=DEVICE, newest=3)
    assert (len(arriving.lines), arriving.dropped) == (MOST_WAITING, 501 - MOST_WAITING)
    assert arriving.hand_over()
    assert arriving.lines == []
    # The same once more is one line.
    for _ in range(2):
        arriving.hear(receipt(4, "a" * 64), fleet="demo", device_id=DEVICE, newest=3)
    assert len(arriving.lines) == 1


# Over a real broker


@pytest.fixture
def field(in_the_field: Any, broker: BrokerHandle) -> Any:
    """A device whose trust map names the receiver."""
    key = KEY.model_dump(mode="json", by_alias=True)
    in_the_field.write("agent.toml", in_the_field.settings(3600, broker.port).encode())
    in_the_field.write("trust-map.json", in_the_field.trust_map(1, receivers=[key]))
    return in_the_field


@pytest.fixture
def ingest(broker: BrokerHandle, tmp_path: Path, in_the_field: Any) -> Callable[[], FleetStore]:
    """A receiver that takes all there is, and ends."""
    signer = Signer(address="test", public=KEY, backend=RECEIVER)
    database = open_database(f"sqlite:///{tmp_path / 'fleet.db'}")
    store = FleetStore(database, fleet="demo", receiver=Receiver(signer))
    store.enroll(DEVICE, in_the_field.device_key, now=now_utc())
    access = Access(broker=parse_broker(f"mqtt://127.0.0.1:{broker.port}", where="test"))

    def run() -> FleetStore:
        subscriber = Receiving(access, fleet="demo", name="one")
        Ingester(store, subscriber, say=lambda _: None, until_idle=0.5).run()
        return store

    run()
    return run


def test_a_device_alone_shows_an_auditor_what_the_receiver_acknowledged(
    field: Any,
    ingest: Callable[[], FleetStore],
    eventually: Eventually,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    field.release("1.0.0", counter=1)
    with field.running():
        eventually(lambda: "update.activated" in field.kinds())
        eventually(lambda: field.heads() > 0)
        eventually(lambda: (ingest(), field.counter("receipts"))[1])
    # What is retained waits for it, too.
    told = json.loads(field.agent("status", "--json").stdout)
    assert told["receipt"]["keyId"] == KEY.key_id
    assert told["receipt"]["event"] > 1
    assert f"to event {told['receipt']['event']}, countersigned" in field.agent("status").stdout
    doctor = field.agent("doctor", "--provisioning", field.provisioning).stdout
    assert f"ok   receipts: to event {told['receipt']['event']} of " in doctor
    medium = tmp_path / "stick"
    medium.mkdir()
    export(field.layout, medium, context=None)
    (tmp_path / "receiver.json").write_bytes(KEY.to_bytes())
    words = ["history", str(medium / DEVICE), "--json"]
    words += ["--device-key", str(field.layout.device_public)]
    capsys.readouterr()
    assert cli.main([*words, "--receiver-key", str(tmp_path / "receiver.json")]) == EXIT_DONE
    found = json.loads(capsys.readouterr().out)
    assert (found["receivedTo"], found["unknownReceipts"]) == (told["receipt"]["event"], 0)
    assert found["receipts"] >= 1


JOURNAL = """
[journal]
keep_events = 10
max_bytes = 4194304
wait_for_receipt = true
"""
PRUNED_ABOVE = 4194304 * 7 // 8


def test_what_a_broker_took_is_kept_until_a_receiver_says_that_it_has_it(
    field: Any, ingest: Callable[[], FleetStore], eventually: Eventually, broker: BrokerHandle
) -> None:
    """The whole way: a journal above its bound, a broker that took all, and nobody behind it."""
    text = field.settings(3600, broker.port)
    field.write("agent.toml", (text + JOURNAL).encode())
    with field.running():
        eventually(lambda: "agent.started" in field.kinds())

        def another(size: int = 0) -> int:
            """An event that another process writes, and tells the supervisor of."""
            entry = Entry(kind=EventKind.ATTEMPT_FAILED, detail={"long": "x" * size})
            with field.journal_to_write() as journal:
                recorded = journal.record(entry)
            ask(field.layout.socket, {"do": "status"})
            return int(recorded.sequence)

        for _ in range(24):
            last = another(200_000)
        eventually(lambda: field.heads() >= last)
        # The child that signed has looked what may be pruned by the time that the next one signs.
        last = another()
        eventually(lambda: field.heads() >= last)
        journal = field.journal()
        assert journal.waiting_count() == 0
        assert journal.used_bytes() > PRUNED_ABOVE
        assert journal.checkpoint() is None, "a broker's word is not enough"
        journal.close()
        doctor = field.agent("doctor", "--provisioning", field.provisioning).stdout
        assert "receipts: none of a known receiver yet" in doctor
        ingest()
        eventually(lambda: field.counter("receipts"))
        another()

        def pruned() -> Any:
            journal = field.journal()
            try:
                return journal.checkpoint()
            finally:
                journal.close()

        found = eventually(pruned)
    told = json.loads(field.agent("status", "--json").stdout)
    assert found.sequence <= told["receipt"]["event"]
    journal = field.journal()
    assert journal.used_bytes() < PRUNED_ABOVE
    journal.check(whole=True)
    journal.close()


def test_a_retained_receipt_waits_for_a_device_that_was_away(
    field: Any, ingest: Callable[[], FleetStore], eventually: Eventually
) -> None:
    assert field.once().returncode == 0
    ingest()
    assert field.counter("receipts") == ""
    with field.running():
        eventually(lambda: field.counter("receipts"))


def test_junk_replays_and_other_devices_receipts_leave_nothing_and_updates_go_on(
    field: Any, broker: BrokerHandle, eventually: Eventually
) -> None:
    """Attack: a broker that anybody may write to, retained junk included."""
    seen = Subscriber(broker.port)
    eventually(lambda: seen.ready)
    topic = f"primum/demo/{DEVICE}/receipt"
    seen.client.publish(topic, b"junk", qos=1, retain=True)
    field.release("1.0.0", counter=1)
    with field.running():
        for payload in (
            receipt(1, "a" * 64, by=THIEF),
            receipt(1, "a" * 64, deviceId="wearable-002"),
            b"x" * 100_000,
            b"[" * 1000,
        ):
            seen.client.publish(topic, payload, qos=1)
        eventually(lambda: "update.activated" in field.kinds())
    seen.close()
    assert field.counter("receipts") == ""
    journal = field.journal()
    assert troubles(journal) == []
    journal.close()


def test_without_a_receiver_on_the_trust_map_no_receipt_counts(
    field: Any, ingest: Callable[[], FleetStore], eventually: Eventually
) -> None:
    field.write("trust-map.json", field.trust_map(1))
    assert field.once().returncode == 0
    ingest()
    field.release("1.0.0", counter=1)
    with field.running():
        eventually(lambda: "update.activated" in field.kinds())
    assert field.counter("receipts") == ""
    assert "no receipt of a known receiver" in field.agent("status").stdout
    doctor = field.agent("doctor", "--provisioning", field.provisioning).stdout
    assert "note receipts: the trust map names no receiver" in doctor
    # Nor where somebody starts the child by himself.
    journal = field.journal()
    line = receipt(1, digest(journal, 1))
    journal.close()
    field.layout.arrived_receipts.write_bytes(line)
    done = child(field)
    assert (done, field.counter("receipts")) == (EXIT_DONE, "")


def test_a_trust_map_that_is_none_ends_the_look_and_nothing_else(field: Any) -> None:
    assert field.once().returncode == 0
    field.write("trust-map.json", b"{}")
    assert child(field) == EXIT_REFUSED
    assert field.counter("receipts") == ""


def child(field: Any) -> int:
    words = ["--state", field.layout.root, "--device-id", DEVICE, "--fleet", "demo"]
    words += ["--trust-map", field.provisioning / "trust-map.json"]
    done = subprocess.run(
        [sys.executable, "-m", "primum_agent.take_receipts", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode
