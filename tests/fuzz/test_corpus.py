"""What a search once found worth keeping, replayed without the fuzzer, and bent a little.

A corpus file reaches a branch that the seeds do not; a crash file is a fault that was mended.
Every one of them, and a few seeded mutations of it, must come out as a value or as a refusal.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fuzz_campaign import MAX_BYTES, MAX_FILES
from fuzz_subjects import SUBJECTS

HERE = Path(__file__).resolve().parent
MAX_SECONDS = 2.0
"""Processor time of one input: a device must not be held by one document."""

BENT = 4
"""Mutations of each input, the same in every run."""


def inputs(name: str) -> Iterator[tuple[str, bytes]]:
    """The seeds of a subject, what a search kept, and what once broke it."""
    yield from SUBJECTS[name].seeds().items()
    for folder in (HERE / "corpus" / name, HERE / "crashes" / name):
        for path in sorted(folder.glob("*")):
            yield f"{folder.parent.name}/{path.name}", path.read_bytes()


def bent(data: bytes, chance: random.Random) -> bytes:
    """``data`` with a few bytes changed, and now and then cut or doubled."""
    changed = bytearray(data or b"{")
    for _ in range(chance.randint(1, 4)):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    place = chance.randrange(len(changed))
    match chance.randrange(6):
        case 0:
            del changed[place:]
        case 1:
            changed[place:place] = changed[: chance.randrange(64)]
        case _:
            pass
    return bytes(changed)


@pytest.mark.parametrize("name", SUBJECTS)
def test_hostile_bytes_give_a_value_or_a_refusal_in_bounded_time(name: str) -> None:
    run = SUBJECTS[name].run
    for found, data in inputs(name):
        chance = random.Random(name.encode() + data)
        changed = [(f"bent {number}", bent(data, chance)) for number in range(BENT)]
        bend = SUBJECTS[name].bend
        if bend is not None:
            changed += [(f"bent as JSON {number}", bend(data, chance)) for number in range(BENT)]
        for which, text in [("as kept", data), *changed]:
            started = time.process_time()
            try:
                run(text)
            except Exception as error:
                error.add_note(f"the input: {found}, {which}: {text[:200]!r}")
                raise
            assert time.process_time() - started < MAX_SECONDS, (found, which)


@pytest.mark.parametrize("name", SUBJECTS)
def test_what_is_kept_stays_small(name: str) -> None:
    sizes = [path.stat().st_size for path in (HERE / "corpus" / name).glob("*")]
    assert len(sizes) <= MAX_FILES
    assert sum(sizes) <= MAX_BYTES


def test_nothing_is_kept_for_a_parser_that_is_gone() -> None:
    for kind in ("corpus", "crashes"):
        assert {path.name for path in (HERE / kind).glob("*")} <= set(SUBJECTS)
