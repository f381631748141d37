"""A disk that remembers every write and every flush: one file, served over FUSE.

A loop device over the file and a real ext4 on it make the page cache, the file system and its
journal part of what is tried; what reaches this file is what would have reached the medium.
Writes come unbuffered (``FOPEN_DIRECT_IO``), a flush comes as an ``fsync``.

Only what a loop device asks of a file is answered; for Linux, as root.

Usage: ``python -m tests.campaigns.power_disk IMAGE LOG MOUNTPOINT``, where all three are files.
The image is read once and never written.  One line comes out when the disk stands; it ends when
the file is unmounted.  The log is a sequence of records, see :func:`read_log`.
Sources: ``fuse(4)``, ``linux/fuse.h`` (protocol 7.31), ``loop(4)``.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_HEADER, _ANSWER = struct.Struct("<IIQQIIIHH"), struct.Struct("<IiQ")
_INIT_IN, _INIT_OUT = struct.Struct("<IIII"), struct.Struct("<IIIIHHIIHHI28x")
_ATTRIBUTES = struct.Struct("<QIIQQQQQQIIIIIIIIII")
_OPENED = struct.Struct("<QIi")
_MOVED = struct.Struct("<QQIIQII")
_WRITTEN = struct.Struct("<II")
_FALLOCATED = struct.Struct("<QQQII")

_FORGET, _GETATTR, _SETATTR, _OPEN, _READ, _WRITE = 2, 3, 4, 14, 15, 16
_RELEASE, _FSYNC, _FLUSH, _INIT, _INTERRUPT, _DESTROY, _FALLOCATE = 18, 20, 25, 26, 36, 38, 43
_UNANSWERED = {_FORGET, _INTERRUPT}
_DIRECT = 1
_BIG_WRITES, _MAX_PAGES = 1 << 5, 1 << 22
_MINOR = 31
_MOST = 256 * 1024
_PAGE = 4096
_NODE = 1

_RECORD = struct.Struct("<cQI")
_A_WRITE, _A_FLUSH = b"w", b"f"


@dataclass(frozen=True)
class Write:
    """Bytes that the disk was given.

    Attributes:
        offset: where, in bytes.
        data: what.
    """

    offset: int
    data: bytes


FLUSH = None
"""Everything before it is on the medium."""


def read_log(path: Path) -> list[Write | None]:
    """What the disk was asked, in order; :data:`FLUSH` between the writes."""
    found: list[Write | None] = []
    with path.open("rb") as log:
        while head := log.read(_RECORD.size):
            kind, offset, length = _RECORD.unpack(head)
            found.append(FLUSH if kind == _A_FLUSH else Write(offset, log.read(length)))
    return found


class Disk:
    """One disk in memory.

    Args:
        image: its bytes to begin with.
        log: where what is asked is remembered.
    """

    def __init__(self, image: bytearray, log: BinaryIO) -> None:
        self._image = image
        self._log = log
        self._handlers: dict[int, Callable[[bytes], bytes]] = {
            _INIT: self._init,
            _GETATTR: self._attributes,
            _SETATTR: self._attributes,
            _OPEN: lambda _: _OPENED.pack(1, _DIRECT, 0),
            _READ: self._read,
            _WRITE: self._write,
            _FSYNC: self._flush,
            _FLUSH: lambda _: b"",
            _RELEASE: lambda _: b"",
            _DESTROY: lambda _: b"",
            _FALLOCATE: self._fallocate,
        }

    def serve(self, channel: int) -> None:
        """Answer until the file is unmounted."""
        while True:
            try:
                request = os.read(channel, _MOST + _PAGE)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                if error.errno in {errno.ENOENT, errno.EINTR}:
                    continue
                raise
            number, unique = _HEADER.unpack_from(request)[1:3]
            if number in _UNANSWERED:
                continue
            result, body = 0, b""
            if handler := self._handlers.get(number):
                try:
                    body = handler(request[_HEADER.size :])
                except OSError as error:
                    result = -(error.errno or errno.EIO)
            else:
                result = -errno.ENOSYS
            os.write(channel, _ANSWER.pack(_ANSWER.size + len(body), result, unique) + body)

    def _init(self, body: bytes) -> bytes:
        flags = _INIT_IN.unpack_from(body)[3] & (_BIG_WRITES | _MAX_PAGES)
        pages = _MOST // _PAGE
        return _INIT_OUT.pack(7, _MINOR, 0, flags, 12, 9, _MOST, 1, pages, 0, 0)

    def _attributes(self, _: bytes) -> bytes:
        size = len(self._image)
        times = (0,) * 6
        return _ATTRIBUTES.pack(
            0, 0, 0, _NODE, size, size // 512, *times, stat.S_IFREG | 0o600, 1, 0, 0, 0, _PAGE, 0
        )

    def _read(self, body: bytes) -> bytes:
        _, offset, size = _MOVED.unpack_from(body)[:3]
        return bytes(self._image[offset : offset + size])

    def _write(self, body: bytes) -> bytes:
        _, offset, size = _MOVED.unpack_from(body)[:3]
        data = body[_MOVED.size : _MOVED.size + size]
        self._image[offset : offset + size] = data
        self._remember(_A_WRITE, offset, data)
        return _WRITTEN.pack(size, 0)

    def _fallocate(self, body: bytes) -> bytes:
        """Zeros, which is also what is left of what was discarded."""
        _, offset, length = _FALLOCATED.unpack_from(body)[:3]
        data = bytes(length)
        self._image[offset : offset + length] = data
        self._remember(_A_WRITE, offset, data)
        return b""

    def _flush(self, _: bytes) -> bytes:
        self._remember(_A_FLUSH, 0, b"")
        return b""

    def _remember(self, kind: bytes, offset: int, data: bytes) -> None:
        self._log.write(_RECORD.pack(kind, offset, len(data)) + data)
        self._log.flush()


def _mount(channel: int, target: Path) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    options = f"fd={channel},rootmode={stat.S_IFREG:o},user_id=0,group_id=0"
    if library.mount(b"primum-disk", os.fsencode(target), b"fuse", 0, options.encode()):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))


def main() -> int:
    """Serve one disk until it is unmounted."""
    image, log, target = map(Path, sys.argv[1:])
    content = bytearray(image.read_bytes())
    channel = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    with log.open("wb") as remembered:
        _mount(channel, target)
        sys.stdout.write("stands\n")
        sys.stdout.flush()
        with contextlib.closing(os.fdopen(channel, "rb", buffering=0)):
            Disk(content, remembered).serve(channel)
    return 0


if __name__ == "__main__":
    sys.exit(main())
