"""The decision of a model's outputs at an operating point, in the words that a session is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from primum_verifier.proof.selftest_levels import decide
from primum_verifier.proof.selftest_spec import SelfTestSpec
from primum_verifier.record.shadow import Decided

_WORDS: Final[Mapping[int, Decided]] = {1: "positive", 0: "negative", -1: "no decision"}


@dataclass(frozen=True)
class Decision:
    """One decision.

    Attributes:
        word: what was decided.
        score: the number that decided it.
    """

    word: Decided
    score: float


def decision_of(
    spec: SelfTestSpec, found: Mapping[str, bytes], *, output: str, threshold: str
) -> Decision | None:
    """What outputs decide; None where the release decides nothing.

    Args:
        spec: the signed self-test specification, which says how the output is read.
        found: the bytes of each output.
        output: the output that the operating point is for.
        threshold: the operating point in force.
    """
    point = spec.operating_point
    tensor = next((one for one in spec.interface.outputs if one.name == output), None)
    if point is None or tensor is None:
        return None
    value = tensor.dtype.unpack(found[tensor.name])[point.element or 0]
    return Decision(_WORDS[decide(value, threshold=Decimal(threshold))], float(value))
