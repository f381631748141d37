"""A real ext4 whose every write is known: recorded once, and put together again as a cut left it.

A disk holds for certain what was written before a flush that it answered.  Of what came after
that, any part may be on the medium when the power goes, in any order; what a cut leaves is chosen
by a :class:`Kept`.  Of two writes to one place the later one wins, and a sector of 512 bytes is
written whole or not at all.

For Linux, as root, with FUSE and loop devices: :func:`cannot` says what is missing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path

from tests.campaigns.crash_worlds import CHECKOUT
from tests.campaigns.power_disk import FLUSH, Write, read_log

MIB = 32
"""The size of the disk: a state folder of a device with small models, several times over."""

SECTOR = 512
_NEW_NAMESPACE = 0x0002_0000
_RECURSIVE_PRIVATE = 0x4000 | 1 << 18
_MKFS = ("mkfs.ext4", "-q", "-b", "4096", "-J", "size=4", "-E",
         "lazy_itable_init=0,lazy_journal_init=0,nodiscard")  # fmt: skip
_TOOLS = ("mkfs.ext4", "mount", "umount")


class Kept(StrEnum):
    """What of the unflushed writes is on the medium when the power goes."""

    ALL = "all"
    """Every write, in order."""

    NONE = "none"
    """Nothing that no flush made certain."""

    SOME = "some"
    """Some, drawn one by one: what a disk that reorders leaves."""

    TORN = "torn"
    """Every write but the last, of which only some sectors came through."""


def cannot() -> str:
    """Why this machine cannot; empty where it can."""
    if os.geteuid() != 0:
        return "mounting an ext4 needs root"
    if missing := [name for name in _TOOLS if _tool(name) is None]:
        return f"{', '.join(missing)} is missing"
    if not Path("/dev/fuse").exists() or not Path("/dev/loop-control").exists():
        return "/dev/fuse or /dev/loop-control is missing"
    with tempfile.TemporaryDirectory(prefix="primum-power-") as folder:
        try:
            target = Path(folder) / "mount"
            target.mkdir()
            with recording(_empty_image(Path(folder)), Path(folder), target):
                return ""
        except (OSError, subprocess.CalledProcessError) as error:
            return f"an ext4 over a loop device over FUSE cannot be mounted: {error}"


def _tool(name: str) -> str | None:
    """Administration's tools are not on everybody's path."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def _do(name: str, *words: str | Path) -> None:
    """Run one of the tools.

    Raises:
        OSError: it failed, with what it said.
    """
    done = subprocess.run(
        [_tool(name) or name, *words], check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise OSError(f"{name}: {done.stderr.strip() or done.returncode}")


def room_of_ones_own(target: Path) -> None:
    """Something else than on the disk lies at ``target`` from here on, for this process alone."""
    _do("mount", "-t", "tmpfs", "none", target)


def keep_mounts_to_oneself() -> None:
    """Whatever this process mounts ends with it, and nobody else sees it."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(_NEW_NAMESPACE) or library.mount(
        b"none", b"/", None, _RECURSIVE_PRIVATE, None
    ):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@contextlib.contextmanager
def _mounted(image: Path, target: Path) -> Iterator[Path]:
    """An image in its place."""
    _do("mount", "-t", "ext4", "-o", "loop", image, target)
    try:
        yield target
    finally:
        _do("umount", target)


def _empty_image(folder: Path) -> Path:
    image = folder / "base.img"
    with image.open("wb") as made:
        made.truncate(MIB * 1024 * 1024)
    _do(_MKFS[0], *_MKFS[1:], image)
    return image


def image_with(state: Path, folder: Path, target: Path) -> Path:
    """An image in ``folder`` that is a copy of a state folder, unmounted and clean."""
    image = _empty_image(folder)
    with _mounted(image, target):
        # The tools of the file system would make it anew; the agent has no such folder.
        (target / "lost+found").rmdir()
        subprocess.run(["cp", "-a", "--", f"{state}/.", target], check=True)
    return image


@contextlib.contextmanager
def recording(image: Path, folder: Path, target: Path) -> Iterator[Callable[[], int]]:
    """An ext4 over that image whose every write is remembered in ``folder/log``.

    Args:
        image: what the disk holds to begin with.
        folder: where the log goes.
        target: where it is mounted while the block runs.

    Yields:
        What says how many records there are by now.
    """
    disk, log = folder / "disk", folder / "log"
    disk.touch()
    words = [sys.executable, "-m", "tests.campaigns.power_disk", *map(str, (image, log, disk))]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT) as server:
        assert server.stdout is not None
        if not server.stdout.readline():
            raise OSError("the disk does not stand")
        try:
            with _mounted(disk, target):
                yield lambda: len(read_log(log))
        finally:
            _do("umount", disk)


class Ext4:
    """A recorded ext4, cut as often as one likes.

    Args:
        folder: where ``base.img`` and ``log`` lie.
        work: a folder of one's own for the image.
        state: the state folder, where the image is mounted: nobody else may see that.
        begun: the first record that counts.
    """

    def __init__(self, folder: Path, work: Path, state: Path, *, begun: int) -> None:
        self._base = folder / "base.img"
        self._log = read_log(folder / "log")
        self._image = work / "cut.img"
        self._target = state
        self._begun = begun

    def __len__(self) -> int:
        """How many records there are."""
        return len(self._log)

    def cuts(self, draws: Sequence[int]) -> Iterator[tuple[Kept, int, int]]:
        """Each way to cut: what is kept, after how many records, and which draw.

        Args:
            draws: numbers of the draws, for what is drawn.
        """
        for position in range(self._begun, len(self._log) + 1):
            last = self._log[position - 1]
            if last is FLUSH:
                continue
            yield Kept.ALL, position, 0
            yield Kept.NONE, position, 0
            for draw in draws:
                if len(self._uncertain(position)) > 1:
                    yield Kept.SOME, position, draw
                if len(last.data) > SECTOR:
                    yield Kept.TORN, position, draw

    def about(self, position: int) -> str:
        """What was written last, for people."""
        last = self._log[position - 1]
        what = "a flush" if last is FLUSH else f"{len(last.data)} bytes at {last.offset}"
        return f"after record {position} of {len(self._log)}: {what}"

    @contextlib.contextmanager
    def laid(self, kept: Kept, position: int, draw: int) -> Iterator[None]:
        """The state folder as a cut leaves it, once the file system has recovered.

        Raises:
            OSError: the file system cannot be mounted.
        """
        shutil.copyfile(self._base, self._image)
        with self._image.open("r+b") as image:
            for item in self._surviving(kept, position, draw):
                image.seek(item.offset)
                image.write(item.data)
        with _mounted(self._image, self._target):
            yield

    def _certain(self, position: int) -> int:
        """How many records the last flush covers."""
        while position and self._log[position - 1] is not FLUSH:
            position -= 1
        return position

    def _uncertain(self, position: int) -> list[Write]:
        found = self._log[self._certain(position) : position]
        return [item for item in found if item is not None]

    def _surviving(self, kept: Kept, position: int, draw: int) -> Iterator[Write]:
        yield from (item for item in self._log[: self._certain(position)] if item is not None)
        drawn = random.Random(f"{position}:{draw}")
        unflushed = self._uncertain(position)
        if kept is Kept.ALL:
            yield from unflushed
        elif kept is Kept.SOME:
            yield from (item for item in unflushed if drawn.random() < 0.5)
        elif kept is Kept.TORN:
            *whole, last = unflushed
            yield from whole
            for start in range(0, len(last.data), SECTOR):
                if drawn.random() < 0.5:
                    yield Write(last.offset + start, last.data[start : start + SECTOR])
