"""A download that is killed, or told to end, at any point: what came is not asked for again."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.unit.agent.hostile_server import HostileServer, serving

from primum_agent.clock import SystemClock
from primum_agent.layout import Layout

DATA = hashlib.shake_128(b"killed").digest(6_000_000)
DIGEST = hashlib.sha256(DATA).hexdigest()

_RECEIVER = """
import sys
from pathlib import Path
from primum_agent.clock import SystemClock
from primum_agent.content_store import FolderStore
from primum_agent.ending import before_the_end
from primum_agent.layout import Layout
from primum_agent.pacing import Pace
from primum_agent.transfer import Transfer
from primum_verifier.shell.http_fetching import HttpFetcher, Wire

class One:
    def bases(self): return [sys.argv[2]]
    def worked(self, base): pass
    def failed(self, base, error, *, lied): pass

store = FolderStore(Layout(Path(sys.argv[1])))
store.prepare()
rate = float(sys.argv[3])
transfer = Transfer(fetcher=HttpFetcher(Wire(allow_http=True)), mirrors=One(), total_seconds=60,
                    pace=Pace(rate))
length, digest = int(sys.argv[4]), sys.argv[5]
partial = store.partial(digest, length=length, boot=SystemClock().boot_id())
with before_the_end(partial.checkpoint):
    transfer.receive(partial, take=store.complete)
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "receiver.py"
    path.write_text(_RECEIVER)
    return path


def receiver(script: Path, layout: Layout, server: HostileServer, rate: float) -> list[str]:
    words = [str(layout.root), f"{server.url}artifacts/", str(rate), str(len(DATA)), DIGEST]
    return [sys.executable, str(script), *words]


def serve(tmp_path: Path) -> Path:
    web = tmp_path / "web"
    (web / "artifacts").mkdir(parents=True)
    (web / "artifacts" / DIGEST).write_bytes(DATA)
    return web


def killed_at(command: list[str], layout: Layout, size: int, number: signal.Signals) -> int:
    """Let it run until so much is there, then send the signal; how much was there afterwards."""
    path, until = layout.partial / DIGEST, time.monotonic() + 30
    process = subprocess.Popen(command)
    try:
        while not (path.is_file() and path.stat().st_size >= size):
            assert process.poll() is None, "it was over before"
            assert time.monotonic() < until
            time.sleep(0.002)
        process.send_signal(number)
        assert process.wait(timeout=10) == -number
    finally:
        process.kill()
        process.wait()
    return path.stat().st_size


def test_killed_at_any_point_every_byte_is_asked_for_once(
    tmp_path: Path, layout: Layout, script: Path
) -> None:
    """Again and again, each time somewhere else; the server is asked for the rest, always."""
    with serving(serve(tmp_path)) as server:
        command = receiver(script, layout, server, 12_000_000)
        sizes = [0]
        for share in (0.01, 0.2, 0.35, 0.6, 0.85):
            size = int(len(DATA) * share)
            sizes.append(killed_at(command, layout, size, signal.SIGKILL))
        subprocess.run(receiver(script, layout, server, 0.0), check=True, timeout=60)
        assert [item.offset for item in server.asked] == sizes
        assert all(item.if_range for item in server.asked if item.offset)
    assert (layout.store / "sha256" / DIGEST).read_bytes() == DATA
    assert list(layout.partial.iterdir()) == []


def test_told_to_end_it_makes_durable_what_came(
    tmp_path: Path, layout: Layout, script: Path
) -> None:
    """A device that is switched off in order loses nothing, whatever boot comes next."""
    with serving(serve(tmp_path)) as server:
        command = receiver(script, layout, server, 4_000_000)
        size = killed_at(command, layout, 1_000_000, signal.SIGTERM)
        note = json.loads((layout.partial / f"{DIGEST}.note").read_bytes())
        assert 1_000_000 <= note["durable"] <= size
        assert note["boot"] == SystemClock().boot_id()
        assert note["digest"] == hashlib.sha256(DATA[: note["durable"]]).hexdigest()
        note["boot"] = "an earlier one"
        (layout.partial / f"{DIGEST}.note").write_text(json.dumps(note))
        subprocess.run(receiver(script, layout, server, 0.0), check=True, timeout=60)
        assert server.asked[-1].offset == note["durable"]
    assert os.listdir(layout.store / "sha256") == [DIGEST]  # noqa: PTH208 - names alone
