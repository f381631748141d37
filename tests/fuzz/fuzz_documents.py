"""The parsers of signed documents: JSON, each document model, envelopes, histories."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner

import primum_verifier
from fuzz_json import bend_json
from fuzz_oracle import Subject, attempt
from fuzz_valid import examples
from primum_verifier.core.document import (
    Document,
    canonical_json,
    parse_document,
    read_json,
    sha256_hex,
)
from primum_verifier.core.envelope import (
    HEAD_PAYLOAD_TYPE,
    INTOTO_PAYLOAD_TYPE,
    envelope_lines,
    open_envelope,
    public_key_of,
)
from primum_verifier.record.chain import FIRST_PREVIOUS, check_history
from primum_verifier.shell.documents import DOCUMENTS

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
PURE_PARTS = ("core", "keeping", "proof", "change", "record", "delta")
SIGNER = CryptoSigner(Ed25519PrivateKey.from_private_bytes(b"\x01" * 32))
KEY = public_key_of(SIGNER.public_key)
_MAX_LINES = 64
_SIGNED = (b"", b'{"signed":"once"}', b'{"signed":"twice"}')
"""The only payloads that the key above ever signed in an envelope."""

_EVENTS = 3


def document_models() -> dict[str, type[Document]]:
    """Every document model there is, by ``module.Class``: a new one is found by itself."""
    found: dict[str, type[Document]] = {}
    for part in PURE_PARTS:
        package = importlib.import_module(f"{primum_verifier.__name__}.{part}")
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            members = inspect.getmembers(importlib.import_module(module.name), inspect.isclass)
            for name, member in members:
                if issubclass(member, Document) and member.__module__ == module.name:
                    found[f"{module.name.rpartition('.')[2]}.{name}"] = member
    return found


MODELS = document_models()


def document(data: bytes) -> None:
    """The first line names the model, the rest is the document."""
    name, _, body = data.partition(b"\n")
    model = MODELS.get(name.decode("utf-8", "replace"))
    if model is None:
        return
    value = attempt(lambda: parse_document(model, body, where="input"))
    if value is None:
        return
    written = value.to_bytes()
    again = parse_written(model, written)
    assert again == value, "what was written reads differently"
    assert again.to_bytes() == written, "written twice, it differs"


def parse_written(model: type[Document], written: bytes) -> Document:
    """Read what we wrote ourselves: a refusal here is a fault."""
    value = attempt(lambda: parse_document(model, written, where="written"))
    assert value is not None, "what was accepted is refused once it is written again"
    return value


def _published_examples() -> dict[str, bytes]:
    """The examples of the documentation, where a document has one."""
    keys = {model: key for key, model in MODELS.items()}
    found: dict[str, bytes] = {}
    for published in DOCUMENTS:
        path = EXAMPLES / f"{published.name}.json"
        if path.is_file():
            plain = canonical_json(json.loads(path.read_bytes())).strip()
            found[f"example-{published.name}"] = keys[published.model].encode() + b"\n" + plain
    return found


def _document_seeds() -> Mapping[str, bytes]:
    key = KEY.model_dump(mode="json", by_alias=True)
    made = {
        f"{name.lower()}-{variant}": name.encode() + b"\n" + canonical_json(content).strip()
        for name, model in MODELS.items()
        for variant, content in examples(model, key=key).items()
    }
    return made | _published_examples()


def _document_words() -> Iterable[str]:
    words = {f"{name}\n" for name in MODELS}
    for model in MODELS.values():
        words |= {f'"{field.alias or name}":' for name, field in model.model_fields.items()}
    for seed in _document_seeds().values():
        words |= set(re.findall(r'(?<=:)"[^"]{1,60}"', seed.decode()))
    return sorted(words)


def json_value(data: bytes) -> None:
    """JSON as such: what is read can be written in the one canonical form, and reads the same."""
    content: Any = attempt(lambda: (read_json(data, where="input"),))
    if content is None:
        return
    written = canonical_json(content[0])
    again: Any = attempt(lambda: (read_json(written, where="written", max_bytes=8 * len(data)),))
    assert again == content, "what was written reads differently"


def envelope(data: bytes) -> None:
    """One envelope: a signature that counts covers exactly what was signed."""
    opened = attempt(
        lambda: open_envelope(data, payload_type=INTOTO_PAYLOAD_TYPE, keys=(KEY,), where="input")
    )
    if opened is not None and opened.signers:
        assert opened.signers == (KEY,)
        assert opened.payload in _SIGNED, "a payload that was never signed has a signer"


def lines_of_envelopes(data: bytes) -> None:
    """A file of envelopes: no more of them than are asked for, none of them lost."""
    lines = attempt(lambda: envelope_lines(data, where="input", at_most=_MAX_LINES))
    if lines is None:
        return
    assert len(lines) <= _MAX_LINES
    assert b"\n".join(lines).split() == data.split()
    for line in lines:
        envelope(line)


def history(data: bytes) -> None:
    """A device's history: whole means that each event names the one before it."""
    lines = data.split(b"\n")
    report = attempt(lambda: check_history(lines, device_key=KEY))
    if report is None or not report.proven_to:
        return
    assert report.proven_to <= _EVENTS, "an event counts as proven whose head was never signed"
    if not report.whole:
        return
    previous = FIRST_PREVIOUS if report.first == 1 else None
    events = {sha256_hex(line): json.loads(line) for line in lines if b"prevEventHash" in line}
    chained = sorted(
        (int(event["sequence"]), digest, event["data"]["prevEventHash"])
        for digest, event in events.items()
        if "payloadType" not in event
    )
    assert len(chained) == report.events
    for _, digest, named in chained:
        assert previous in {None, named}, "a whole history with a link that does not hold"
        previous = digest


def sign(payload: bytes, payload_type: str) -> bytes:
    """The payload in an envelope that the one key of these subjects signed."""
    made = Envelope(payload, payload_type, {})
    signature = SIGNER.sign(made.pae())
    signature.keyid = KEY.key_id
    made.signatures[KEY.key_id] = signature
    return canonical_json(made.to_dict()).strip()


def _envelope_seeds() -> Mapping[str, bytes]:
    made = {
        f"signed-{number}": sign(data, INTOTO_PAYLOAD_TYPE) for number, data in enumerate(_SIGNED)
    }
    return made | {"other-type": sign(_SIGNED[1], HEAD_PAYLOAD_TYPE)}


def _lines_seeds() -> Mapping[str, bytes]:
    seeds = list(_envelope_seeds().values())
    return {"lines": b"\n".join(seeds), "blank-lines": b"\n \n" + b"\n\n".join(seeds)}


def _history_seeds() -> Mapping[str, bytes]:
    lines: list[bytes] = []
    previous = FIRST_PREVIOUS
    for number in range(1, _EVENTS + 1):
        event = {"sequence": f"{number:020}", "data": {"prevEventHash": previous}}
        lines.append(canonical_json(event).strip())
        previous = sha256_hex(lines[-1])
    head = {
        "type": "urn:primum:chain-head:v0.1",
        "deviceId": "wearable-001",
        "sequence": _EVENTS,
        "eventHash": previous,
        "signedAt": "2026-06-01T12:00:00Z",
    }
    signed = sign(canonical_json(head), HEAD_PAYLOAD_TYPE)
    return {
        "whole": b"\n".join([*lines, signed]),
        "gap": b"\n".join([lines[0], lines[2], signed]),
        "doubled": b"\n".join([lines[0], lines[0], signed, signed]),
    }


DOCUMENT_SUBJECTS = {
    "document": Subject(
        run=document,
        seeds=_document_seeds,
        words=_document_words,
        max_bytes=8192,
        bend=bend_json,
    ),
    "json": Subject(
        run=json_value,
        seeds=lambda: {"value": b'{"a":[1,-2.5e3,"\\u00e4",true,null],"b":{"c":"\\ud83d\\ude00"}}'},
        words=lambda: ("\\u", "\\ud800", "1e999", "NaN", "Infinity", "-0", '":{"', "null", "]}"),
        max_bytes=512,
    ),
    "envelope": Subject(run=envelope, seeds=_envelope_seeds, max_bytes=1024),
    "envelope-lines": Subject(run=lines_of_envelopes, seeds=_lines_seeds, max_bytes=2048),
    "history": Subject(
        run=history,
        seeds=_history_seeds,
        words=lambda: ('"sequence":', '"data":', '"prevEventHash":', '"payloadType":', "0" * 20),
        max_bytes=2048,
    ),
}
