"""Two authorities in one journal: one refresh succeeds, the other does not, or the power goes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from primum_agent.clock import FakeClock
from primum_agent.journal import Journal
from primum_agent.layout import Layout
from primum_agent.trust_journal import JournalTrustStore
from primum_verifier.core.errors import FailedError, PrimumError
from primum_verifier.core.reasons import Reason
from primum_verifier.core.view import AuthorityView
from primum_verifier.shell.fetching import FolderFetcher
from primum_verifier.shell.tuf_views import stored_view

MANIFEST = "releases/pvc/1.0.0/manifest.json"
INDEX = "eligibility/index.json"
PAIR = {"engineering": MANIFEST, "clinical": INDEX}


class Pair:
    """One device's two trust stores, opened anew for every run as after a start."""

    def __init__(self, folder: Path, publishers: dict[str, Any], make_device: Any) -> None:
        self.layout = Layout(folder)
        folder.mkdir()
        self.publishers = publishers
        self.devices = {
            name: make_device(publisher, f"{name}-device") for name, publisher in publishers.items()
        }

    def journal(self) -> Journal:
        return Journal.open_or_restart(self.layout, clock=FakeClock(), device_id="wearable-001")

    def run(self, *names: str, fetcher: Any = None) -> None:
        """Refresh these authorities, one after the other; the fetcher serves the last."""
        journal = self.journal()
        try:
            for name in names:
                device = self.devices[name]
                device.store = JournalTrustStore(journal, name)
                device.fetcher = fetcher if name == names[-1] else None
                device.run(PAIR[name])
        finally:
            journal.close()

    def views(self) -> dict[str, AuthorityView]:
        """The stored pair, as every later step judges by it."""
        journal = self.journal()
        found = {name: stored_view(name, JournalTrustStore(journal, name).load()) for name in PAIR}
        journal.close()
        return {name: view for name, view in found.items() if view is not None}

    def publish(self, content: bytes) -> None:
        """Both authorities say something new."""
        self.publishers["engineering"].add(MANIFEST, content, role="model")
        self.publishers["clinical"].add(INDEX, content)
        for publisher in self.publishers.values():
            publisher.publish()


@pytest.fixture
def pair(tmp_path: Path, publisher: Any, make_publisher: Any, make_device: Any) -> Pair:
    clinical = make_publisher("clinical", first_key=10)
    made = Pair(tmp_path / "state", {"engineering": publisher, "clinical": clinical}, make_device)
    made.publish(b"first")
    made.run("engineering", "clinical")
    return made


def documents(views: dict[str, AuthorityView]) -> dict[str, bytes]:
    return {name: view.documents[PAIR[name]].data for name, view in views.items()}


class Breaks:
    """Serves until the numbered request, and then does something else."""

    def __init__(self, folder: Path, number: int, act: Any) -> None:
        self.folder, self.left, self.act = FolderFetcher(folder), number, act

    def fetch(self, url: str, *, max_bytes: int, offset: int = 0) -> Iterator[bytes]:
        self.left -= 1
        if self.left == 0:
            self.act(url)
        yield from self.folder.fetch(url, max_bytes=max_bytes, offset=offset)


def unplug(url: str) -> None:
    raise FailedError("cut", reason=Reason.TRANSPORT_UNREACHABLE, where=url)


@pytest.mark.parametrize("request_number", [1, 2, 3, 4, 5])
def test_x03_refresh_that_fails_half_way_leaves_that_half_of_the_pair_as_it_was(
    pair: Pair, request_number: int
) -> None:
    """Engineering moves on, clinical breaks off at each of its requests: its view stays whole."""
    before = pair.views()
    pair.publish(b"second")
    clinical = pair.publishers["clinical"]
    with pytest.raises(PrimumError):
        pair.run("engineering", "clinical", fetcher=Breaks(clinical.folder, request_number, unplug))
    after = pair.views()
    assert documents(after) == {"engineering": b"second", "clinical": b"first"}
    assert after["clinical"].view_id == before["clinical"].view_id
    assert bool(after["clinical"].awaited) == (request_number > 2)
    pair.run("engineering", "clinical")
    assert documents(pair.views()) == {"engineering": b"second", "clinical": b"second"}


@pytest.mark.parametrize("request_number", [1, 3, 5])
def test_x03_power_cut_between_the_two_leaves_the_last_consistent_pair(
    pair: Pair, request_number: int
) -> None:
    """Killed while clinical is asked, after engineering was kept: each half is whole."""
    before = pair.views()
    pair.publish(b"second")
    clinical = pair.publishers["clinical"]
    dies = Breaks(clinical.folder, request_number, lambda _: os.kill(os.getpid(), signal.SIGKILL))
    pid = os.fork()
    if not pid:
        try:
            pair.run("engineering", "clinical", fetcher=dies)
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    after = pair.views()
    assert documents(after) == {"engineering": b"second", "clinical": b"first"}
    assert after["clinical"].view_id == before["clinical"].view_id
    pair.run("engineering", "clinical")
    assert documents(pair.views()) == {"engineering": b"second", "clinical": b"second"}


def test_x04_proof_of_two_contents_survives_in_the_journal(pair: Pair) -> None:
    """The timestamp of one version is served twice; the journal keeps both, the view stays."""
    before = pair.views()
    clinical = pair.publishers["clinical"]
    clinical.timestamp.version -= 1
    clinical.timestamp.unrecognized_fields["said"] = "to others"
    clinical.publish_timestamp()
    pair.run("clinical")
    journal = pair.journal()
    kept = JournalTrustStore(journal, "clinical").load()
    journal.close()
    assert kept is not None
    (proof,) = kept.proofs.values()
    assert b"to others" in proof
    assert pair.views()["clinical"].view_id == before["clinical"].view_id
    pair.publish(b"second")
    pair.run("engineering", "clinical")
    assert documents(pair.views()) == {"engineering": b"second", "clinical": b"second"}
