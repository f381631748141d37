"""Reads what a bench reported; every byte of it is hostile input.

Whatever the words are, they come to one :class:`BenchRun`, or to the error that nothing was learnt
about the release.  A report that is cut, doubled or malformed is never a report that passed.
"""

from __future__ import annotations

from typing import TypeVar

from primum_verifier.core.document import parse_document, read_json
from primum_verifier.core.errors import FailedError, PrimumError, RefusedError
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.bench_contract import (
    BenchRun,
    Ending,
    Observations,
    Problem,
    Ready,
    Unable,
)
from primum_verifier.proof.confinement import Confinement
from primum_verifier.proof.selftest_spec import MAX_OUTPUT_BYTES

MAX_REPORT_BYTES = 2 * MAX_OUTPUT_BYTES
"""The most outputs that are allowed, as base64, and what is said about them; more is a flood."""

FRAMES = 2
"""A whole report has two lines: ready, result."""

_Frame = TypeVar("_Frame", Ready, Observations, Unable)


def conclude(
    lines: list[bytes],
    *,
    cause: Ending,
    detail: str,
    wall_seconds: float,
    peak_rss_kib: int,
    cpu_features: tuple[str, ...],
) -> BenchRun:
    """What the bench's words come to, now that it is gone.

    Args:
        lines: the complete lines of its report.
        cause: how it ended, as the process that started it saw.
        detail: one line for people on how it ended; dropped where a report came.
        wall_seconds: start to end.
        peak_rss_kib: highest resident memory (KiB); 0 if unknown.
        cpu_features: instruction sets of this processor.

    Raises:
        FailedError: it ended before it could open the model, which says nothing about the release.
    """
    ready: Ready | None = None
    observations: Observations | None = None
    ending = cause
    try:
        if lines:
            ready = _first_frame(lines[0])
        if len(lines) >= FRAMES and cause in (Ending.REPORTED, Ending.NO_REPORT):
            observations = _parse(Observations, lines[1])
            ending = Ending.REPORTED
        elif cause is Ending.REPORTED:
            ending = Ending.NO_REPORT
    except RefusedError as error:
        ending, detail = Ending.MALFORMED_REPORT, error.found
    if ready is None and ending in (Ending.NO_REPORT, Ending.CRASHED, Ending.MALFORMED_REPORT):
        raise FailedError(
            "The bench of the self-test ended before it opened the model.",
            reason=Reason.SELFTEST_INCOMPLETE,
            where="bench",
            found=detail,
            expected="a bench that says it is ready",
            remedy="Check the installation of the bench; nothing was learnt about the release.",
        )
    return BenchRun(
        ending=ending,
        ready=ready,
        observations=observations,
        detail="" if ending is Ending.REPORTED else detail,
        wall_seconds=wall_seconds,
        peak_rss_kib=peak_rss_kib,
        cpu_features=cpu_features,
    )


def require_held(run: BenchRun, required: frozenset[Confinement]) -> None:
    """Refuse what was computed under less than was required.

    The bench that comes with the verifier never loads a model so; a maker's own may not know the
    member ``required`` of the request, or not all of its words.

    Raises:
        FailedError: nothing that it says may be used.
    """
    missing = sorted(required - set(run.ready.confinements)) if run.ready is not None else []
    if missing:
        raise FailedError(
            "The bench of the self-test ran the model less confined than this device requires.",
            reason=Reason.SELFTEST_INCOMPLETE,
            where="bench",
            found="not held: " + ", ".join(missing),
            expected=", ".join(sorted(required)),
            remedy="Use a bench and a kernel that hold them, or require less in agent.toml.",
        )


def _first_frame(line: bytes) -> Ready:
    content = read_json(line, where="bench report")
    if isinstance(content, dict) and content.get("frame") == "unable":
        raise _unable(_parse(Unable, line))
    return _parse(Ready, line)


def _parse(model: type[_Frame], line: bytes) -> _Frame:
    return parse_document(model, line, where="bench report", max_bytes=MAX_REPORT_BYTES)


def _unable(frame: Unable) -> PrimumError:
    remedies = {
        Problem.RUNTIME_MISSING: "Install the bench: pip install 'primum-verifier[bench]'.",
        Problem.RUNTIME_UNUSABLE: "Check the installed onnxruntime, and the memory limit that"
        " the specification grants.",
        Problem.CONFINEMENT: "Use a kernel with Landlock and seccomp and install libseccomp 2,"
        " or ask for less.",
        Problem.TELEMETRY: "Start the bench through ConfinedBench, which sets the switch.",
        Problem.REQUEST: "Use a bench and a verifier of the same version.",
    }
    return FailedError(
        "The bench of the self-test cannot begin.",
        reason=Reason.SELFTEST_INCOMPLETE,
        where="bench",
        found=f"{frame.problem}: {frame.text}",
        expected="a bench that can run a model confined",
        remedy=remedies[frame.problem],
    )
