"""Bends JSON as JSON: another value, a member gone, doubled or put elsewhere.

A search that changes bytes mostly ends where the text is no JSON any more; this one gets to what is
made of its values.  An input may be several lines, each with some text before its object.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 7, 2**31, 2**53, 2**63, 10**30, 0.5, -0.0, 1e308, 5e-324),
    *("", "a", "0", "1", "\x00", "\u202e", "\ud800", "\U0001f600", "x" * 300, "0" * 64, "a" * 64),
    *("0.1", "1e9", "0.5", "99999999999999999999", "P1D", "urn:uuid:" + "0" * 36),
    *("0001-01-01T00:00:00Z", "2026-06-01T12:00:00Z", "9999-12-31T23:59:59Z"),
    *([], {}, [[]], [None], {"": None}, {"a": {}}, ["a", "a"], [0] * 40),
)

_Place = tuple[Any, Any]
"""A list or an object, and which of its members."""


def bend_json(data: bytes, chance: random.Random) -> bytes:
    """``data`` with one or a few values of its JSON changed; as it is where it holds none.

    Args:
        data: lines, each of which may end with an object.
        chance: decides what becomes of it; the same does the same.
    """
    lines = data.split(b"\n")
    for _ in range(chance.randint(1, 3)):
        _bend_line(lines, chance)
    return b"\n".join(lines)


def _bend_line(lines: list[bytes], chance: random.Random) -> None:
    at = chance.randrange(len(lines))
    if chance.random() < 0.1:
        other = chance.randrange(len(lines))
        match chance.randrange(3):
            case 0 if len(lines) > 1:
                del lines[at]
            case 1:
                lines.insert(at, lines[other])
            case _:
                lines[at], lines[other] = lines[other], lines[at]
        return
    before, brace, text = lines[at].partition(b"{")
    try:
        content = json.loads(brace + text)
    except (ValueError, RecursionError):
        return
    places = list(_places(content))
    if places:
        _bend(chance.choice(places), places, chance)
        lines[at] = before + json.dumps(content, separators=(",", ":")).encode()


def _bend(place: _Place, places: list[_Place], chance: random.Random) -> None:
    holder, key = place
    match chance.randrange(6):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            other, name = chance.choice(places)
            holder[name if isinstance(name, str) else "more"] = _copy(other[name])
        case 1:
            holder.insert(key, _copy(holder[key]))
        case 2 | 3:
            other, name = chance.choice(places)
            holder[key] = _copy(other[name])
        case _:
            holder[key] = _near(holder[key], chance)


def _near(value: Any, chance: random.Random) -> Any:
    """Something odd, or something that is nearly the value."""
    if isinstance(value, bool) or value is None or chance.random() < 0.5:
        return _copy(chance.choice(ODD))
    if isinstance(value, int | float):
        return chance.choice([value + 1, value - 1, -value, value * 1000, str(value)])
    if isinstance(value, str):
        return chance.choice([value[:-1], value + value[-1:], value.upper(), [value], value[::-1]])
    return chance.choice([[value], {"a": value}, value])


def _copy(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _places(content: Any) -> Iterator[_Place]:
    """Every member of every list and object, from the outside in."""
    waiting = [content]
    while waiting:
        holder = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            yield holder, key
            if isinstance(holder[key], dict | list):
                waiting.append(holder[key])
