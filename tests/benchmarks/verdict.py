"""How long a verdict takes: reading every document from its signed bytes, and asking every rule.

A device asks once in each phase, and reads everything anew each time: nothing that was verified
before is believed again.  The limit beside it is the signatures alone, checked by the same library
in the same run, since nothing that judges signed documents can do with less.

Printed: both in milliseconds, and their ratio; the aim is below 20 ms with warm imports.

Run: ``python -m tests.benchmarks.verdict [ROUNDS] [--json FILE]`` (200 by default).
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from tests.benchmarks.figures import arguments, keep

from primum_verifier.core.approval import POLICY_TARGET, ApprovalPolicy
from primum_verifier.core.document import parse_document
from primum_verifier.core.envelope import INTOTO_PAYLOAD_TYPE, open_envelope
from primum_verifier.core.question import Question
from primum_verifier.core.verdict import judge
from primum_verifier.core.vocabulary import Capability

WORLD = Path(__file__).parents[1] / "unit" / "verifier" / "conftest.py"


def question() -> Question:
    """The question about a release that may be used: approvals, notices, context, all signed."""
    found = spec_from_file_location("verifier_world", WORLD)
    if found is None or found.loader is None:
        raise SystemExit(f"{WORLD} is not there")
    module = module_from_spec(found)
    sys.modules["verifier_world"] = module
    found.loader.exec_module(module)
    world: Any = module.World()
    world.notice("clinical", "quality", kind="field-action", action="notify-only")
    made: Question = world.question()
    return made


def signatures(asked: Question) -> Callable[[], None]:
    """Only the checking of every signature in the question, with the keys already at hand."""
    clinical = asked.clinical.documents
    policy = parse_document(ApprovalPolicy, clinical[POLICY_TARGET].data, where="policy")
    keys = [person.key for person in policy.people]
    lines = [
        line
        for target, document in clinical.items()
        if target.endswith(".jsonl")
        for line in document.data.splitlines()
    ]

    def check() -> None:
        for line in lines:
            open_envelope(line, payload_type=INTOTO_PAYLOAD_TYPE, keys=keys, where="line")

    return check


def median_ms(act: Callable[[], object], rounds: int) -> float:
    """The median of several runs, in milliseconds."""
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        act()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1000


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("rounds", type=int, nargs="?", default=200, help="200 by default")
    options = parser.parse_args()
    rounds: int = options.rounds
    asked = question()
    verdict = judge(asked)
    if verdict.capability is not Capability.CLINICAL:
        raise SystemExit(f"not a full verdict: {verdict.primary}")
    whole, limit = median_ms(lambda: judge(asked), rounds), median_ms(signatures(asked), rounds)
    print(f"verdict, {len(verdict.checks)} rules   {whole:6.2f} ms")
    print(f"signatures alone      {limit:6.2f} ms")
    print(f"ratio                 {whole / limit:6.2f}")
    keep(
        {"rounds": rounds, "verdictMs": whole, "signaturesMs": limit, "ratio": whole / limit},
        options.json,
    )


if __name__ == "__main__":
    main()
