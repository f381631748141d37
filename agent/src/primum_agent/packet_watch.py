"""What a broker may send, looked at packet by packet before the library makes anything of it.

The library keeps what it is sent: the whole of a packet that is announced, and each message of
quality 2 until it is released.  So four bytes, or many small messages, would take the device's
memory, and answers that nobody asked for its processor.  A broker that goes beyond a bound is
left, and the reporter backs off.
"""

from __future__ import annotations

import errno
import threading
import time
from collections import deque
from collections.abc import Callable

MAX_PACKET_BYTES = 16_384
"""The largest packet that is taken from a broker; what it sends is an answer or a request."""

MAX_UNASKED = 60
"""Packets within a minute that answer nothing; with more of them the broker is left."""

UNASKED_SECONDS = 60.0

_PUBLISH = 3
_PUBACK = 4
_TAKEN = frozenset({2, _PUBLISH, _PUBACK, 9, 13, 14})
"""CONNACK, PUBLISH, PUBACK, SUBACK, PINGRESP, DISCONNECT."""

_LENGTH_BYTES = 4


class PacketWatch:
    """Follows the packets of one connection.

    Args:
        monotonic: seconds of a clock that never goes back.

    Attributes:
        why: why the broker is left; empty while it is not.  The library tells no reason.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.why = ""
        self._monotonic = monotonic
        self._head = bytearray()
        self._left = 0
        self._owed = 0
        self._counting = threading.Lock()
        self._unasked: deque[float] = deque(maxlen=MAX_UNASKED)

    def owes(self) -> None:
        """A message is handed over, by another thread: its answer is no burden."""
        with self._counting:
            self._owed += 1

    @property
    def owed(self) -> int:
        """How many messages were handed over that the broker did not answer for."""
        with self._counting:
            return self._owed

    def asked_for(self, count: int) -> None:
        """Somebody is about to wait for so many bytes.

        Raises:
            OSError: no packet that is taken is so long.
        """
        if count > MAX_PACKET_BYTES:
            raise self._left_for(
                f"a packet of {count} bytes, above the bound of {MAX_PACKET_BYTES}"
            )

    def saw(self, data: bytes) -> None:
        """Follow what came.

        Raises:
            OSError: the broker sends what is not for this device, or too much of it.
        """
        at = 0
        while at < len(data):
            if self._left:
                passed = min(self._left, len(data) - at)
                self._left -= passed
                at += passed
                continue
            self._head.append(data[at])
            at += 1
            if len(self._head) > 1 and not self._head[-1] & 0x80:
                self._begin(self._head[0], _length(self._head[1:]))
                self._head.clear()
            elif len(self._head) > _LENGTH_BYTES:
                raise self._left_for("the length of a packet is no number")

    def _begin(self, first: int, length: int) -> None:
        kind = first >> 4
        if kind not in _TAKEN or (kind == _PUBLISH and first & 0x06 > 0x02):  # noqa: PLR2004 - two bits of quality, of which 0 and 1 are taken
            raise self._left_for(f"a packet that is not for a device ({first:#04x})")
        self.asked_for(length)
        self._left = length
        if kind == _PUBACK and self._was_owed():
            return
        now = self._monotonic()
        if len(self._unasked) == MAX_UNASKED and now - self._unasked[0] < UNASKED_SECONDS:
            raise self._left_for(
                f"the broker sent {MAX_UNASKED} messages within a minute that answer nothing"
            )
        self._unasked.append(now)

    def _left_for(self, why: str) -> OSError:
        self.why = why
        return OSError(errno.EPROTO, why)

    def _was_owed(self) -> bool:
        with self._counting:
            owed = self._owed > 0
            self._owed -= owed
        return owed


def _length(digits: bytes | bytearray) -> int:
    """A number of MQTT: seven bits a byte, the lowest first."""
    return sum((digit & 0x7F) << 7 * place for place, digit in enumerate(digits))
