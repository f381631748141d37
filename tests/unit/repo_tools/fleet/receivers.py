"""Receivers as processes, and devices that publish to a real broker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from primum_repo_tools.fleet.messages import Message

PASSPHRASE = "correct horse battery"  # noqa: S105 - of keys that live for one test
COMMAND = [sys.executable, "-m", "primum_repo_tools.cli", "fleet"]


def primum_repo(*words: object) -> subprocess.CompletedProcess[str]:
    """One command of ``primum-repo fleet`` as a user would run it."""
    return subprocess.run(
        [*COMMAND, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PRIMUM_PASSPHRASE": PASSPHRASE},
    )


def start(
    address: str,
    port: int,
    *words: object,
    name: str = "one",
    scheme: str = "mqtt",
    **environment: str,
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "ingest", "--broker", f"{scheme}://127.0.0.1:{port}", "--database", address,
         "--name", name, "--json", *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PRIMUM_PASSPHRASE": PASSPHRASE, **environment},
    )  # fmt: skip


def end(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Ask it to end, and what it told."""
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


class Publisher:
    """Publishes what devices say, each acknowledged by the broker."""

    def __init__(self, port: int, client_id: str = "devices") -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5
        )
        self.client.max_inflight_messages_set(100)
        self.client.on_message = lambda _, __, message: self.heard.append(
            (message.topic, bytes(message.payload))
        )
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def send(self, messages: Iterable[Message], *, fleet: str = "demo") -> None:
        self.finish(self.begin(messages, fleet=fleet))

    def begin(
        self, messages: Iterable[Message], *, fleet: str = "demo"
    ) -> list[paho.MQTTMessageInfo]:
        return self.begin_raw(
            (f"primum/{fleet}/{item.device}/{item.end}", item.payload) for item in messages
        )

    def begin_raw(self, messages: Iterable[tuple[str, bytes]]) -> list[paho.MQTTMessageInfo]:
        return [self.client.publish(topic, payload, qos=1) for topic, payload in messages]

    @staticmethod
    def finish(under_way: Iterable[paho.MQTTMessageInfo]) -> None:
        for info in under_way:
            info.wait_for_publish(timeout=30)

    def send_raw(self, messages: Iterable[tuple[str, bytes]]) -> None:
        self.finish(self.begin_raw(messages))

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@contextmanager
def publishing(port: int) -> Iterator[Publisher]:
    made = Publisher(port)
    try:
        yield made
    finally:
        made.close()
