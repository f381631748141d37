"""What a bench is asked and what it may answer; every answer is hostile input.

A bench is any program that loads a model, runs the cases it is given and reports.  The Python one
(``primum_verifier.shell.bench_child``) is the reference; a device may bring its own.  It is handed
the inputs alone: what is expected of them never enters the process that loads the model, so a
model that took the process over still cannot answer right without computing it.

The request is one line of JSON with the model, the interface and how times are to be taken, and
then the inputs, case by case, as the little-endian bytes of
their type in C order.  The answer is two lines of JSON on a descriptor of its own: :class:`Ready`
before the model is opened, :class:`Observations` after the run; or :class:`Unable` when the run
cannot begin.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from primum_verifier.core.document import Document, SchemaVersion
from primum_verifier.proof.confinement import Confinement
from primum_verifier.proof.selftest_spec import (
    MAX_CASES,
    MAX_OUTPUT_BYTES,
    MAX_RANK,
    MAX_ROUNDS,
    MAX_TENSORS,
    TensorSpec,
)

CONTRACT = "0.1"

Shown = Annotated[str, StringConstraints(max_length=600)]
"""A text that comes from the bench; it is shown as evidence and never acted upon."""

Fact = Annotated[str, StringConstraints(max_length=120)]
Microseconds = Annotated[int, Field(ge=0, le=3_600_000_000)]


Round = Annotated[tuple[Microseconds, ...], Field(max_length=MAX_CASES)]


class Runtime(Document):
    """Which software computed: versions as the bench found them."""

    onnxruntime: Fact
    numpy: Fact
    python: Fact


class Ready(Document):
    """Said before the model is opened, so no model can have changed it."""

    frame: Literal["ready"]
    contract: SchemaVersion
    runtime: Runtime
    provider: Fact
    architecture: Fact
    confinements: Annotated[tuple[Fact, ...], Field(max_length=len(Confinement))]
    landlock_abi: Annotated[int, Field(ge=0, le=1000)]


class Problem(StrEnum):
    """Why a run could not begin; none of these says anything about the release."""

    RUNTIME_MISSING = "runtime-missing"
    RUNTIME_UNUSABLE = "runtime-unusable"
    CONFINEMENT = "confinement"
    TELEMETRY = "telemetry"
    REQUEST = "request"


class Unable(Document):
    """The run could not begin."""

    frame: Literal["unable"]
    problem: Annotated[Problem, Field(strict=False)]
    text: Shown


class FoundTensor(Document):
    """An input or output as the loaded model names it; a symbolic dimension is a text."""

    name: Fact
    dtype: Fact
    shape: Annotated[tuple[int | Fact | None, ...], Field(max_length=MAX_RANK)]


def _base64_length(count: int) -> int:
    return -(-count // 3) * 4


FoundTensors = Annotated[tuple[FoundTensor, ...], Field(max_length=MAX_TENSORS)]


class OutputBlock(Document):
    """All values of one output, case after case: base64 of little-endian bytes in C order."""

    name: Fact
    dtype: Fact
    data: Annotated[str, StringConstraints(max_length=_base64_length(MAX_OUTPUT_BYTES))]


class Observations(Document):
    """What the bench says happened.  ``failed_cases`` have no value, whatever their bytes are.

    ``loads_us`` is how long each loading took; ``latencies_us`` how long each run of the first
    round took, and ``again_us`` those of every further round.
    """

    frame: Literal["result"]
    loaded: bool
    out_of_memory: bool
    error: Shown
    inputs: FoundTensors
    outputs: FoundTensors
    values: Annotated[tuple[OutputBlock, ...], Field(max_length=MAX_TENSORS)]
    failed_cases: Annotated[
        tuple[Annotated[int, Field(ge=0, lt=MAX_CASES)], ...], Field(max_length=MAX_CASES)
    ]
    loads_us: Annotated[tuple[Microseconds, ...], Field(max_length=MAX_ROUNDS)]
    latencies_us: Round
    again_us: Annotated[tuple[Round, ...], Field(max_length=MAX_ROUNDS)] = ()

    @property
    def rounds_us(self) -> tuple[tuple[int, ...], ...]:
        """The times of every round in which a case ran."""
        return tuple(times for times in (self.latencies_us, *self.again_us) if times)

    def of_cases(self, output: TensorSpec, *, count: int) -> tuple[bytes | None, ...]:
        """The bytes of ``output`` in each case.

        None where the case failed, and in all cases where there is no block of this name, of this
        type and of as many bytes as ``count`` cases need.
        """
        block = next((block for block in self.values if block.name == output.name), None)
        if block is None or block.dtype != output.dtype:
            return (None,) * count
        try:
            raw = base64.b64decode(block.data, validate=True)
        except (binascii.Error, ValueError):
            return (None,) * count
        size = output.case_bytes
        if len(raw) != size * count:
            return (None,) * count
        failed = frozenset(self.failed_cases)
        return tuple(
            None if index in failed else raw[index * size : (index + 1) * size]
            for index in range(count)
        )


class Ending(StrEnum):
    """How the bench ended, as the process that started it saw."""

    REPORTED = "reported"
    NO_REPORT = "no-report"
    MALFORMED_REPORT = "malformed-report"
    CRASHED = "crashed"
    KILLED = "killed"
    TIMED_OUT = "timed-out"
    TOO_MUCH_OUTPUT = "too-much-output"


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRun:
    """One run of a bench.

    Attributes:
        ending: how it ended.
        ready: what it said before the model was opened, None when it did not get so far.
        observations: its report, only when ``ending`` is ``reported``.
        detail: one line for people: a signal, an exit code, the last line on stderr.
        wall_seconds: start to end, measured outside.
        peak_rss_kib: highest resident memory (KiB), read by the starting process; 0 if unknown.
        cpu_features: instruction sets that choose how the runtime computes, as the kernel names
            them; results may differ in the last bits between processors that differ here.
    """

    ending: Ending
    ready: Ready | None
    observations: Observations | None
    detail: str
    wall_seconds: float
    peak_rss_kib: int
    cpu_features: tuple[str, ...] = ()
