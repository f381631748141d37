"""The process that must not die: runs self-tests one after another, as an agent would for years.

``python -m tests.campaigns.model_parent SCRATCH`` reads one JSON object a line: the paths of
model, specification and fixtures; for each it writes one line: what the self-test came to, and how
the process itself stands.  Whatever no error of the family explains ends it, and is seen.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from primum_verifier.core.errors import FailedError
from primum_verifier.proof.selftest_result import SelfTestResult, TestStatus
from primum_verifier.shell.selftest import self_test

NOT_JUDGED = "not judged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one self-test came to.

    Attributes:
        overall: ``passed``, ``failed``, ``incomplete``, or ``not judged``: an error that says that
            nothing was learnt about the release.
        ending: how the bench ended; ``not-started`` where model or fixtures were refused before.
        failed: the levels of the tests that failed.
        said: the summary.
        milliseconds: from the start of the bench to its end.
        bench_kib: the bench's peak memory.
    """

    overall: str
    ending: str = ""
    failed: tuple[str, ...] = ()
    said: str = ""
    milliseconds: int = 0
    bench_kib: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How the long-lived process stands after a self-test.

    Attributes:
        files: open descriptors.
        rss_kib: resident memory.
        children: processes that it has.
        left: what lies in the scratch folder.
    """

    files: int
    rss_kib: int
    children: tuple[int, ...] = field(default=())
    left: tuple[str, ...] = field(default=())


def verdict_of(result: SelfTestResult) -> Verdict:
    """The result in the words of a campaign."""
    failed = {test.level for test in result.tests if test.status is TestStatus.FAIL}
    return Verdict(
        overall=str(result.overall),
        ending=result.report.ending,
        failed=tuple(sorted(failed)),
        said=result.summary,
        milliseconds=result.report.wall_milliseconds,
        bench_kib=result.report.peak_rss_kib,
    )


def judge(model: Path, spec: bytes, fixtures: Path, *, scratch: Path) -> Verdict:
    """Self-test one model."""
    try:
        return verdict_of(self_test(model=model, spec=spec, fixtures=fixtures, scratch=scratch))
    except FailedError as error:
        return Verdict(overall=NOT_JUDGED, said=f"{error.message} {error.found}")


def standing(scratch: Path) -> Standing:
    """How this process stands now."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    rss = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    tasks = Path("/proc/self/task").glob("*/children")
    return Standing(
        files=len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - names are all that is counted
        rss_kib=int(rss.split()[1]),
        children=tuple(int(pid) for task in tasks for pid in task.read_text().split()),
        left=tuple(sorted(path.name for path in scratch.iterdir())),
    )


def main() -> None:
    """Answer one line for each line."""
    scratch = Path(sys.argv[1])
    for line in sys.stdin:
        asked = json.loads(line)
        verdict = judge(
            Path(asked["model"]),
            Path(asked["spec"]).read_bytes(),
            Path(asked["fixtures"]),
            scratch=scratch,
        )
        told = {"verdict": asdict(verdict), "standing": asdict(standing(scratch))}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
