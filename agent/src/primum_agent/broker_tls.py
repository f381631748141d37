"""TLS towards a broker: whom the device believes, how it shows who it is, and what it lets in.

Used by the resident process: standard library only.
"""

from __future__ import annotations

import errno
import os
import ssl
from dataclasses import dataclass
from pathlib import Path

from primum_agent.certificate_note import holds_until

MAX_PACKET_BYTES = 16_384
"""The largest packet that is taken from a broker; what it sends is an answer or a request."""


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
    """Refuses a packet above the bound before a byte of it is waited for, or room made for it.

    The library asks for the whole rest of a packet at once, as its header announces it, so that
    four bytes of a hostile broker would take 256 MiB of the device.
    """

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """See :meth:`ssl.SSLSocket.recv`.

        Raises:
            OSError: ``EMSGSIZE``: the broker announces more than the bound.
        """
        if buflen > MAX_PACKET_BYTES:
            text = f"a packet of {buflen} bytes, above the bound of {MAX_PACKET_BYTES}"
            raise OSError(errno.EMSGSIZE, text)
        return super().recv(buflen, flags)


def make_context(files: TlsFiles) -> ssl.SSLContext:
    """The terms of one connection: TLS 1.2 or newer, the broker's name and chain checked.

    Raises:
        OSError: a file cannot be read, or holds no certificate or key (``ssl.SSLError``).
    """
    authorities = None if files.authorities is None else str(files.authorities)
    context = ssl.create_default_context(cafile=authorities)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = BoundedSocket
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
