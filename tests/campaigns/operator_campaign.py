"""``make campaign-operators``: the operator tests of the ``onnx`` package, each as a self-test.

Each goes through screen, bench and judge in one long-lived parent, and through plain onnxruntime
and numpy in another process.  SECONDS=… is when no new case is begun; what was tried on this very
code is not tried again until AGAIN=1.  ``--case NAME`` tries one.  When all are tried the page
``docs/onnx-operators.md`` is written.

Exit: 0 both always agree, 1 they do not, or the parent died or leaked.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from tests.campaigns.campaign_tried import CACHE, code_digest, say
from tests.campaigns.model_lanes import Lane, ParentLane
from tests.campaigns.model_oracle import NOT_LOADED, RAN
from tests.campaigns.model_parent import Verdict
from tests.campaigns.operator_cases import (
    TIME_LIMIT_SECONDS,
    Case,
    NoFixturesError,
    made_cases,
    state,
    stored_cases,
)
from tests.campaigns.operator_oracle import NOT_RUN, Plain
from tests.campaigns.operator_page import PAGE, PASSES, Result, page

from primum_verifier.proof.selftest_result import Overall

KEPT = CACHE / "operators"
SECONDS = 3600.0
SHOW_EVERY = 30.0
EXIT_DONE, EXIT_FOUND = 0, 1

_NO_KERNEL = re.compile(r"Could not find an implementation for (\w+\(\d+\))")
_TOO_NEW = re.compile(r"Opset (\d+) is under development")
_NOISE = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : \w+ : |Load model from \S+ failed: ?|^\w+: "
    r"|This is an invalid model\. |In Node, .*, Error |Exception during initialization: "
    r"|Non-zero status code returned while "
)
_PLACES = re.compile(r"/\S+/|\s+")
_CONDITION = " was false. "
"""After it stand the words for people, before it a place in the runtime's source."""

_MAX_DETAIL = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One case, and what did not hold about it."""

    result: Result
    faults: tuple[str, ...] = ()


def versions() -> dict[str, str]:
    """What the outcomes are about, beside this code."""
    return {name: version(name) for name in ("onnx", "onnxruntime", "numpy")}


def reason_of(verdict: Verdict, plain: Plain) -> tuple[str, str]:
    """Why a case does not pass: a group of the page, and the detail; empty where it does."""
    if verdict.overall == Overall.PASSED:
        return "", ""
    if verdict.ending == "not-started":
        return "refused unread", _unread(verdict, plain)
    if plain.ended in (NOT_LOADED, NOT_RUN):
        return _refusal_of(plain)
    if plain.ended != RAN or " for " in plain.off:
        return "another type or shape" if plain.off else "does not run", plain.off or plain.ended
    if plain.exact:
        return "other integers", plain.off.rpartition(" ")[
            2
        ]  # how many is drawn at random for some
    return "other numbers", plain.off


def _unread(verdict: Verdict, plain: Plain) -> str:
    """Why the screen refused it, and whether the runtime would have."""
    why = verdict.said.partition("may load. ")[2]
    if not why:
        why = "an input has a value of its own, which a caller may set"
        assert "inputs are not those of the signed interface" in verdict.said, verdict.said
    either = "" if plain.ended == RAN else " (onnxruntime does not load it either)"
    return f"{why}{either}"


def _refusal_of(plain: Plain) -> tuple[str, str]:
    """What onnxruntime says where it does not load a file, or does not run it."""
    kernel, new = _NO_KERNEL.search(plain.error), _TOO_NEW.search(plain.error)
    if kernel:
        return "operator not implemented", kernel[1]
    if new:
        return "operator set too new", f"opset {new[1]}"
    words = _PLACES.sub(" ", _NOISE.sub("", plain.error))
    words = words.rpartition(_CONDITION)[2].strip()[:_MAX_DETAIL]
    return ("graph refused" if plain.ended == NOT_LOADED else "does not run"), words


def wrong_with(verdict: Verdict, plain: Plain) -> list[str]:
    """Where the self-test and plain onnxruntime do not say the same."""
    if verdict.overall == Overall.PASSED:
        agrees = plain.ended == RAN and plain.agrees
        return [] if agrees else [f"passes, and plain onnxruntime: {plain}"]
    if verdict.ending == "not-started":
        return []
    failed = set(verdict.failed)
    expected = {NOT_LOADED: "load", NOT_RUN: "load", RAN: "numeric"}.get(plain.ended)
    shape = " for " in plain.off and "load" in failed  # a bench keeps no tensor of another shape
    told = verdict.ending == "reported" and (expected in failed or shape)
    if told and not plain.agrees:
        return []
    return [f"{verdict}, and plain onnxruntime: {plain}"]


class Bench:
    """Both processes, and the files of one case between them."""

    def __init__(self, folder: Path) -> None:
        self._files = {
            "model": folder / "model.onnx",
            "spec": folder / "self-test.json",
            "fixtures": folder / "fixtures.npz",
        }
        scratch = folder / "scratch"
        scratch.mkdir()
        # Fixtures of up to a megabyte are read whole: some growth is what the allocator keeps.
        self.parent = ParentLane(scratch, seconds=TIME_LIMIT_SECONDS + 60, growth_kib=128 * 1024)
        self._oracle = Lane(["tests.campaigns.operator_oracle"], seconds=TIME_LIMIT_SECONDS * 4)

    def test(self, case: Case) -> Outcome:
        """One case through both; one that cannot be stated goes through none."""
        try:
            stated = state(case)
        except NoFixturesError as error:
            return _outcome(case, error.group, error.detail)
        self._files["model"].write_bytes(stated.model)
        self._files["spec"].write_bytes(stated.spec)
        self._files["fixtures"].write_bytes(stated.fixtures)
        self._oracle.send(json.dumps({name: str(path) for name, path in self._files.items()}))
        self.parent.ask(**self._files)
        said = self._oracle.receive()
        verdict, faults = self.parent.verdict()
        if said is None:
            raise RuntimeError(f"the oracle {self._oracle.why} over {case.name}")
        if verdict is None:
            return _outcome(case, "does not run", "the parent died", faults)
        plain = Plain(**said)
        faults += wrong_with(verdict, plain)
        return _outcome(case, *reason_of(verdict, plain), faults)

    def close(self) -> None:
        """End both."""
        self.parent.close()
        self._oracle.close()


def _outcome(case: Case, group: str, detail: str, faults: Sequence[str] = ()) -> Outcome:
    result = Result(kind=case.kind, name=case.name, group=group, detail=detail)
    return Outcome(result=result, faults=tuple(faults))


def _earlier(kept: Path, *, again: bool) -> tuple[Path, dict[str, Outcome]]:
    """The file of outcomes on this code and these packages, and what it holds."""
    kept.mkdir(parents=True, exist_ok=True)
    told = "-".join(f"{name}{number}" for name, number in sorted(versions().items()))
    path = kept / f"tried-{code_digest()[:16]}-{told}.jsonl"
    for other in kept.glob("tried-*.jsonl"):
        if other != path or again:
            other.unlink()
    found = {}
    if path.is_file():
        for line in path.read_text("utf-8").splitlines():
            content = json.loads(line)
            result = Result(**content["result"])
            found[f"{result.kind}/{result.name}"] = Outcome(
                result=result, faults=tuple(content["faults"])
            )
    return path, found


def run(cases: Iterable[Case], *, seconds: float, kept: Path, again: bool, to: Path) -> int:
    """Try what the time allows; an exit code."""
    until = time.monotonic() + seconds
    path, outcomes = _earlier(kept, again=again)
    wanted = list(cases)
    say(f"operators: {len(wanted)} cases, {len(outcomes)} tried before on this code")
    shown = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="primum-operators-") as name,
        path.open("a", encoding="utf-8") as file,
    ):
        bench = Bench(Path(name))
        try:
            for case in wanted:
                if f"{case.kind}/{case.name}" in outcomes:
                    continue
                if time.monotonic() > until:
                    break
                outcome = bench.test(case)
                outcomes[f"{case.kind}/{case.name}"] = outcome
                file.write(json.dumps(asdict(outcome)) + "\n")
                file.flush()
                for text in outcome.faults:
                    say(f"FOUND {case.kind}/{case.name}: {text}")
                if time.monotonic() - shown > SHOW_EVERY:
                    shown = time.monotonic()
                    say(f"{len(outcomes)} of {len(wanted)} cases tried")
        finally:
            bench.close()
    return _report(list(outcomes.values()), wanted=len(wanted), to=to)


def _report(outcomes: list[Outcome], *, wanted: int, to: Path) -> int:
    say("")
    groups = Counter(one.result.group or PASSES for one in outcomes)
    for group, count in groups.most_common():
        say(f"{count:6} {group}")
    found = sum(bool(one.faults) for one in outcomes)
    say(f"{len(outcomes)} cases, {groups[PASSES]} pass, {found} findings")
    if len(outcomes) < wanted:
        say(f"{wanted - len(outcomes)} were not tried; the next run goes on")
    elif not found:
        results = [one.result for one in outcomes]
        to.write_text(page(results, versions=versions()), encoding="utf-8")
    return EXIT_FOUND if found else EXIT_DONE


def one_case(name: str) -> int:
    """Try one by its name, and say all."""
    found = next(
        (one for cases in (stored_cases(), made_cases()) for one in cases if one.name == name), None
    )
    if found is None:
        say(f"operators: there is no case {name}")
        return EXIT_FOUND
    with tempfile.TemporaryDirectory(prefix="primum-operators-") as folder:
        bench = Bench(Path(folder))
        try:
            outcome = bench.test(found)
        finally:
            bench.close()
    say(f"{outcome.result}")
    for text in outcome.faults:
        say(f"    {text}")
    return EXIT_FOUND if outcome.faults else EXIT_DONE


def main(words: Sequence[str] | None = None) -> int:
    """Run the campaign as the command line asks."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n", 1)[0], prog="operators"
    )
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--kept", type=Path, default=KEPT)
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--case", help="try this one alone, by its name in the package")
    options = parser.parse_args(words)
    if options.case:
        return one_case(options.case)
    cases = [*stored_cases(), *made_cases()]
    return run(
        cases, seconds=options.seconds, kept=options.kept, again=options.again, to=options.page
    )


if __name__ == "__main__":
    sys.exit(main())
