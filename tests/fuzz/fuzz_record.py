"""What devices report and what is asked of them: receipts, heads, monitors, remarks, requests.

What is signed is signed here by keys of these subjects, so that a search gets behind signatures:
a device's own key can say anything, and nobody's tool may fall over it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import TypeAdapter
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner

from fuzz_documents import EXAMPLES, KEY, SIGNER
from fuzz_json import bend_json
from fuzz_oracle import Subject, attempt, joined, sections
from primum_agent.broker_requests import NoRequestError, Request, read_request
from primum_agent.monitor_kept import MonitorKept, Watched
from primum_agent.monitor_taking import Handed
from primum_agent.receipts import MAX_RECEIPT_BYTES, could_be_receipt
from primum_agent.remarking import KeptText, Remark, remark_text
from primum_repo_tools.fleet.messages import End, Head, Message, Report, parse, split_topic
from primum_verifier.core.document import canonical_json, parse_document, read_json, sha256_hex
from primum_verifier.core.envelope import HEAD_PAYLOAD_TYPE, public_key_of
from primum_verifier.core.errors import PrimumError
from primum_verifier.record.chain import FIRST_PREVIOUS
from primum_verifier.record.checkpoint import CHECKPOINT_PAYLOAD_TYPE
from primum_verifier.record.feedback import Feedback
from primum_verifier.record.monitor_judgement import MonitorMemory
from primum_verifier.record.monitor_plan import MonitorPlan, read_plan
from primum_verifier.record.monitor_report import ChannelTold
from primum_verifier.record.monitor_tally import MonitorTally
from primum_verifier.record.monitor_telling import told_channels
from primum_verifier.record.monitoring import MonitoringSpecification
from primum_verifier.record.receipt import RECEIPT_PAYLOAD_TYPE, open_receipt
from primum_verifier.record.request import DeviceRequest
from primum_verifier.record.served import served
from primum_verifier.record.words import (
    MAX_REMARK,
    FeedbackCategory,
    FeedbackRole,
    FeedbackSeverity,
)
from primum_verifier.shell.served_page import served_page
from primum_verifier.shell.served_text import as_dict, for_people

DEVICE, FLEET = "wearable-001", "demo"
RECEIVER = CryptoSigner(Ed25519PrivateKey.from_private_bytes(b"\x02" * 32))
RECEIVER_KEY = public_key_of(RECEIVER.public_key)
AT = datetime(2026, 6, 1, 12, 30, tzinfo=UTC)
WORD = "0123456789abcdef" * 2
_MOST_LINES = 24
_CHANNEL: TypeAdapter[Any] = TypeAdapter(ChannelTold)


def _sealed(content: Any, kind: str, signer: CryptoSigner) -> bytes:
    made = Envelope(canonical_json(content), kind, {})
    signature = signer.sign(made.pae())
    signature.keyid = public_key_of(signer.public_key).key_id
    made.signatures[signature.keyid] = signature
    return canonical_json(made.to_dict()).strip()


# Receipts


def receipt(data: bytes) -> None:
    """What a child would keep, the resident process hands to it; what nobody signed is nothing."""
    handed = could_be_receipt(data, fleet=FLEET, device_id=DEVICE, newest=3)
    found = attempt(
        lambda: open_receipt(
            data, keys=(RECEIVER_KEY,), fleet=FLEET, device_id=DEVICE, where="input"
        )
    )
    if found is None:
        return
    assert found in [open_receipt_of(seed) for seed in _RECEIPTS.values()], "never signed"
    plain = len(data) <= MAX_RECEIPT_BYTES and not {10, 13} & set(data)
    assert handed == (plain and found.sequence > 3)


def open_receipt_of(line: bytes) -> Any:
    """What the one receiver signed."""
    return open_receipt(line, keys=(RECEIVER_KEY,), fleet=FLEET, device_id=DEVICE, where="seed")


def _receipt(sequence: int) -> dict[str, Any]:
    return {
        "type": "urn:primum:chain-receipt:v0.1",
        "role": "receiver",
        "fleet": FLEET,
        "deviceId": DEVICE,
        "firstSequence": 1,
        "sequence": sequence,
        "eventHash": "a" * 64,
        "issuedAt": "2026-06-01T12:00:00Z",
    }


_RECEIPTS = {
    f"event-{number}": _sealed(_receipt(number), RECEIPT_PAYLOAD_TYPE, RECEIVER)
    for number in (3, 7)
}


# What served


def life(data: bytes) -> None:
    """A device whose own key says anything: each line is one letter and what it says.

    ``E`` is the next event, ``H`` a head, ``C`` a checkpoint, ``R`` a receipt; the members that a
    line leaves out are those of a device that is well.  ``X`` loses the line before it.
    """
    events: list[bytes] = []
    lines: list[bytes] = []
    for line in data.split(b"\n")[:_MOST_LINES]:
        letter, _, text = line.partition(b" ")
        said = attempt(partial(read_json, text or b"{}", where="input"))
        if letter == b"X" and lines:
            lines.pop()
        elif isinstance(said, dict) and letter in _WRITERS:
            written = attempt(partial(_WRITERS[letter], events, said))
            if written is not None:
                lines.append(written)
    _ask(lines)


def _event(events: list[bytes], said: dict[str, Any]) -> bytes:
    data = {
        "prevEventHash": sha256_hex(events[-1]) if events else FIRST_PREVIOUS,
        "clock": {"quality": "synchronised"},
        "state": "idle",
    }
    content = {
        "id": f"urn:uuid:{len(events):08}-0000-4000-8000-000000000001",
        "source": f"urn:primum:device:{DEVICE}",
        "type": "primum.device.agent.started",
        "sequence": f"{len(events) + 1:020}",
        "time": "2026-06-01T12:00:00Z",
        "recordedtime": "2026-06-01T12:00:00Z",
    }
    told = said.pop("data", {})
    content |= said | {"data": data | told if isinstance(told, dict) else told}
    events.append(canonical_json(content).strip())
    return events[-1]


def _about(events: list[bytes]) -> dict[str, Any]:
    return {
        "deviceId": DEVICE,
        "sequence": max(len(events), 1),
        "eventHash": sha256_hex(events[-1]) if events else "0" * 64,
    }


def _head(events: list[bytes], said: dict[str, Any]) -> bytes:
    signed_at = {"signedAt": "2026-06-01T13:00:00Z", "clockQuality": "synchronised"}
    content = {"type": "urn:primum:chain-head:v0.1", **_about(events), **signed_at, **said}
    return _sealed(content, HEAD_PAYLOAD_TYPE, SIGNER)


def _checkpoint(events: list[bytes], said: dict[str, Any]) -> bytes:
    state = said.pop("state", {})
    content = {
        "type": "urn:primum:chain-checkpoint:v0.1",
        **_about(events),
        "firstSequence": 1,
        "state": json.dumps(state),
        "agentVersion": "0.1.0",
        "signedAt": "2026-06-01T13:00:00Z",
    }
    return _sealed(content | said, CHECKPOINT_PAYLOAD_TYPE, SIGNER)


def _received(events: list[bytes], said: dict[str, Any]) -> bytes:
    return _sealed(_receipt(1) | _about(events) | said, RECEIPT_PAYLOAD_TYPE, RECEIVER)


_WRITERS: dict[bytes, Callable[[list[bytes], dict[str, Any]], bytes]] = {
    b"E": _event,
    b"H": _head,
    b"C": _checkpoint,
    b"R": _received,
}


def history_that_served(data: bytes) -> None:
    """The same of a file that others wrote; nothing is signed anew."""
    _ask(data.split(b"\n")[:_MOST_LINES])


def _ask(lines: list[bytes]) -> None:
    for free_running in (None, 300.0):
        asked = partial(served, lines, device_key=KEY, at=AT, receivers=(RECEIVER_KEY,))
        found = attempt(partial(asked, free_running=free_running))
        if found is None:
            return
        assert found.possible, "every instant lies somewhere"
        told = "\n".join(for_people(found, {}))
        assert all(sign.isprintable() or sign == "\n" for sign in told)
        json.dumps(as_dict(found, {}), allow_nan=False)
        page = HTMLParser()
        page.feed(served_page(found, {}))
        for stretch in found.stretches:
            for edge in (stretch.begins, stretch.ends):
                bounds = None if edge is None else edge.bounds
                if bounds is not None and bounds.earliest and bounds.latest:
                    assert bounds.earliest <= bounds.latest


_RELEASE, _STATEMENT = sha256(b"release").hexdigest(), sha256(b"statement").hexdigest()
_IN_USE = {
    "activeManifest": _RELEASE,
    "eligibility": {"digest": _STATEMENT, "number": 3},
}
_GENERATION = {
    "number": 1,
    "component": "pvc-classifier",
    "version": "1.0.0",
    "release": _RELEASE,
    "statement": _STATEMENT,
    "statement_number": 3,
    "mode": "clinical",
}
_LIFE: list[tuple[str, dict[str, Any]]] = [
    ("E", {"type": "primum.device.journal.begun", "time": "2026-06-01T11:00:00Z"}),
    (
        "E",
        {
            "type": "primum.device.selftest.passed",
            "data": {
                "state": "waiting",
                "change": {"candidate": {"release": _RELEASE, "version": "1.0.0"}},
                "detail": {"statement": {"sha256": "c" * 64}},
            },
        },
    ),
    (
        "E",
        {
            "type": "primum.device.update.activating",
            "data": {"state": "activating", "change": {"generation": _GENERATION, "target": 1}},
        },
    ),
    (
        "E",
        {
            "type": "primum.device.update.activated",
            "data": _IN_USE | {"state": "provisional", "change": {"active": 1, "target": None}},
        },
    ),
    ("H", {}),
    ("R", {"issuedAt": "2026-06-01T12:10:00Z"}),
    ("E", {"recordedtime": "2026-06-01T12:40:00Z", "data": _IN_USE}),
    (
        "E",
        {
            "type": "primum.device.safe-mode.entered",
            "recordedtime": "2026-06-01T12:50:00Z",
            "data": {"reasons": ["eligibility.withdrawn"], "change": {"active": None}},
        },
    ),
    ("H", {"signedAt": "2026-06-01T14:00:00Z"}),
]


def _life_seeds() -> Mapping[str, bytes]:
    def written(steps: Iterable[tuple[str, dict[str, Any]]]) -> bytes:
        return b"\n".join(
            letter.encode() + b" " + canonical_json(said).strip() for letter, said in steps
        )

    pruned: list[tuple[str, dict[str, Any]]] = [
        ("E", {}),
        ("C", {"state": {"lifecycle": "idle", "active": 1, "generations": [_GENERATION]}}),
        ("E", {"data": _IN_USE}),
        ("H", {}),
    ]
    return {
        "life": written(_LIFE),
        "pruned": written([pruned[0], ("X", {}), *pruned[1:]]),
        "gap": written([*_LIFE[:5], ("X", {}), ("X", {}), *_LIFE[6:]]),
    }


def _history_seeds() -> Mapping[str, bytes]:
    events: list[bytes] = []
    lines = [
        _WRITERS[letter.encode()](events, json.loads(json.dumps(said))) for letter, said in _LIFE
    ]
    return {"life": b"\n".join(lines), "short": b"\n".join(lines[:5])}


_LIFE_WORDS = (
    *("E {", "H {", "C {", "R {", "X\n", '"data":', '"change":', '"state":', '"time":'),
    *('"recordedtime":', '"clock":', '"quality":', '"synchronised"', '"unset"', '"reasons":'),
    *('"activeManifest":', '"eligibility":', '"detail":', '"type":', '"sequence":', '"target":'),
    *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", '"deviceId":', '"signedAt":', '"issuedAt":'),
    *('"prevEventHash":', '"firstSequence":', "primum.device.", "rolling-back", '"subject":'),
)


# What a receiver hears


def message(data: bytes) -> None:
    """The first line is the topic, the rest what came on it; what is taken are its very bytes."""
    topic, _, payload = data.partition(b"\n")
    place = attempt(lambda: split_topic(topic.decode("utf-8", "replace"), fleet=FLEET))
    if place is None:
        return
    device, end = place
    found = attempt(lambda: parse(Message(device=device, end=end, payload=payload)))
    if found is None:
        return
    assert found.line == payload
    digest = found.digest if isinstance(found, Head | Report) else found.hash
    assert digest == sha256_hex(payload)
    if end is End.PROVENANCE:
        assert json.loads(payload)["source"] == f"urn:primum:device:{device}"


def _message_seeds() -> Mapping[str, bytes]:
    events: list[bytes] = []
    event = _event(events, {"data": {"change": {"generation": _GENERATION | {"counter": 1}}}})
    said = {"provenance": event, "head": _head(events, {})}
    for name, example in (
        ("health", "health-report"),
        ("status", "status-report"),
        ("monitor", "monitor-report"),
    ):
        path = EXAMPLES / f"{example}.json"
        said[name] = canonical_json(json.loads(path.read_bytes())).strip()
    return {
        name: f"primum/{FLEET}/{_named(payload)}/{name}\n".encode() + payload
        for name, payload in said.items()
    }


def _named(payload: bytes) -> str:
    """The device that a message is of."""
    content = json.loads(payload)
    if "source" in content:
        return str(content["source"]).rpartition(":")[2]
    return str(content.get("deviceId", DEVICE))


# Monitors


def monitor(data: bytes) -> None:
    """A specification, what is counted by it, and what was kept: three parts of one input.

    What the strict reader takes, the plain one takes too, to the same counters; whatever is then
    counted, kept and told is a number that can be written, and has the published form.
    """
    parts = sections(data, first="specification")
    text = parts.get("specification", b"")
    spec = attempt(lambda: parse_document(MonitoringSpecification, text, where="input"))
    if spec is None:
        return
    plan = read_plan(text)
    assert plan.cells == spec.cells, "two readers find other counters"
    watched = Watched("a" * 64, "b" * 64, 3, "c" * 64)
    kept = MonitorKept(watched=watched, plan=plan, window=1)
    kept_text = parts.get("kept", b"").decode("utf-8", "replace")
    kept = MonitorKept.from_text(kept_text, watched=watched, plan=plan) or kept
    _count(parts.get("asked", b""), kept.tally, plan)
    found = _concluded(kept.memory, kept.tally)
    assert all(math.isfinite(ratio) for ratio in found)
    again = MonitorKept.from_text(kept.to_text(), watched=watched, plan=plan)
    assert again is not None, "what a monitor keeps it cannot read again"
    assert again.to_text() == kept.to_text()
    for groups in (True, False):
        told = told_channels(plan, kept.tally, groups=groups)
        for channel in json.loads(json.dumps(told, allow_nan=False)).values():
            _CHANNEL.validate_json(json.dumps(channel), strict=True)


def _count(text: bytes, tally: MonitorTally, plan: MonitorPlan) -> None:
    asked = attempt(lambda: read_json(text or b"{}", where="asked"))
    if not isinstance(asked, dict):
        return
    handed = attempt(lambda: Handed.of({"do": "observe", **asked}))
    if handed is not None:
        for _ in range(3):
            attempt(lambda: handed.count_in(tally, plan))


def _concluded(memory: MonitorMemory, tally: MonitorTally) -> list[float]:
    return [one.ratio for one in (*memory.end_day(tally), *memory.end_window(tally))]


def _monitor_seeds() -> Mapping[str, bytes]:
    text = (EXAMPLES / "monitoring-specification.json").read_bytes()
    plain = canonical_json(json.loads(text)).strip()
    plan = read_plan(plain)
    digests = {"release": "a" * 64, "statement": "b" * 64, "specification": "c" * 64}
    asked: dict[str, Any] = digests | {"values": {}, "rates": {}, "groups": {}, "dropped": 1}
    for channel in plan.channels:
        if channel.kind == "rate":
            asked["rates"][channel.id] = [30, 3600 * 24]
        else:
            asked["values"][channel.id] = [number / 70 for number in range(60)] + [None]
    asked["groups"] = {key: groups[0] for key, groups in plan.cohorts.items()}
    kept = MonitorKept(watched=Watched("a" * 64, "b" * 64, 3, "c" * 64), plan=plan, window=4)
    _count(canonical_json(asked), kept.tally, plan)
    _concluded(kept.memory, kept.tally)
    return {
        "specification": b"== specification\n" + plain,
        "counted": joined({"specification": plain, "asked": canonical_json(asked).strip()}),
        "kept": joined({"specification": plain, "kept": kept.to_text().encode()}),
    }


# Remarks and requests


def remark(data: bytes) -> None:
    """What somebody types: refused, or one line whose event has the published form."""
    text = data.decode("utf-8", "surrogateescape")
    line = attempt(lambda: remark_text(text, where="--text"))
    if line is None:
        return
    assert len(line) <= MAX_REMARK
    assert line.isprintable() or not line
    kept = KeptText(event=1, at="2026-06-01T12:00:00Z", salt="00" * 16, text=line)
    said = Remark(
        role=next(iter(FeedbackRole)),
        category=next(iter(FeedbackCategory)),
        severity=next(iter(FeedbackSeverity)),
        text=line,
    ).classified()
    if line:
        said["text"] = {"characters": len(line), "digest": kept.digest}
    parse_document(Feedback, canonical_json(said), where="event")


def request(data: bytes) -> None:
    """What a broker asks: a device takes what the published form allows, and nothing else."""
    try:
        taken: Request | None = read_request(data, word=WORD)
    except NoRequestError:
        taken = None
    try:
        allowed: DeviceRequest | None = parse_document(DeviceRequest, data, where="input")
    except PrimumError:
        allowed = None
    fits = allowed is not None and allowed.word == WORD and len(data) <= _REQUEST_BYTES
    assert (taken is not None) == fits, "a device and the published form disagree"
    if taken is not None and allowed is not None:
        assert (str(taken.wish), taken.begin) == (allowed.do, allowed.begin or 1)


_REQUEST_BYTES = 1024

RECORD_SUBJECTS = {
    "receipt": Subject(run=receipt, seeds=lambda: _RECEIPTS, max_bytes=1024),
    "life": Subject(
        run=life, seeds=_life_seeds, words=lambda: _LIFE_WORDS, max_bytes=4096, bend=bend_json
    ),
    "served": Subject(
        run=history_that_served,
        seeds=_history_seeds,
        words=lambda: _LIFE_WORDS,
        max_bytes=8192,
        bend=bend_json,
    ),
    "message": Subject(
        run=message,
        seeds=_message_seeds,
        words=lambda: [f"primum/{FLEET}/{DEVICE}/{end}\n" for end in End],
        max_bytes=8192,
        bend=bend_json,
    ),
    "monitor": Subject(
        run=monitor,
        seeds=_monitor_seeds,
        words=lambda: ("== asked\n", "== kept\n", '"values":', '"rates":', '"groups":', "null"),
        max_bytes=16_384,
        bend=bend_json,
    ),
    "remark": Subject(
        run=remark,
        seeds=lambda: {"text": "it said \u201esinus\u201c twice".encode()},
        max_bytes=4096,
    ),
    "request": Subject(
        run=request,
        seeds=lambda: {
            "poll": f'{{"word":"{WORD}","do":"poll"}}'.encode(),
            "journal": f'{{"word":"{WORD}","do":"journal","from":7}}'.encode(),
        },
        words=lambda: ('"do":', '"status"', '"from":', '"word":', "null", "9007199254740993"),
        max_bytes=1100,
        bend=bend_json,
    ),
}
