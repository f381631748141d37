"""Countersigning: the receiver signs what it holds whole and proven, and tells the device."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.repo_tools.fleet.conftest import AT, Fleet
from tests.unit.repo_tools.fleet.devices import Device
from tests.unit.repo_tools.fleet.receivers import PASSPHRASE, end, primum_repo, publishing, start

from primum_device_sim.broker import BrokerHandle
from primum_repo_tools.fleet.receipts import Receiver
from primum_repo_tools.fleet.views import device_view
from primum_repo_tools.keys import Secrets, create_key, load_key, read_public_key
from primum_verifier.core.document import sha256_hex
from primum_verifier.core.envelope import PublicKey
from primum_verifier.record.receipt import ChainReceipt, open_receipt

Eventually = Callable[..., Any]


@pytest.fixture
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRIMUM_PASSPHRASE", PASSPHRASE)
    create_key(tmp_path / "receiver.pem", secrets=Secrets(prompt=None))
    return tmp_path / "receiver.pem"


@pytest.fixture
def signing(address: str, key_file: Path) -> Iterator[Fleet]:
    signer = load_key(key_file, secrets=Secrets(prompt=None))
    made = Fleet(address, receiver=Receiver(signer))
    yield made
    made.close()


def opened(line: bytes, key: PublicKey, device: Device) -> ChainReceipt:
    return open_receipt(line, keys=[key], fleet="demo", device_id=device.name, where="receipt")


def test_a_receipt_follows_each_head_and_says_what_is_held(signing: Fleet, key_file: Path) -> None:
    key = read_public_key(key_file.with_suffix(".public.json"))
    device = Device()
    signing.enroll(device)
    *events, head = device.life(4)
    assert signing.take(*events).receipts == [], "nothing is proven yet"
    ((name, line),) = signing.take(head).receipts
    found = opened(line, key, device)
    assert name == device.name
    assert (found.first_sequence, found.sequence) == (1, 4)
    assert found.event_hash == sha256_hex(device.events[3])
    assert signing.take(*events, head).receipts == [], "signed once"


def test_a_receipt_says_where_the_run_begins_that_it_covers(signing: Fleet, key_file: Path) -> None:
    """What is missing before is not receipted by what stands behind it."""
    device = Device()
    signing.enroll(device)
    *events, head = device.life(6)
    ((_, line),) = signing.take(*events[:1], *events[3:], head).receipts
    found = opened(line, read_public_key(key_file.with_suffix(".public.json")), device)
    assert (found.first_sequence, found.sequence) == (4, 6)


def test_a_disputed_chain_is_not_receipted(signing: Fleet) -> None:
    device = Device()
    signing.enroll(device)
    signing.take(*device.life(2))
    clone = device.fork()
    signing.take(*device.life(1))
    signing.take(*clone.life(1))
    assert signing.take(*device.life(2)).receipts == []


def test_receipts_reach_the_devices_topic_and_those_of_a_killed_receiver_come_later(
    broker: BrokerHandle, signing: Fleet, key_file: Path, eventually: Eventually
) -> None:
    key = read_public_key(key_file.with_suffix(".public.json"))
    device = Device()
    signing.enroll(device)
    # Stored by a receiver that ended before the broker took it.
    signing.take(*device.life(2))
    assert len(signing.store.unpublished()) == 1
    topic = f"primum/demo/{device.name}/receipt"
    with publishing(broker.port) as publisher:
        publisher.client.subscribe(topic, qos=1)
        receiver = start(signing.address, broker.port, "--key", key_file)
        eventually(lambda: len(publisher.heard) == 1)
        publisher.send(device.life(3))
        eventually(lambda: len(publisher.heard) == 2)
        told = end(receiver)
    found = [opened(line, key, device).sequence for name, line in publisher.heard if name == topic]
    assert found == [2, 5]
    assert told["receipts"] == 2
    assert signing.store.unpublished() == []
    view = device_view(signing.store.database, fleet="demo", name=device.name, last=1, now=AT)
    assert (view["receipt"]["sequence"], view["receipt"]["published"]) == (5, True)


def test_the_key_of_a_receiver_is_made_by_a_command(tmp_path: Path) -> None:
    told = primum_repo("key", tmp_path / "receiver.pem", "--json")
    assert told.returncode == 0, told.stderr
    public = read_public_key(tmp_path / "receiver.public.json")
    assert json.loads(told.stdout)["keyId"] == public.key_id
    assert primum_repo("key", tmp_path / "receiver.pem").returncode == 2, "never overwritten"
