"""JSON from outside, of which no member stands twice: which was meant, nobody could say."""

from __future__ import annotations

import json
from typing import Any


class TwiceError(ValueError):
    """A member stands twice; the message is its name."""


def read_plain(data: bytes) -> object:
    """The value that was written.

    Raises:
        TwiceError: a member of an object stands twice.
        ValueError: it is no JSON.
        RecursionError: it is nested too deeply.
    """
    return json.loads(data, object_pairs_hook=_each_once)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise TwiceError(name)
        found[name] = value
    return found
