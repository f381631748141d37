"""The mutants of one model, the same for the same seed: by name, each once, none the original."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice

import onnx
from google.protobuf.message import EncodeError
from tests.campaigns.model_bytes import BYTE_CHANGES
from tests.campaigns.model_files import FILE_CHANGES
from tests.campaigns.model_graphs import GRAPH_CHANGES
from tests.campaigns.model_weights import WEIGHT_CHANGES

OF_GRAPHS = {**GRAPH_CHANGES, **FILE_CHANGES, **WEIGHT_CHANGES}
"""Every mutation that takes a model as onnx reads it, by name."""

LEVELS = ("byte", "graph")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One changed model.

    Attributes:
        name: level, change, seed and number; the same name has the same bytes.
        content: the file.
    """

    name: str
    content: bytes

    @property
    def change(self) -> str:
        """Level and kind of change."""
        return ":".join(self.name.split(":")[:2])


def mutants(original: bytes, *, level: str, seed: int, most: int) -> Iterator[Mutant]:
    """The first ``most`` of a level; what came out as the original, or before, is left out."""
    return islice(_without_doubles(original, level=level, seed=seed), most)


def mutant_named(original: bytes, name: str) -> Mutant:
    """The mutant of this name."""
    level, change, seed, number = name.split(":")
    content = _content(original, level, change, seed=int(seed), number=int(number))
    return Mutant(name, content)


def _without_doubles(original: bytes, *, level: str, seed: int) -> Iterator[Mutant]:
    seen = {hashlib.sha256(original).digest()}
    changes = list(BYTE_CHANGES if level == "byte" else OF_GRAPHS)
    for number in count():
        change = changes[number % len(changes)]
        content = _content(original, level, change, seed=seed, number=number)
        digest = hashlib.sha256(content).digest()
        if digest not in seen:
            seen.add(digest)
            yield Mutant(f"{level}:{change}:{seed}:{number}", content)


def _content(original: bytes, level: str, change: str, *, seed: int, number: int) -> bytes:
    draw = random.Random(f"{seed}:{level}:{change}:{number}")
    if level == "byte":
        return BYTE_CHANGES[change](original, draw)
    model = onnx.load_model_from_string(original)
    OF_GRAPHS[change](model, draw)
    try:
        return bytes(model.SerializeToString(deterministic=True))
    except EncodeError:
        return original  # what protobuf itself does not write is no file
