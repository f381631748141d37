"""What a model really answers: plain onnxruntime in throw-away processes, decided with numpy.

Nothing of the verifier is imported.  ``python -m tests.campaigns.model_oracle FIXTURES SPEC`` has
the runtime in memory and forks for each path that it reads on standard input; the fork loads the
model, runs the cases and ends, or is ended.  For each path it writes one line of JSON.
"""

from __future__ import annotations

import json
import math
import os
import resource
import select
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime as ort

SECONDS = 10
"""After so long a fork is ended; the self-test has as long for the same cases and its start."""

_MEMORY = 2 * 1024**3
_MAX_ANSWER = 1024 * 1024

RAN, NOT_LOADED, CRASHED, TIMED_OUT = "ran", "not loaded", "crashed", "timed out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What plain onnxruntime made of one model.

    Attributes:
        ended: ``ran``, or how it did not.
        flips: cases decided otherwise than expected; no usable output is no decision at all.
        outside: cases that ``numpy.isclose`` finds outside the signed tolerance.
        deviation: the largest finite distance from a reference.
        same: whether every output has the bits of the reference.
    """

    ended: str
    flips: int = 0
    outside: int = 0
    deviation: float = 0.0
    same: bool = False

    @property
    def changed(self) -> bool:
        """Whether it answers, and decides otherwise."""
        return self.ended == RAN and self.flips > 0

    @property
    def as_signed(self) -> bool:
        """Whether it does what was signed: every decision, every number within its tolerance."""
        return self.ended == RAN and not self.flips and not self.outside


class Oracle:
    """One model after the other, each in a fork of its own.

    Args:
        fixtures: the ``.npz`` as numpy reads it.
        says: the specification as JSON.
    """

    def __init__(self, fixtures: dict[str, Any], says: dict[str, Any]) -> None:
        self._inputs = {
            one["name"]: fixtures[f"input.{one['name']}"] for one in says["interface"]["inputs"]
        }
        self._output = says["operatingPoint"]["output"]
        self._threshold = float(says["operatingPoint"]["threshold"])
        self._expected = fixtures["expected_decision"]
        self._reference = fixtures[f"reference.{self._output}"].reshape(len(self._expected))
        numeric = next(one for one in says["tests"] if one["level"] == "numeric")
        self._tolerance = {"atol": float(numeric["absTol"]), "rtol": float(numeric["relTol"])}

    def ask(self, model: str) -> Answer:
        """What the model at this path answers."""
        ended, values = in_a_fork(lambda: self._values(model))
        if ended != RAN:
            return Answer(ended=ended)
        return Answer(ended=NOT_LOADED) if values is None else self._judge(values)

    def _judge(self, values: list[float | None]) -> Answer:
        usable = np.array([value is not None for value in values])
        numbers = np.array([math.nan if value is None else value for value in values])
        decided = np.where(np.isnan(numbers), -1, numbers >= self._threshold)
        near = np.isclose(numbers, self._reference.astype("f8"), equal_nan=True, **self._tolerance)
        off = np.abs(numbers - self._reference)
        off = off[np.isfinite(off)]
        return Answer(
            ended=RAN,
            flips=int(np.sum(~usable | (decided != self._expected))),
            outside=int(np.sum(~usable | ~near)),
            deviation=float(off.max()) if off.size else 0.0,
            same=bool(usable.all())
            and np.array_equal(numbers, self._reference.astype("f8"), equal_nan=True),
        )

    def _values(self, model: str) -> list[float | None] | None:
        try:
            session = plain_session(model)
        except Exception:  # noqa: BLE001 - native code may raise anything
            return None
        return [self._value(session, case) for case in range(len(self._expected))]

    def _value(self, session: Any, case: int) -> float | None:
        feed = {name: values[case : case + 1] for name, values in self._inputs.items()}
        try:
            (found,) = session.run([self._output], feed)
        except Exception:  # noqa: BLE001 - as above
            return None
        usable = isinstance(found, np.ndarray) and found.shape == (1, 1) and found.dtype == "f4"
        return float(found[0, 0]) if usable else None


def plain_session(model: str) -> Any:
    """A session as people make one, but for one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def in_a_fork(
    work: Callable[[], object], *, memory: int = _MEMORY, seconds: int = SECONDS
) -> tuple[str, Any]:
    """Have it done in a fork with limits, which is ended when it takes too long.

    Args:
        work: what; it gives what JSON can say.
        memory: bytes of address space.
        seconds: of processor time; of time, twice as many.

    Returns:
        How it ended, and what it gave where it ran.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _be_the_fork(work, writing, memory=memory, seconds=seconds)
    os.close(writing)
    said = _heard(reading, seconds=2 * seconds)
    os.close(reading)
    if said is None:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if said is None:
        return TIMED_OUT, None
    try:
        return RAN, json.loads(said)["gave"]
    except ValueError:
        late = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU
        return TIMED_OUT if late else CRASHED, None


def _be_the_fork(
    work: Callable[[], object], writing: int, *, memory: int, seconds: int
) -> NoReturn:
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):  # native code may say anything
        os.dup2(nowhere, stream.fileno())
    try:
        os.write(writing, json.dumps({"gave": work()}).encode())
    finally:
        os._exit(0)


def _heard(reading: int, *, seconds: float) -> bytes | None:
    """Everything until the fork closes; None when it takes too long."""
    said = b""
    while len(said) <= _MAX_ANSWER:
        ready, _, _ = select.select([reading], [], [], seconds)
        if not ready:
            return None
        chunk = os.read(reading, 65536)
        if not chunk:
            return said
        said += chunk
    return b""


def main() -> None:
    """Answer one line for each path."""
    fixtures, spec = map(Path, sys.argv[1:3])
    with np.load(fixtures, allow_pickle=False) as npz:
        oracle = Oracle({name: npz[name] for name in npz.files}, json.loads(spec.read_bytes()))
    for line in sys.stdin:
        print(json.dumps(asdict(oracle.ask(line.rstrip("\n")))), flush=True)


if __name__ == "__main__":
    main()
