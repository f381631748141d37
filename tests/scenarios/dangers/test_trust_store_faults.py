"""The trust store in a folder: many processes, killed writers, damaged files, a read-only disk."""

from __future__ import annotations

import errno
import os
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest

from primum_verifier.core.errors import PrimumError
from primum_verifier.core.reasons import Reason
from primum_verifier.shell import cli, trust_store
from primum_verifier.shell.durable import storage_error
from primum_verifier.shell.fetching import FolderFetcher
from primum_verifier.shell.trust_store import FolderTrustStore

SECOND = timedelta(seconds=1)
MANIFEST = "releases/pvc/1.0.0/manifest.json"
DONE, REFUSED, FAILED, BUSY = 0, 1, 3, 4
NOT_REACHED = 50
"""The exit code of a run that had fewer steps than were wanted."""

NOBODY = 65534


def child(work: Callable[[], object]) -> int:
    """Start a process of our own that does ``work`` and ends with its exit code."""
    if pid := os.fork():
        return pid
    code = 99
    try:
        work()
        code = DONE
    except PrimumError as error:
        code = error.exit_code
    finally:
        os._exit(code)


def exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Waiting:
    """A repository whose first file comes only when the test lets it come."""

    def __init__(self, folder: Path) -> None:
        self.folder = FolderFetcher(folder)
        self.inside, self.told = os.pipe()
        self.go, self.let_go = os.pipe()

    def fetch(self, url: str, *, max_bytes: int, offset: int = 0) -> Iterator[bytes]:
        os.write(self.told, b"x")
        if self.let_go:
            # Only the test holds this end now: when it dies, nobody waits for it.
            os.close(self.let_go)
            self.let_go = 0
        os.read(self.go, 1)
        yield from self.folder.fetch(url, max_bytes=max_bytes, offset=offset)

    def until_inside(self) -> None:
        assert os.read(self.inside, 1)


@pytest.mark.parametrize("stopped", [False, True], ids=["at_work", "stopped"])
def test_d09_whoever_comes_second_is_told_at_once(
    publisher: Any, device: Any, stopped: bool
) -> None:
    """Twenty processes over one folder: one works, or hangs stopped, and the others end busy."""
    publisher.publish()
    holding = Waiting(publisher.folder)
    device.fetcher = holding
    first = child(lambda: device.run(MANIFEST))
    holding.until_inside()
    if stopped:
        os.kill(first, signal.SIGSTOP)
    device.fetcher = None
    before = device.files()
    others = [child(lambda: device.run(MANIFEST)) for _ in range(19)]
    assert {exit_code(pid) for pid in others} == {BUSY}
    assert device.files() == before
    if stopped:
        os.kill(first, signal.SIGCONT)
    os.write(holding.let_go, b"x" * 20)
    assert exit_code(first) == DONE
    assert device.versions()["timestamp"] == 2
    device.next_run_succeeds()


def test_d09_lock_of_a_dead_process_holds_nobody(publisher: Any, device: Any) -> None:
    """Killed while it fetched: the next run starts at once, and sweeps what was left."""
    publisher.publish()
    holding = Waiting(publisher.folder)
    device.fetcher = holding
    pid = child(lambda: device.run(MANIFEST))
    holding.until_inside()
    os.kill(pid, signal.SIGKILL)
    assert exit_code(pid) == -signal.SIGKILL
    device.fetcher = None
    assert list(device.scratch.iterdir()), "the killed run left its scratch folder"
    age(device.scratch)
    device.next_run_succeeds()


def test_d09_processes_that_all_run_freely_leave_one_whole_set(publisher: Any, device: Any) -> None:
    """Whatever the order, each ends done or busy, and what is kept is what is published."""
    publisher.publish()
    codes = [exit_code(pid) for pid in [child(lambda: device.run(MANIFEST)) for _ in range(20)]]
    assert set(codes) <= {DONE, BUSY}
    assert DONE in codes
    assert device.versions()["timestamp"] == 2
    before = device.files()
    device.run(MANIFEST)
    device.assert_untouched(before)
    device.next_run_succeeds()


def age(folder: Path) -> None:
    """Make what lies there as old as if the device had been started again."""
    for path in folder.iterdir():
        os.utime(path, (0, 0))


STEPS = ("open", "replace", "fsync", "mkdir")


def at_step(number: int, act: Callable[[], object]) -> list[int]:
    """Do ``act`` instead of the numbered step of all that this process writes.

    Returns:
        The steps that are left until then, as they are counted down.
    """
    left = [number]
    for name in STEPS:
        real = getattr(os, name)

        def hooked(*words: Any, _real: Any = real, _name: str = name, **more: Any) -> Any:
            if _name != "open" or words[1] & os.O_CREAT:
                left[0] -= 1
                if left[0] == 0:
                    act()
            return _real(*words, **more)

        setattr(os, name, hooked)
    return left


def interrupted_everywhere(
    publisher: Any, device: Any, act: Callable[[], object], *, steps: range = range(1, 400)
) -> list[int]:
    """Update once for each step, with ``act`` at that step; the exit codes, until none is left."""
    codes = []
    for number in steps:
        publisher.publish()
        floors = device.floors()

        def update(number: int = number) -> None:
            left = at_step(number, act)
            device.run(MANIFEST)
            if left[0] > 0:
                os._exit(NOT_REACHED)

        codes.append(exit_code(child(update)))
        now = device.floors()
        assert all(now[name] >= version for name, version in floors.items())
        age(device.scratch)
        device.run(MANIFEST)
        assert device.versions()["timestamp"] == publisher.timestamp.version
        assert not list(device.scratch.iterdir())
        assert not [path for path in device.folder.rglob("*") if path.suffix == ".partial"]
        if codes[-1] == NOT_REACHED:
            break
    return codes[:-1]


def test_d01_writer_killed_at_each_step_loses_nothing(publisher: Any, device: Any) -> None:
    """Killed before each file, rename and sync of a run; the next run needs no repair."""
    codes = interrupted_everywhere(publisher, device, lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert set(codes) == {-signal.SIGKILL}
    assert len(codes) > 40
    device.next_run_succeeds()


@pytest.mark.parametrize(
    ("number", "first"), [(errno.ENOSPC, 1), (errno.EIO, 2)], ids=["full", "failing"]
)
def test_d03_disk_that_fails_at_each_step_is_told(
    publisher: Any, device: Any, number: int, first: int
) -> None:
    """A full or failing disk at every other step: a reason, no traceback, nothing lost."""

    def fail() -> NoReturn:
        raise OSError(number, os.strerror(number))

    codes = interrupted_everywhere(publisher, device, fail, steps=range(first, 400, 2))
    assert set(codes) <= {FAILED, DONE}
    assert len(codes) > 15
    assert codes.count(FAILED) > 12
    device.next_run_succeeds()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "emptied": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "overwritten": lambda path: path.write_bytes(b"\x00" * path.stat().st_size),
    "deleted": lambda path: path.unlink(),
}
FILES = [
    *("root.json", "timestamp.json", "snapshot.json", "targets.json", "model.json"),
    *("root_history/1.root.json", "root_history/2.root.json"),
    *("primum.floors", "primum.floors.copy"),
]


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", FILES)
def test_damaged_file_lets_nothing_old_in_and_is_mended(
    publisher: Any, device: Any, name: str, damage: str
) -> None:
    """Each file in turn; yesterday's repository stays refused, and today's repairs the file."""
    old = publisher.all_files()
    publisher.publish_root()
    publisher.publish()
    device.run(MANIFEST)
    whole, floors = device.files(), device.floors()
    DAMAGE[damage](device.trusted / name)
    newest = publisher.all_files()
    (publisher.folder / "metadata" / "2.root.json").unlink()
    publisher.restore(old)
    before = device.files()
    with pytest.raises(PrimumError) as caught:
        device.run(MANIFEST)
    assert caught.value.reason is Reason.TRUST_ROLLBACK
    repaired = {"root.json", *(file for file in FILES if "history" in file)}
    device.assert_untouched(
        {file: data for file, data in before.items() if "floors" not in file}, accepted=repaired
    )
    assert device.floors() == floors
    publisher.restore(newest)
    device.run(MANIFEST)
    assert device.files() == whole
    device.next_run_succeeds()


@pytest.mark.parametrize("damage", ["emptied", "truncated", "overwritten"])
def test_both_copies_of_the_floors_damaged_stop_the_client(
    publisher: Any, device: Any, damage: str
) -> None:
    """Without floors an old repository would look new: a person must look, nothing is rewritten."""
    whole = device.files()
    for name in ("primum.floors", "primum.floors.copy"):
        DAMAGE[damage](device.trusted / name)
    before = device.files()
    with pytest.raises(PrimumError) as caught:
        device.run(MANIFEST)
    assert caught.value.reason is Reason.STATE_DAMAGED
    assert "copy" in caught.value.remedy
    assert device.files() == before
    (device.trusted / "primum.floors").write_bytes(whole["primum.floors"])
    del publisher
    device.next_run_succeeds()


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """A folder that another user may look into."""
    tmp_path.chmod(0o755)
    return tmp_path


def as_reader(device: Any, work: Callable[[], object]) -> int:
    """Do ``work`` as a user who may read the trust store and write nothing in it."""
    for path in (device.trusted, *device.trusted.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    device.scratch.chmod(0o777)

    def read() -> None:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        work()

    code = exit_code(child(read))
    for path in (device.trusted, *device.trusted.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return code


def test_d02_read_only_trust_serves_as_long_as_nothing_is_new(
    make_device: Any, publisher: Any, open_folder: Path
) -> None:
    """Works from what it has; when something new would have to be kept, it says why it cannot."""
    device = make_device(publisher, open_folder / "device")
    device.run(MANIFEST)
    before = device.files()
    later = publisher.now + SECOND
    assert as_reader(device, lambda: device.run(MANIFEST, at=later)) == DONE
    assert device.files() == before
    publisher.publish()

    def told() -> None:
        with pytest.raises(PrimumError) as caught:
            device.run(MANIFEST)
        assert caught.value.reason is Reason.STATE_READ_ONLY

    assert as_reader(device, told) == DONE
    assert device.files() == before
    device.next_run_succeeds()


def test_d02_floors_that_would_be_lost_are_no_trifle(
    make_device: Any, publisher: Any, open_folder: Path
) -> None:
    """Read-only, nothing new, and the files of the floors are gone: they must be written."""
    device = make_device(publisher, open_folder / "device")
    device.run(MANIFEST)
    for name in ("primum.floors", "primum.floors.copy"):
        (device.trusted / name).unlink()
    assert as_reader(device, lambda: device.run(MANIFEST)) == FAILED
    device.next_run_succeeds()


def test_d03_full_disk_is_told_although_nothing_is_new(
    publisher: Any, device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a read-only disk is tolerated: one that fails will lose more than a time."""

    def full(path: Path, data: bytes) -> NoReturn:
        del data
        raise storage_error(OSError(errno.ENOSPC, "full"), path)

    with monkeypatch.context() as broken:
        broken.setattr(trust_store, "write_file", full)
        device.survives(Reason.RESOURCE_STORAGE, MANIFEST, at=publisher.now + SECOND)
    device.next_run_succeeds()


def test_d02_fetch_over_a_read_only_folder(
    make_device: Any, publisher: Any, open_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The command itself: done while nothing is new, state.read-only when something is."""
    device = make_device(publisher, open_folder / "device")
    device.run(MANIFEST)
    root = open_folder / "1.root.json"
    root.write_bytes(publisher.first_root)
    words = [
        *("fetch", "--trusted-root", str(root), "--metadata-dir", str(device.trusted)),
        *("--metadata-url", f"{publisher.folder.as_uri()}/metadata/"),
        *("--at", "2026-06-01T12:00:01Z"),
    ]

    def fetch() -> None:
        code = cli.main(words)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    assert as_reader(device, fetch) == DONE
    publisher.publish()
    assert as_reader(device, fetch) == FAILED
    assert "state.read-only" in capfd.readouterr().err
    device.next_run_succeeds()


def test_d02_trust_store_that_cannot_be_a_folder_is_told(device: Any, tmp_path: Path) -> None:
    """A file stands where the folder should be, or the folder has no place to be made in."""
    (tmp_path / "file").write_bytes(b"")
    mine = device.store
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        device.store = FolderTrustStore(path)
        with pytest.raises(PrimumError) as caught:
            device.run(MANIFEST)
        assert caught.value.reason is Reason.RESOURCE_STORAGE
    device.store = mine
    device.next_run_succeeds()


def test_d02_nowhere_to_work_is_told(device: Any, open_folder: Path) -> None:
    """No scratch folder can be made: a reason and a remedy."""
    before = device.files()
    real, missing = device.scratch, open_folder / "missing"
    client = device.client
    made = client()
    made._scratch = missing
    device.client = lambda: made
    with pytest.raises(PrimumError) as caught:
        device.run(MANIFEST)
    assert caught.value.reason in {Reason.RESOURCE_STORAGE, Reason.STATE_READ_ONLY}
    device.client = client
    assert real.is_dir()
    device.assert_untouched(before)
    device.next_run_succeeds()


def test_scratch_folder_of_a_living_run_is_not_swept(publisher: Any, device: Any) -> None:
    """Old as it may look, its lock is held."""
    publisher.publish()
    holding = Waiting(publisher.folder)
    device.fetcher = holding
    pid = child(lambda: device.run(MANIFEST))
    holding.until_inside()
    age(device.scratch)
    living = list(device.scratch.iterdir())
    device.fetcher, mine = None, device.store
    device.store = FolderTrustStore(device.folder / "another")
    device.run(MANIFEST)
    assert list(device.scratch.iterdir()) == living
    device.store = mine
    os.write(holding.let_go, b"x" * 20)
    assert exit_code(pid) == DONE
    device.next_run_succeeds()


# A repository that is a plain folder: a stick, or a gateway's disk.


def spoil(path: Path, kind: str, *, outside: Path) -> None:
    """Put something that is no plain file, or no end of one, in place of a file."""
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "link_out_of_the_stick":
        secret = outside / "secret.json"
        secret.write_bytes(b"{}")
        path.symlink_to(secret)
    elif kind == "link_to_a_device":
        path.symlink_to("/dev/zero")
    elif kind == "link_to_itself":
        path.symlink_to(path)
    elif kind == "endless":
        with path.open("wb") as file:
            file.truncate(10**12)
    elif kind == "device":
        try:
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
        except PermissionError:
            pytest.skip("this user may make no device nodes")


SPOILED = {
    "pipe": {Reason.TRANSPORT_STATUS},
    "folder": {Reason.TRANSPORT_STATUS},
    "device": {Reason.TRANSPORT_STATUS},
    "link_out_of_the_stick": {Reason.TRANSPORT_INSECURE},
    "link_to_a_device": {Reason.TRANSPORT_INSECURE},
    "link_to_itself": {Reason.TRANSPORT_UNREACHABLE},
    "endless": {Reason.TRUST_LIMIT, Reason.ARTIFACT_SIZE},
}


@pytest.mark.parametrize("kind", SPOILED)
@pytest.mark.parametrize("place", ["timestamp.json", "manifest"])
def test_stick_with_something_else_than_files_is_refused(
    publisher: Any, device: Any, place: str, kind: str
) -> None:
    """No pipe hangs the device, no link leads out, nothing is read without end."""
    target = "releases/pvc/2.0.0/manifest.json"
    info = publisher.add(target, b'{"release":2}', role="model")
    publisher.publish()
    path = publisher.folder / "metadata" / "timestamp.json"
    if place == "manifest":
        digest = info.hashes["sha256"]
        path = publisher.folder / "targets/releases/pvc/2.0.0" / f"{digest}.manifest.json"
    whole = path.read_bytes()
    spoil(path, kind, outside=publisher.folder.parent)
    rightly = {f"{role}.json" for role in ("timestamp", "snapshot", "targets", "model")}
    device.survives(SPOILED[kind], target, accepted=rightly if place == "manifest" else ())
    with suppress(IsADirectoryError):
        path.unlink()
    if path.is_dir():
        path.rmdir()
    path.write_bytes(whole)
    assert device.run(target) == {target: b'{"release":2}'}
    device.next_run_succeeds()


def test_stick_with_links_inside_itself_is_read(publisher: Any, device: Any) -> None:
    """A copy tool may link equal files; what lies on the stick is the stick's."""
    publisher.publish()
    path = publisher.folder / "metadata" / "timestamp.json"
    path.rename(path.with_name("kept"))
    path.symlink_to("kept")
    device.run(MANIFEST)
    assert device.versions()["timestamp"] == 2
    path.unlink()
    device.next_run_succeeds()
