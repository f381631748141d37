"""Receiving one file from mirrors that cut, lie, stall and forget: every byte once.

Real sockets, a real store; only the pauses are not slept.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.unit.agent.hostile_server import HostileServer, Mood

from primum_agent.content_store import FolderStore
from primum_agent.layout import Layout
from primum_agent.pacing import Pace
from primum_agent.partial_files import PartialFile
from primum_agent.transfer import MOST_EMPTY, Progress, Transfer
from primum_verifier.core.errors import FailedError, PrimumError, RefusedError, WaitingError
from primum_verifier.core.reasons import Reason
from primum_verifier.shell.http_fetching import HttpFetcher, Patience, Wire

MIB = 1024 * 1024
DATA = hashlib.shake_128(b"artifact").digest(4 * MIB)
DIGEST = hashlib.sha256(DATA).hexdigest()
OTHER = DATA[:-1] + bytes([DATA[-1] ^ 1])


@dataclass
class Known:
    """The mirrors of one test, and what was said of them."""

    servers: list[HostileServer]
    told: list[tuple[int, str, bool]] = field(default_factory=list)

    def bases(self) -> list[str]:
        return [f"{server.url}artifacts/" for server in self.servers]

    def failed(self, base: str, error: PrimumError, *, lied: bool) -> None:
        self.told.append((self.bases().index(base), str(error.reason), lied))

    def worked(self, base: str) -> None:
        self.told.append((self.bases().index(base), "worked", False))


@dataclass
class Receiver:
    """A store that receives the file, over mirrors of its own."""

    store: FolderStore
    layout: Layout
    known: Known
    boot: str = "boot-1"
    slept: list[float] = field(default_factory=list)
    patience: Patience = field(default_factory=Patience)
    watch: Callable[[Progress], None] = lambda _: None

    def receive(self, data: bytes = DATA, **terms: Any) -> int:
        """One attempt; the bytes that came."""
        digest = hashlib.sha256(data).hexdigest()
        transfer = Transfer(
            fetcher=HttpFetcher(Wire(allow_http=True), patience=self.patience),
            mirrors=self.known,
            total_seconds=60,
            sleep=self.slept.append,
            **{"watch": self.watch, **terms},
        )
        partial = self.store.partial(digest, length=len(data), boot=self.boot)
        transfer.receive(partial, take=self.store.complete)
        return transfer.received

    def received(self) -> bool:
        """Whether the file is there, right, and nothing else is."""
        return self.store.verify(DIGEST) and not self.left()

    def left(self) -> list[str]:
        return sorted(path.name for path in self.layout.partial.iterdir())

    @property
    def sent(self) -> int:
        """Body bytes that all servers handed to the network."""
        return sum(server.sent for server in self.known.servers)


@pytest.fixture
def receiver(layout: Layout, tmp_path: Path) -> Iterator[Receiver]:
    """Over two honest mirrors of the same folder."""
    folder = tmp_path / "web" / "artifacts"
    folder.mkdir(parents=True)
    (folder / DIGEST).write_bytes(DATA)
    store = FolderStore(layout)
    store.prepare()
    servers = [HostileServer(folder.parent), HostileServer(folder.parent)]
    yield Receiver(store, layout, Known(servers))
    for server in servers:
        server.close()


def counted_syncs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every sync from now on; each is done."""
    synced: list[int] = []

    def counting(real: Callable[[int], None]) -> Callable[[int], None]:
        def sync(descriptor: int) -> None:
            synced.append(descriptor)
            real(descriptor)

        return sync

    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, counting(getattr(os, name)))
    return synced


def test_every_byte_comes_once_from_the_first_mirror(receiver: Receiver) -> None:
    assert receiver.receive() == len(DATA)
    assert receiver.received()
    assert receiver.sent == len(DATA)
    assert receiver.known.told == [(0, "worked", False)]
    assert oct((receiver.store.path_of(DIGEST)).stat().st_mode & 0o777) == "0o440"


def test_an_artifact_costs_few_syncs(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file once and its folder once, where it came faster than a checkpoint is due."""
    synced = counted_syncs(monkeypatch)
    receiver.receive()
    assert len(synced) == 2


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_n02_link_cut_five_times_goes_on_where_it_stopped(receiver: Receiver, share: float) -> None:
    """Each answer is cut after a share of what is left; the bytes on the wire are counted."""
    cuts = [1, 2, 3, 4, 5]

    def mood(server: HostileServer) -> Mood | None:
        if not cuts:
            return None
        cuts.pop()
        return Mood(cut_after=int((len(DATA) - server.asked[-1].offset) * share))

    first, second = receiver.known.servers
    first.mood_of, second.mood_of = lambda _: mood(first), lambda _: mood(second)
    receiver.receive()
    assert receiver.received()
    assert receiver.sent < 1.2 * len(DATA)
    assert len(first.asked) + len(second.asked) == 6
    assert first.asked[1].if_range, "the server's own name for the bytes goes with it"


def test_n02_link_cut_every_megabyte_costs_no_byte_twice(receiver: Receiver) -> None:
    server = receiver.known.servers[0]
    server.mood = Mood(cut_after=MIB - 1)
    receiver.receive()
    assert receiver.received()
    assert receiver.sent == len(DATA)
    assert len(server.asked) == 5
    assert not receiver.known.servers[1].asked, "a link that brings bytes is no failed mirror"


def test_n02_mirror_that_dies_in_the_middle_is_followed_by_the_next(receiver: Receiver) -> None:
    """The second goes on in the middle of the file: the digest names the same bytes there."""
    first, second = receiver.known.servers

    def mood(_: str) -> Mood:
        return Mood(cut_after=MIB) if len(first.asked) == 1 else Mood(cut_after=0)

    first.mood_of = mood
    receiver.receive()
    assert receiver.received()
    assert receiver.sent == len(DATA)
    assert second.asked[0].offset > 0
    assert second.asked[0].if_range == "", "another server's name for the bytes says nothing here"
    assert receiver.known.told == [(0, "transport.interrupted", False), (1, "worked", False)]


def test_n01_body_shorter_than_announced_is_asked_for_again_within_bounds(
    receiver: Receiver,
) -> None:
    """A server that announces all and sends next to nothing: bounded, then told in our words."""
    for server in receiver.known.servers:
        server.mood = Mood(cut_after=10)
    with pytest.raises(FailedError) as caught:
        receiver.receive()
    assert caught.value.reason is Reason.TRANSPORT_INTERRUPTED
    assert sum(len(server.asked) for server in receiver.known.servers) == 2 * MOST_EMPTY
    assert not receiver.store.holds(DIGEST)
    for server in receiver.known.servers:
        server.mood = Mood()
    receiver.receive()
    assert receiver.received()


def test_n01_broken_chunks_are_told_in_our_words(receiver: Receiver) -> None:
    """A foreign error of the library is no answer to anybody."""
    broken = Mood(status=200, headers=("Transfer-Encoding: chunked",), body=b"zz\r\n{", tag="")
    for server in receiver.known.servers:
        server.mood = broken
    with pytest.raises(FailedError) as caught:
        receiver.receive()
    assert caught.value.reason is Reason.TRANSPORT_INTERRUPTED


def test_n03_server_that_ignores_the_range_begins_anew(receiver: Receiver) -> None:
    """200 in place of 206: what was there does not count, and nothing is put together."""
    server = receiver.known.servers[0]
    server.mood_of = lambda _: Mood(cut_after=MIB) if len(server.asked) == 1 else None
    server.mood = Mood(ranges="ignored")
    receiver.receive()
    assert receiver.received()
    assert receiver.sent == len(DATA) + MIB


@pytest.mark.parametrize("ranges", ["shifted", "unnamed"])
def test_n03_answer_of_another_offset_is_not_taken(receiver: Receiver, ranges: str) -> None:
    """206 of another offset, or of none: the other mirror goes on."""
    first, second = receiver.known.servers
    first.mood_of = lambda _: Mood(cut_after=MIB) if len(first.asked) == 1 else None
    first.mood = Mood(ranges=ranges)
    receiver.receive()
    assert receiver.received()
    assert second.asked[0].offset > 0


def test_n03_file_that_changed_in_between_is_never_spliced(receiver: Receiver) -> None:
    """Cut, then another file under the same name: a server that validates sends it whole."""
    first, _ = receiver.known.servers
    first.mood_of = lambda _: Mood(cut_after=MIB) if len(first.asked) == 1 else None
    first.mood = Mood(body=OTHER)
    receiver.receive()
    assert receiver.received()
    assert first.asked[1].if_range
    assert (0, "artifact.digest", True) in receiver.known.told
    assert receiver.known.told[-1] == (1, "worked", False)


def test_n03_file_that_changed_behind_a_server_that_does_not_say_so(receiver: Receiver) -> None:
    """It goes on with the bytes of another file: the whole is taken once more, from one mirror."""
    first, second = receiver.known.servers
    first.mood_of = lambda _: Mood(cut_after=MIB) if len(first.asked) == 1 else None
    first.mood = Mood(body=OTHER, validates=False, tag='"same"')
    receiver.receive()
    assert receiver.received()
    assert [item.offset for item in first.asked[2:]] == [0], "whole, from one mirror"
    assert second.asked[0].offset == 0
    assert receiver.sent <= 3 * len(DATA)


def test_n04_mirror_with_wrong_bytes_is_left_for_the_second(receiver: Receiver) -> None:
    receiver.known.servers[0].mood = Mood(body=OTHER)
    receiver.receive()
    assert receiver.received()
    assert receiver.known.told == [(0, "artifact.digest", True), (1, "worked", False)]


def test_n04_mirror_with_a_file_of_another_length_costs_no_byte(receiver: Receiver) -> None:
    receiver.known.servers[0].mood = Mood(body=DATA + b"more")
    receiver.receive()
    assert receiver.received()
    assert receiver.known.told[0] == (0, "artifact.size", True)


def test_n04_what_every_mirror_holds_wrongly_is_refused(receiver: Receiver) -> None:
    for server in receiver.known.servers:
        server.mood = Mood(body=OTHER)
    with pytest.raises(RefusedError) as caught:
        receiver.receive()
    assert caught.value.reason is Reason.ARTIFACT_DIGEST
    assert receiver.left() == []
    assert not receiver.store.holds(DIGEST)


def test_two_mirrors_that_disagree_in_the_middle_of_a_file(receiver: Receiver) -> None:
    """The first dies, the second goes on with other bytes: found out, and taken whole from one."""
    first, second = receiver.known.servers
    first.mood_of = lambda _: (
        Mood(cut_after=MIB if len(first.asked) == 1 else 0) if len(first.asked) < 3 else None
    )
    second.mood = Mood(body=OTHER)
    receiver.receive()
    assert receiver.received()
    assert receiver.sent <= 3 * len(DATA)


def test_n05_server_that_asks_to_wait_is_left_for_the_other(receiver: Receiver) -> None:
    receiver.known.servers[0].mood = Mood(status=503, headers=("Retry-After: 315360000",))
    receiver.receive()
    assert receiver.received()
    assert receiver.slept == []


def test_n05_wait_of_ten_years_is_not_waited_for(receiver: Receiver) -> None:
    """What every server wishes is bounded; the attempt ends, and the next poll comes."""
    for server in receiver.known.servers:
        server.mood = Mood(status=429, headers=("Retry-After: 315360000",))
    with pytest.raises(FailedError) as caught:
        receiver.receive()
    assert caught.value.reason is Reason.TRANSPORT_STATUS
    assert receiver.slept == []
    assert [len(server.asked) for server in receiver.known.servers] == [1, 1]


def test_n05_short_wait_is_waited_for_with_jitter(receiver: Receiver) -> None:
    receiver.known.servers.pop().close()
    (server,) = receiver.known.servers
    server.mood_of = lambda _: (
        Mood(status=503, headers=("Retry-After: 4",)) if len(server.asked) == 1 else None
    )
    receiver.receive(draw=lambda: 0.0)
    assert receiver.received()
    assert receiver.slept == [pytest.approx(3.0, abs=0.2)]


def test_server_that_stalls_is_left_for_the_other(receiver: Receiver) -> None:
    first, second = receiver.known.servers
    first.mood = Mood(stall_after=MIB)
    receiver.patience = Patience(read_seconds=0.2)
    receiver.receive()
    assert receiver.received()
    assert second.asked[0].offset >= MIB


def test_server_slower_than_allowed_is_left_for_the_other(receiver: Receiver) -> None:
    """It sends, but less than an update needs: judged over a while, not by single pauses."""
    receiver.patience = Patience(least_rate=1e12, slow_seconds=0.0)
    with pytest.raises(FailedError) as caught:
        receiver.receive()
    assert caught.value.reason is Reason.TRANSPORT_INTERRUPTED
    assert [len(server.asked) for server in receiver.known.servers] == [1, 1]
    receiver.patience = Patience()
    before = receiver.sent
    receiver.receive()
    assert receiver.received()
    assert receiver.sent - before < len(DATA), "what came was kept"


def test_throttled_mirror_is_left_in_the_middle_and_the_next_goes_on(receiver: Receiver) -> None:
    """It sends steadily, and ten times slower than an update needs: nothing of it is lost."""
    first, second = receiver.known.servers
    first.mood = Mood(rate=500_000.0)
    receiver.patience = Patience(least_rate=5_000_000.0, slow_seconds=0.3)
    receiver.receive()
    assert receiver.received()
    assert second.asked[0].offset > 0
    assert second.sent == len(DATA) - second.asked[0].offset
    assert receiver.known.told == [(0, "transport.interrupted", False), (1, "worked", False)]


def test_slow_link_that_keeps_up_is_borne_with(receiver: Receiver) -> None:
    first, second = receiver.known.servers
    first.mood = Mood(rate=8_000_000.0)
    receiver.patience = Patience(least_rate=100_000.0, slow_seconds=0.1)
    receiver.receive()
    assert receiver.received()
    assert not second.asked


def test_a_started_file_goes_on_in_the_next_attempt_and_after_a_start(receiver: Receiver) -> None:
    """Interrupted, continued by another process in the same boot, and again after a reboot."""
    only = receiver.known.servers[0]
    receiver.known.servers.pop().close()
    only.mood_of = lambda _: Mood(cut_after=MIB if len(only.asked) == 1 else 0)
    with pytest.raises(FailedError):
        receiver.receive()
    assert receiver.left() == [DIGEST, f"{DIGEST}.note"]
    receiver.boot = "boot-2"
    only.mood_of = lambda _: None
    receiver.receive()
    assert receiver.received()
    assert only.asked[-1].offset >= MIB - 65536
    assert only.asked[-1].if_range, "the name of the bytes survived, too"
    assert receiver.sent < 1.2 * len(DATA)


def test_what_was_not_made_durable_is_not_believed_after_a_power_cut(receiver: Receiver) -> None:
    """Bytes beyond the last checkpoint are on no disk for sure; garbage there is not looked at."""
    partial = receiver.store.partial(DIGEST, length=len(DATA), boot="boot-1")
    partial.begin(origin="somebody", validator="")
    partial.write(DATA[:MIB])
    partial.checkpoint()
    partial.write(DATA[MIB : 2 * MIB])
    partial.close()
    again = receiver.store.partial(DIGEST, length=len(DATA), boot="boot-1")
    assert again.offset == 2 * MIB, "a killed process takes nothing from the disk"
    again.close()
    after = receiver.store.partial(DIGEST, length=len(DATA), boot="boot-2")
    assert after.offset == MIB
    after.close()
    with (receiver.layout.partial / DIGEST).open("r+b") as file:
        file.write(b"?")
    spoilt = receiver.store.partial(DIGEST, length=len(DATA), boot="boot-2")
    assert spoilt.offset == 0, "what does not have the digest noted of it is nothing"
    spoilt.close()
    receiver.receive()
    assert receiver.received()


@pytest.mark.parametrize(
    "note", [b"", b"{", b"[]", b'{"durable":-1}', b'{"durable":true}', b'{"x":1}', b"\xff" * 9000]
)
def test_a_note_that_a_cut_left_is_worth_nothing(receiver: Receiver, note: bytes) -> None:
    (receiver.layout.partial / DIGEST).write_bytes(b"?" * 100)
    (receiver.layout.partial / f"{DIGEST}.note").write_bytes(note)
    receiver.receive()
    assert receiver.received()


def test_whoever_watches_may_hold_it_and_it_goes_on_later(receiver: Receiver) -> None:
    """A gate shuts in the middle: what came is kept."""
    ticks = iter(range(10_000))

    def hold(progress: Progress) -> None:
        assert progress.length == len(DATA)
        if progress.done:
            raise WaitingError("paused", reason=Reason.TRANSPORT_METERED)

    with pytest.raises(WaitingError):
        receiver.receive(watch=hold, monotonic=lambda: float(next(ticks)) / 2)
    assert receiver.left() == [DIGEST, f"{DIGEST}.note"]
    receiver.receive()
    assert receiver.received()
    assert receiver.known.servers[0].asked[-1].offset > 0


def test_the_time_of_an_attempt_ends_it_and_what_came_is_kept(receiver: Receiver) -> None:
    ticks = iter(range(10_000))
    with pytest.raises(FailedError) as caught:
        receiver.receive(monotonic=lambda: float(next(ticks)) * 10)
    assert caught.value.reason is Reason.TRANSPORT_INTERRUPTED
    receiver.receive()
    assert receiver.received()


def test_checkpoints_are_few_however_slow_it_comes(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three checkpoints of two syncs, and the end: eight in all."""
    synced = counted_syncs(monkeypatch)
    minutes = iter(range(10_000))
    partial = PartialFile(
        receiver.layout.partial / DIGEST,
        sha256=DIGEST,
        length=len(DATA),
        boot="boot-1",
        monotonic=lambda: 60.0 * next(minutes),
    )
    partial.begin(origin="somebody", validator='"x"')
    for at in range(0, len(DATA), 65536):
        partial.write(DATA[at : at + 65536])
    receiver.store.complete(partial)
    assert receiver.received()
    assert len(synced) == 8


def test_a_bandwidth_is_kept_to() -> None:
    now, slept = [0.0], [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds
        slept[0] += seconds

    pace = Pace(1000.0, monotonic=lambda: now[0], sleep=sleep)
    for _ in range(100):
        pace(1000)
    assert now[0] == pytest.approx(100.0, abs=1.1)
    free = Pace(0.0, monotonic=lambda: now[0], sleep=sleep)
    before = slept[0]
    free(10**9)
    assert slept[0] == before
