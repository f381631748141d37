"""TLS towards a broker: whom the device believes, how it shows who it is, and what it lets in.

Used by the resident process: standard library only.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from primum_agent.certificate_note import holds_until
from primum_agent.packet_watch import PacketWatch


@dataclass(frozen=True)
class TlsFiles:
    """The files that a connection is made with; each is read anew for every connection.

    Attributes:
        authorities: PEM certificates of whom to believe; None for those the system believes.
        client: key and certificates of this device in one file, which may be missing.
    """

    authorities: Path | None
    client: Path

    def client_version(self) -> tuple[int, int, int] | None:
        """What changes when the client's file is replaced; None while there is none."""
        try:
            found = os.stat(self.client)  # noqa: PTH116 - looked at each time the network wakes
        except OSError:
            return None
        return (found.st_ino, found.st_size, found.st_mtime_ns)


class BoundedSocket(ssl.SSLSocket):
    """Shows what comes to a watch, and what is asked for before a byte of it is waited for.

    The library asks for the whole rest of a packet at once, as its header announces it, so that
    four bytes of a hostile broker would take 256 MiB of the device.

    Attributes:
        watch: of this connection; a class of its own carries it.
    """

    watch: ClassVar[PacketWatch]

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """See :meth:`ssl.SSLSocket.recv`.

        Raises:
            OSError: see :class:`PacketWatch`.
        """
        self.watch.asked_for(buflen)
        data = super().recv(buflen, flags)
        self.watch.saw(data)
        return data


def make_context(files: TlsFiles, watch: PacketWatch | None = None) -> ssl.SSLContext:
    """The terms of one connection: TLS 1.2 or newer, the broker's name and chain checked.

    Args:
        files: the files that it is made with.
        watch: follows what the broker sends; without one, one of its own.

    Raises:
        OSError: a file cannot be read, or holds no certificate or key (``ssl.SSLError``).
    """
    authorities = None if files.authorities is None else str(files.authorities)
    context = ssl.create_default_context(cafile=authorities)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    watched = {"watch": watch or PacketWatch()}
    context.sslsocket_class = type("WatchedSocket", (BoundedSocket,), watched)
    if files.client_version() is not None:
        context.load_cert_chain(files.client)
    return context


def why_not_taken(files: TlsFiles) -> str:
    """What to look at where a broker ends a connection before it answers over TLS.

    A broker that does not accept the device's certificate says so only after the handshake.
    """
    ends = holds_until(files.client)
    if ends is None:
        return "does it ask for a client certificate? This device has none"
    return f"does it accept this device's certificate, which holds until {ends:%Y-%m-%d}?"
