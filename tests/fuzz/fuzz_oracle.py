"""What every parser of hostile bytes has to keep to, whatever the bytes are.

1. Only a member of :class:`PrimumError` comes out; anything else is a fault of ours.
2. What the error says is bounded and writes nothing but text to a terminal or a log.
3. What was accepted says the same after it was written and read again (each subject's own check).

Time and memory are bounded by whoever runs the subjects.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from primum_verifier.core.errors import PrimumError

_Value = TypeVar("_Value")

MAX_SAID = 32 * 1024
"""Characters in one error: a refusal must not fill the disk that it is logged to."""

_PARTS = 5
"""Lines of an error: what it is, where, found, expected, remedy."""

_SECTION = b"== "


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One parser under test.

    Attributes:
        run: takes the bytes; returns nothing, raises only where the parser is wrong.
        seeds: valid inputs by name, from which the search starts.
        words: texts that the format knows; the search puts them in.
        max_bytes: the longest input that is tried: long inputs are slow and find little more.
        bend: changes an input of this format so that it stays one; None where bytes are changed.
    """

    run: Callable[[bytes], None]
    seeds: Callable[[], Mapping[str, bytes]]
    words: Callable[[], Iterable[str]] = tuple
    max_bytes: int = 4096
    bend: Callable[[bytes, random.Random], bytes] | None = None


def attempt(parse: Callable[[], _Value]) -> _Value | None:
    """What ``parse`` returns, None where it refuses; the refusal is checked like the value."""
    try:
        return parse()
    except PrimumError as error:
        said = error.for_people()
        assert len(said) <= MAX_SAID, f"an error of {len(said)} characters"
        assert len(said.splitlines()) <= _PARTS, "an error that writes lines of its own"
        unfit = {char for char in said if not (char.isprintable() or char == "\n")}
        assert not unfit, f"an error that writes {sorted(map(ascii, unfit))}"
        return None


def sections(data: bytes, *, first: str) -> dict[str, bytes]:
    """Several files in one input: a line ``== NAME`` begins a file, ``first`` stands before any."""
    found: dict[str, list[bytes]] = {}
    name = first
    for line in data.split(b"\n"):
        if line.startswith(_SECTION):
            name = line[len(_SECTION) :].decode("utf-8", "replace")[:80]
            found.setdefault(name, [])
        else:
            found.setdefault(name, []).append(line)
    return {name: b"\n".join(lines) for name, lines in found.items()}


def joined(files: Mapping[str, bytes]) -> bytes:
    """The input that :func:`sections` takes apart into ``files``."""
    return b"\n".join(_SECTION + name.encode() + b"\n" + data for name, data in files.items())
