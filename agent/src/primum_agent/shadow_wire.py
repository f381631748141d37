"""What the runner hands to the process of a shadow: one frame for one input, one way only.

A frame is two lengths, a head in JSON and the bytes of the inputs.  Nothing ever comes back on the
socket: what a shadow computes has no way to whoever is served.
"""

from __future__ import annotations

import json
import select
import socket
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from primum_verifier.core.limits import MIB

MAX_HEAD = 65_536
MAX_BODY = 64 * MIB
"""Bytes of all inputs of one case; the runner takes no more in one question."""

_LENGTHS = struct.Struct(">II")
_READ = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Handed:
    """One input with what the release in use made of it.

    Attributes:
        inputs: the bytes of each input.
        decision: what the release in use decided.
        score: the number by which it decided.
        cohorts: the groups that the application named, by their keys; signed or not.
        dropped: inputs that were not handed over since the last that was.
    """

    inputs: Mapping[str, bytes]
    decision: str
    score: float
    cohorts: Mapping[str, str]
    dropped: int = 0


class EndedError(Exception):
    """The other side has closed its end, or sent what is no frame."""


def frame_of(handed: Handed) -> bytes:
    """The one byte form."""
    head = asdict(handed) | {"inputs": [[name, len(data)] for name, data in handed.inputs.items()]}
    told = json.dumps(head).encode()
    body = b"".join(handed.inputs.values())
    return _LENGTHS.pack(len(told), len(body)) + told + body


class Receiver:
    """Reads frames off a socket.

    Args:
        link: the receiving end.
    """

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._held = bytearray()

    def next(self, *, seconds: float) -> Handed | None:
        """The next frame; None where none is whole yet and nothing came for so long.

        Raises:
            EndedError: none will come any more.
        """
        while (found := self._take()) is None:
            readable, _, _ = select.select([self._link], [], [], seconds)
            if not readable:
                return None
            piece = self._link.recv(_READ)
            if not piece:
                raise EndedError
            self._held += piece
        return found

    def _take(self) -> Handed | None:
        if len(self._held) < _LENGTHS.size:
            return None
        head, body = _LENGTHS.unpack_from(self._held)
        if head > MAX_HEAD or body > MAX_BODY:
            raise EndedError
        whole = _LENGTHS.size + head + body
        if len(self._held) < whole:
            return None
        told = bytes(self._held[_LENGTHS.size : _LENGTHS.size + head])
        data = bytes(self._held[_LENGTHS.size + head : whole])
        del self._held[:whole]
        return _handed(json.loads(told), data)


def _handed(head: dict[str, Any], body: bytes) -> Handed:
    inputs, at = {}, 0
    for name, length in head["inputs"]:
        inputs[name] = body[at : at + length]
        at += length
    return Handed(**{**head, "inputs": inputs})
