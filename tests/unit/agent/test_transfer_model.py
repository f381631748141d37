"""Any sequence of cuts, changed files and wrong ranges, over any number of attempts and power cuts.

The servers are played in memory, the store and its files are real.  However it goes: under the
final name lie the right bytes or nothing, the bytes taken from the network stay bounded, and once
the servers are honest the next attempt brings the file to its end.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

from hypothesis import event, given, settings
from hypothesis import strategies as st

from primum_agent.content_store import FolderStore
from primum_agent.layout import Layout
from primum_agent.transfer import Transfer
from primum_verifier.core.errors import FailedError, PrimumError, RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.fetching import AskedToWaitError, Body, NotThereError

DATA = bytes(range(200))
OTHER = DATA[:120] + bytes(80)
DIGEST = hashlib.sha256(DATA).hexdigest()
PIECE = 13

ACTS = st.one_of(
    st.tuples(st.just("cut"), st.integers(0, 200)),
    st.tuples(st.just("other bytes"), st.integers(0, 200)),
    st.tuples(st.just("begins anew"), st.integers(0, 200)),
    st.tuples(st.just("ends early"), st.integers(0, 200)),
    st.tuples(st.sampled_from(["longer", "absent", "busy", "other range", "down"]), st.just(0)),
)
BETWEEN = st.sampled_from(["goes on", "killed", "power cut", "power cut and garbage", "spoilt"])


@dataclass
class Servers:
    """Mirrors that do what they are told, and then are honest."""

    acts: list[list[tuple[str, int]]]
    sent: int = 0
    told: list[str] = field(default_factory=list)

    def bases(self) -> list[str]:
        return [f"{number}/" for number in range(len(self.acts))]

    def failed(self, base: str, error: PrimumError, *, lied: bool) -> None:
        del error
        self.told.append(f"{base} {'lied' if lied else 'failed'}")

    def worked(self, base: str) -> None:
        self.told.append(f"{base} worked")

    def fetch(self, url: str, *, max_bytes: int, offset: int = 0) -> Iterator[bytes]:
        raise NotImplementedError

    @contextmanager
    def open(
        self, url: str, *, max_bytes: int, offset: int = 0, validator: str = ""
    ) -> Generator[Body]:
        acts = self.acts[int(url.partition("/")[0])]
        act, most = acts.pop(0) if acts else ("honest", len(DATA))
        data = OTHER if act == "other bytes" else DATA
        start = offset
        if act == "absent":
            raise NotThereError(url, 404)
        if act == "busy":
            raise AskedToWaitError(url, status=503, seconds=most)
        if act in {"other range", "down"}:
            raise FailedError("no", reason=Reason.TRANSPORT_STATUS, where=url)
        if act == "begins anew" or (act == "other bytes" and validator):
            start = 0
        length = len(data) + 1 if act == "longer" else len(data)

        def pieces() -> Iterator[bytes]:
            end = len(data) if act in {"honest", "other bytes"} else min(len(data), start + most)
            for at in range(start, end, PIECE):
                piece = data[at : min(at + PIECE, end)]
                self.sent += len(piece)
                yield piece
            if act == "cut":
                raise FailedError("cut", reason=Reason.TRANSPORT_INTERRUPTED, where=url)

        assert max_bytes >= len(DATA) - offset
        yield Body(start, length, '"tag"', pieces())


def attempt(store: FolderStore, servers: Servers, boot: str) -> PrimumError | None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    transfer = Transfer(
        fetcher=servers,
        mirrors=servers,
        total_seconds=10_000,
        monotonic=lambda: now[0],
        sleep=sleep,
    )
    before = servers.sent
    try:
        partial = store.partial(DIGEST, length=len(DATA), boot=boot)
        transfer.receive(partial, take=store.complete)
    except PrimumError as error:
        return error
    finally:
        bound = len(DATA) * (len(servers.acts) + 2)
        assert servers.sent - before <= bound
        assert transfer.received == servers.sent - before
    return None


def left(layout: Layout, what: str) -> None:
    """What happens to the unfinished file between two attempts."""
    path = layout.partial / DIGEST
    if not path.is_file():
        return
    with path.open("r+b") as file:
        size = path.stat().st_size
        if what == "power cut":
            file.truncate(size // 2)
        elif what == "power cut and garbage":
            file.seek(size // 2)
            file.write(bytes(size - size // 2))
        elif what == "spoilt" and size:
            file.write(b"\xff")


@settings(max_examples=60)
@given(
    mirrors=st.lists(st.lists(ACTS, max_size=6), min_size=1, max_size=3),
    between=st.lists(BETWEEN, max_size=5),
)
def test_any_course_ends_with_the_right_file_or_none(
    mirrors: list[list[tuple[str, int]]], between: list[str]
) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        patch("primum_agent.transfer.PROGRESS_BYTES", 8),
        patch("primum_agent.partial_files.CHECKPOINT_SECONDS", 0.0),
    ):
        layout = Layout(Path(folder))
        store = FolderStore(layout)
        store.prepare()
        servers, boot = Servers(mirrors), 0
        for what in between:
            error = attempt(store, servers, f"boot-{boot}")
            if error is None:
                assert store.verify(DIGEST)
                break
            assert not store.holds(DIGEST)
            if isinstance(error, RefusedError):
                event("refused")
                assert not (layout.partial / DIGEST).exists()
            boot += what.startswith("power")
            left(layout, what)
        for acts in servers.acts:
            acts.clear()
        # What a disk spoilt is found out by the digest; then the whole comes once more.
        if not store.holds(DIGEST):
            assert attempt(store, servers, f"boot-{boot}") is None
        assert store.path_of(DIGEST).read_bytes() == DATA
        assert list(layout.partial.iterdir()) == []
