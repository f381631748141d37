"""The description of topics and payloads says what is really sent, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped] # it ships no types
import pytest
from tests.unit.agent.test_monitor import EXPECTED, specification, world
from tests.unit.agent.test_receipts import receipt
from tests.unit.agent.test_reporting_for_real import Subscriber

from primum_agent.report_classes import CLASSES, class_of
from primum_device_sim.authorities.documents import DEVICE
from primum_device_sim.broker import BrokerHandle
from primum_verifier.shell.documents import document_named

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "asyncapi"
DESCRIPTION = json.loads((FOLDER / "asyncapi.json").read_text())
DRAWN = (
    "status-report",
    "event",
    "health-report",
    "monitor-report",
    "device-request",
    "chain-head",
    "chain-receipt",
)
Eventually = Callable[..., Any]


def payload_of(channel: dict[str, Any]) -> jsonschema.Draft202012Validator:
    """The schema of what a channel carries."""
    ((name, _),) = channel["messages"].items()
    place = DESCRIPTION["components"]["messages"][name]["payload"]["schema"]["$ref"]
    return jsonschema.Draft202012Validator(json.loads((FOLDER / place).read_text()))


def validators() -> dict[str, jsonschema.Draft202012Validator]:
    """By the address of the channel, with this device's names put in."""
    return {
        channel["address"].format(fleet="demo", device=DEVICE): payload_of(channel)
        for channel in DESCRIPTION["channels"].values()
    }


@pytest.mark.parametrize("name", DRAWN)
def test_the_schemas_are_those_that_the_parser_draws(name: str) -> None:
    """Written by ``primum-verify schema NAME``."""
    written = (FOLDER / f"{name}.schema.json").read_text()
    assert written == document_named(name).schema_text()


def test_every_file_is_named_and_every_channel_has_its_operation() -> None:
    named = {
        message["payload"]["schema"]["$ref"].removeprefix("./")
        for message in DESCRIPTION["components"]["messages"].values()
    }
    # What the envelopes of a head and of a receipt hold.
    named |= {"asyncapi.json", "chain-head.schema.json", "chain-receipt.schema.json"}
    assert {path.name for path in FOLDER.iterdir()} == named
    channels = {item["channel"]["$ref"] for item in DESCRIPTION["operations"].values()}
    assert channels == {f"#/channels/{name}" for name in DESCRIPTION["channels"]}


def test_how_long_a_report_lasts_is_what_is_described() -> None:
    described = {
        operation["channel"]["$ref"].rpartition("/")[2]: binding["messageExpiryInterval"]
        for operation in DESCRIPTION["operations"].values()
        if "messageExpiryInterval" in (binding := operation["bindings"]["mqtt"])
    }
    assert described
    assert all(class_of(kind).kind == kind for kind in described)
    assert described == {kind: class_of(kind).lasts for kind in described}
    channels = set(DESCRIPTION["channels"])
    assert {one.kind for one in CLASSES} & channels == set(described)


def test_what_a_device_really_sends_and_is_asked_is_what_is_described(
    in_the_field: Any, broker: BrokerHandle, eventually: Eventually
) -> None:
    field = in_the_field
    field.write("agent.toml", field.settings(3600, broker.port).encode())
    field.release("1.0.0", counter=1, monitoring=specification())
    seen = Subscriber(broker.port)
    topics: dict[str, list[bytes]] = {}
    seen.client.on_message = lambda _, __, told: topics.setdefault(told.topic, []).append(
        bytes(told.payload)
    )
    eventually(lambda: seen.ready)
    status, request = (f"primum/demo/{DEVICE}/{end}" for end in ("status", "request"))
    with field.running():
        eventually(lambda: eventually(field.opened).prove_health())
        eventually(lambda: "update.committed" in field.kinds())
        word = json.loads(eventually(lambda: topics.get(status))[-1])["word"]
        seen.client.publish(request, json.dumps({"word": word, "do": "status"}), qos=1)
        seen.client.publish(f"primum/demo/{DEVICE}/receipt", receipt(1, "a" * 64), qos=1)
        eventually(lambda: "request.taken" in field.kinds())
        eventually(lambda: len(topics.get(f"primum/demo/{DEVICE}/health", [])) > 1)
    eventually(lambda: json.loads(topics[status][-1])["presence"] == "offline")
    with world(field) as monitored:
        # Two days, and nobody waits for them.
        monitored.window(EXPECTED)
    with field.running():
        eventually(lambda: topics.get(f"primum/demo/{DEVICE}/monitor"))
    seen.close()
    described = validators()
    assert set(topics) == set(described)
    for topic, payloads in topics.items():
        for payload in payloads:
            described[topic].validate(json.loads(payload))
            spoilt = {**json.loads(payload), "undescribed": 1}
            if topic.endswith("request"):
                assert not described[topic].is_valid(spoilt)
