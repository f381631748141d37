"""``make campaign-models``: mutants of a real model; each that decides otherwise has to be refused.

2,000 mutants of bytes and 400 of the graph (TARGET=byte|graph takes one level), drawn from SEED=…,
each judged twice: by plain onnxruntime and numpy in a process of its own, and by the self-test in
one long-lived parent.  SECONDS=… is when no new mutant is begun; what was tried on this very code
is not tried again until AGAIN=1.  ``--mutant NAME`` tries one and says what both found.

Exit: 0 nothing was found, 1 a mutant passed that should not, or the parent died, leaked or grew.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from tests.campaigns.campaign_tried import CACHE, code_digest, say
from tests.campaigns.model_lanes import Lane, ParentLane
from tests.campaigns.model_mutants import LEVELS, Mutant, mutant_named, mutants
from tests.campaigns.model_oracle import RAN, Answer
from tests.campaigns.model_parent import NOT_JUDGED, Verdict
from tests.campaigns.model_subject import TIME_LIMIT_SECONDS, Subject, write_subject

from primum_verifier.proof.selftest_result import Overall

KEPT = CACHE / "models"
PASSED = "passed.txt"
MOST = {"byte": 2000, "graph": 400}
SECONDS = 3600.0
SHOW_EVERY = 30.0
EXIT_DONE, EXIT_FOUND = 0, 1

_DECISIONS = frozenset({"functional", "safety-function"})
_ROW = "{:30} {:>7} {:>7}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One mutant: what it answers, what the self-test said, and what did not hold."""

    name: str
    answer: Answer
    verdict: Verdict | None
    faults: tuple[str, ...]

    def as_json(self) -> str:
        """One line to keep."""
        return json.dumps(asdict(self))


def outcome_from(content: dict[str, Any]) -> Outcome:
    """A line that was kept."""
    verdict = content["verdict"]
    if verdict is not None:
        verdict = Verdict(**{**verdict, "failed": tuple(verdict["failed"])})
    return Outcome(
        name=content["name"],
        answer=Answer(**content["answer"]),
        verdict=verdict,
        faults=tuple(content["faults"]),
    )


def what_stopped_it(verdict: Verdict | None) -> str:
    """The class of a verdict, in the order in which a self-test would stop a model."""
    if verdict is None:
        return "parent died"
    failed = set(verdict.failed)
    found = (
        (verdict.overall == Overall.PASSED, "passed"),
        (verdict.overall == NOT_JUDGED, "not judged"),
        (verdict.ending == "not-started", "refused by the screen"),
        (verdict.ending == "timed-out", "did not end"),
        (verdict.ending != "reported", "bench crashed or was ended"),
        ("load" in failed, "did not load or run"),
        ("interface" in failed, "another interface"),
        (bool(failed & _DECISIONS), "decides otherwise"),
        ("numeric" in failed, "numbers alone"),
        ("performance" in failed, "time or memory"),
    )
    return next((words for holds, words in found if holds), "incomplete")


def wrong_with(answer: Answer, verdict: Verdict) -> list[str]:
    """What the self-test let through, or saw by luck alone."""
    if verdict.overall == Overall.PASSED:
        if answer.ended != RAN:
            return [f"passed, and plain onnxruntime says: {answer.ended}"]
        if not answer.as_signed:
            return [f"passed with {answer.flips} flips, {answer.outside} outside the tolerance"]
        return []
    judged = verdict.ending == "reported" and "load" not in verdict.failed
    if answer.changed and judged and not _DECISIONS & set(verdict.failed):
        return [f"{answer.flips} flips, and no test of decisions failed"]
    return []


class Campaign:
    """One campaign.

    Args:
        seed: of the mutants.
        most: how many of each level.
        seconds: when no new mutant is begun.
        kept: where outcomes lie.
        again: forget what was tried before.
    """

    def __init__(
        self, *, seed: int, most: dict[str, int], seconds: float, kept: Path, again: bool
    ) -> None:
        self._seed, self._most = seed, most
        self._until = time.monotonic() + seconds
        self._kept = kept
        self._again = again
        self._outcomes: dict[str, Outcome] = {}

    def run(self) -> int:
        """Try what the time allows; an exit code."""
        with tempfile.TemporaryDirectory(prefix="primum-models-") as name:
            folder = Path(name)
            subject = write_subject(folder / "demo")
            tried = self._earlier(f"{code_digest()}-{subject.digest}")
            wanted = [
                mutant
                for level in LEVELS
                for mutant in mutants(
                    subject.model, level=level, seed=self._seed, most=self._most.get(level, 0)
                )
            ]
            names = {mutant.name for mutant in wanted}
            self._outcomes = {name: one for name, one in self._outcomes.items() if name in names}
            earlier = len(self._outcomes)
            say(f"models: {len(wanted)} mutants, {earlier} tried before on this code")
            bench = Bench(subject, folder)
            try:
                if not bench.original_passes(subject):
                    return EXIT_FOUND
                self._try(in_turns(wanted), bench, tried)
            finally:
                bench.close()
        return self._report(len(wanted), bench)

    def _earlier(self, code: str) -> Path:
        """The file of outcomes on this code and subject; what it holds is taken up."""
        path = self._kept / f"tried-{code[:16]}-{code[-16:]}.jsonl"
        self._kept.mkdir(parents=True, exist_ok=True)
        for other in self._kept.glob("tried-*.jsonl"):
            if other != path or self._again:
                other.unlink()
        if path.is_file():
            for line in path.read_text("utf-8").splitlines():
                one = outcome_from(json.loads(line))
                self._outcomes[one.name] = one
        return path

    def _try(self, wanted: list[Mutant], bench: Bench, tried: Path) -> None:
        shown = time.monotonic()
        with tried.open("a", encoding="utf-8") as file:
            for mutant in wanted:
                if mutant.name in self._outcomes:
                    continue
                if time.monotonic() > self._until:
                    return
                outcome = bench.test(mutant)
                self._outcomes[mutant.name] = outcome
                file.write(outcome.as_json() + "\n")
                file.flush()
                for text in outcome.faults:
                    say(f"FOUND {mutant.name}: {text}")
                if time.monotonic() - shown > SHOW_EVERY:
                    shown = time.monotonic()
                    say(f"{len(self._outcomes)} of {len(wanted)} mutants tried")

    def _report(self, wanted: int, bench: Bench) -> int:
        outcomes = list(self._outcomes.values())
        say("")
        say(_ROW.format("what stopped it", *LEVELS))
        stopped = Counter(
            (what_stopped_it(one.verdict), one.name.split(":")[0]) for one in outcomes
        )
        for words in dict.fromkeys(words for words, _ in stopped):
            say(_ROW.format(words, *(stopped[words, level] for level in LEVELS)))
        passed = self._say_passed(outcomes)
        refused_alike = sum(
            one.answer.same and what_stopped_it(one.verdict) != "passed" for one in outcomes
        )
        say(f"refused though plain onnxruntime computes the very same bits: {refused_alike}")
        unable = Counter(one.answer.ended for one in outcomes if one.answer.ended != RAN)
        say(f"plain onnxruntime: {dict(sorted(unable.items()))}, the rest ran")
        if bench.parent.peak_kib:
            say(f"the parent's memory: at most {bench.parent.peak_kib / 1024:.1f} MiB")
        changed = [one for one in outcomes if one.answer.changed]
        refused = sum(what_stopped_it(one.verdict) != "passed" for one in changed)
        died = sum(one.verdict is None for one in outcomes)
        found = [one for one in outcomes if one.faults]
        say(
            f"{len(outcomes)} mutants, {len(changed)} change a decision, {refused} refused,"
            f" parent died {died}; {len(passed)} passed, {len(found)} findings"
        )
        if len(outcomes) < wanted:
            say(f"{wanted - len(outcomes)} were not tried; the next run goes on")
        return EXIT_FOUND if found else EXIT_DONE

    def _say_passed(self, outcomes: list[Outcome]) -> list[Outcome]:
        """Those that were let through, in a file, the one that deviates most first."""
        passed = [one for one in outcomes if what_stopped_it(one.verdict) == "passed"]
        passed.sort(key=lambda one: -one.answer.deviation)
        lines = [
            f"{one.name} {'the same bits' if one.answer.same else f'{one.answer.deviation:.3g}'}"
            for one in passed
        ]
        path = self._kept / PASSED
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        same = sum(one.answer.same for one in passed)
        say(f"passed with the same bits: {same}, within the tolerance: {len(passed) - same}")
        for line in lines[:5]:
            say(f"    {line}")
        return passed


def in_turns(wanted: Sequence[Mutant]) -> list[Mutant]:
    """The levels in turn, so that a short run has of both."""
    of_level = [[one for one in wanted if one.name.startswith(level)] for level in LEVELS]
    longest = max(map(len, of_level), default=0)
    return list(
        chain.from_iterable(part[at : at + 1] for at in range(longest) for part in of_level)
    )


class Bench:
    """Both processes over one subject, and the mutant's file between them."""

    def __init__(self, subject: Subject, folder: Path) -> None:
        self._model = folder / "mutant.onnx"
        self._spec = folder / "self-test.json"
        self._spec.write_bytes(subject.spec)
        self._fixtures = subject.fixtures
        scratch = folder / "scratch"
        scratch.mkdir()
        self.parent = ParentLane(scratch, seconds=TIME_LIMIT_SECONDS + 60)
        words = ["tests.campaigns.model_oracle", str(self._fixtures), str(self._spec)]
        self._oracle = Lane(words, seconds=TIME_LIMIT_SECONDS * 6)

    def test(self, mutant: Mutant) -> Outcome:
        """One mutant through both."""
        self._model.write_bytes(mutant.content)
        self._oracle.send(str(self._model))
        self.parent.ask(self._model, self._spec, self._fixtures)
        said = self._oracle.receive()
        verdict, faults = self.parent.verdict()
        if said is None:
            raise RuntimeError(f"the oracle {self._oracle.why} over {mutant.name}")
        answer = Answer(**said)
        if verdict is not None:
            faults += wrong_with(answer, verdict)
        return Outcome(name=mutant.name, answer=answer, verdict=verdict, faults=tuple(faults))

    def original_passes(self, subject: Subject) -> bool:
        """Whether the model itself is let through: else no refusal would say anything."""
        outcome = self.test(Mutant("original", subject.model))
        if what_stopped_it(outcome.verdict) == "passed" and outcome.answer.as_signed:
            return True
        say(f"models: the model itself does not pass: {outcome.verdict}, {outcome.answer}")
        return False

    def close(self) -> None:
        """End both."""
        self.parent.close()
        self._oracle.close()


def one_mutant(name: str) -> int:
    """Try one by its name, and say all."""
    with tempfile.TemporaryDirectory(prefix="primum-models-") as folder:
        subject = write_subject(Path(folder) / "demo")
        bench = Bench(subject, Path(folder))
        try:
            outcome = bench.test(mutant_named(subject.model, name))
        finally:
            bench.close()
    say(f"{outcome.name}: {what_stopped_it(outcome.verdict)}")
    say(f"{outcome.answer}\n{outcome.verdict}")
    for text in outcome.faults:
        say(f"    {text}")
    return EXIT_FOUND if outcome.faults else EXIT_DONE


def main(words: Sequence[str] | None = None) -> int:
    """Run the campaign as the command line asks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0], prog="models")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", choices=LEVELS)
    parser.add_argument("--most", type=int, help="mutants of each level")
    parser.add_argument("--kept", type=Path, default=KEPT)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--mutant", help="try this one alone, as level:change:seed:number")
    options = parser.parse_args(words)
    if options.mutant:
        return one_mutant(options.mutant)
    levels = (options.target,) if options.target else LEVELS
    campaign = Campaign(
        seed=options.seed,
        most={level: options.most or MOST[level] for level in levels},
        seconds=options.seconds,
        kept=options.kept,
        again=options.again,
    )
    return campaign.run()


if __name__ == "__main__":
    sys.exit(main())
