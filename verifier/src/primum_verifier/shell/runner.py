"""A model that computes inside a confinement for as long as somebody asks it.

The same confinement as a self-test's, around the same runtime with the same settings: what was
proven in a sandbox need not run outside one.  One question at a time; a model that crashes, hangs
or answers something else than its interface says costs that question, is ended with everything it
started, and is loaded anew at the next.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from primum_verifier.core.document import read_json
from primum_verifier.core.errors import FailedError, PrimumError
from primum_verifier.core.limits import KIB
from primum_verifier.core.reasons import Reason
from primum_verifier.proof.confinement import ALWAYS_POSSIBLE, Confinement
from primum_verifier.proof.selftest_spec import Interface, TensorSpec
from primum_verifier.shell.bench_process import end, has_ended, peak_rss_kib
from primum_verifier.shell.bench_start import make_home, start_confined

RUNNER_COMMAND = (sys.executable, "-I", "-B", "-m", "primum_verifier.shell.runner_child")
"""The runner that comes with the verifier."""

LOAD_SECONDS = 60.0
"""Within which a model is loaded; a self-test has loaded it before."""

_CONTRACT = "0.1"
_MAX_FRAME = 16 * KIB
_READ = 64 * KIB
_KEPT = 4 * KIB
_COMPUTED = b"\x00"


@dataclass(frozen=True, kw_only=True)
class Serving:
    """What the confined process said when it stood ready.

    Attributes:
        runtime: versions of the runtime, numpy and Python.
        provider: the execution provider.
        confinements: which were held.
        load_microseconds: how long loading took.
    """

    runtime: Mapping[str, str]
    provider: str
    confinements: tuple[str, ...]
    load_microseconds: int


@dataclass(eq=False, kw_only=True)
class ConfinedModel:
    """One model behind a confinement.

    Attributes:
        model: the model file, screened and proven already.
        interface: what goes in and comes out.
        memory_mib: address space that it may use.
        scratch: an existing folder; a folder in it is its home while it runs.
        required: confinements without which it is not loaded.
        clock: seconds that never go back.
    """

    model: Path
    interface: Interface
    memory_mib: int
    scratch: Path
    required: frozenset[Confinement] = ALWAYS_POSSIBLE
    command: tuple[str, ...] = RUNNER_COMMAND
    clock: Callable[[], float] = time.monotonic
    starts: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _home: Path | None = field(default=None, init=False)
    _questions: int = field(default=-1, init=False)
    _answers: int = field(default=-1, init=False)
    _serving: Serving | None = field(default=None, init=False)
    _said: bytes = field(default=b"", init=False)
    _silent: bool = field(default=False, init=False)

    def start(self) -> Serving:
        """Load the model, if it is not loaded.

        Raises:
            FailedError: it cannot be: no runtime, a confinement that is not held, a model that
                does not load; the reason says which.
        """
        if self._serving is not None and self._process is not None:
            if not has_ended(self._process.pid):
                return self._serving
            self.close()
        self._home = make_home(self.scratch)
        question, self._questions = os.pipe()
        self._answers, answer = os.pipe()
        try:
            command = (*self.command, str(answer))
            self._process = start_confined(command, question, answer, self._home)
            self.starts += 1
            self._said, self._silent = b"", False
        except PrimumError:
            self.close()
            raise
        finally:
            os.close(question)
            os.close(answer)
        try:
            self._ask(json.dumps(self._request()).encode() + b"\n", self.clock() + LOAD_SECONDS)
            self._serving = _serving(self._frame(self.clock() + LOAD_SECONDS))
        except PrimumError:
            self.close()
            raise
        return self._serving

    def compute(self, inputs: Mapping[str, bytes], *, seconds: float) -> dict[str, bytes]:
        """Compute one case.

        Args:
            inputs: the bytes of each input of the interface, little-endian, in C order.
            seconds: within which the answer has to come.

        Returns:
            The bytes of each output.

        Raises:
            FailedError: ``compat.contract``: the inputs are not those of the interface, or the
                model cannot compute them; ``selftest.timeout`` or ``selftest.incomplete``: it was
                ended, and is loaded anew at the next question.
        """
        question = b"".join(self._bytes_of(tensor, inputs) for tensor in self.interface.inputs)
        if len(inputs) != len(self.interface.inputs):
            raise _other_inputs("an input that the interface does not have", "its inputs alone")
        self.start()
        deadline = self.clock() + seconds
        try:
            self._ask(question, deadline)
            if self._exactly(1, deadline) != _COMPUTED:
                length = int.from_bytes(self._exactly(2, deadline), "little")
                text = self._exactly(length, deadline).decode("utf-8", "replace")
                raise _other_inputs(_plain(text), "inputs that the model can compute")
            return {
                tensor.name: self._exactly(tensor.case_bytes, deadline)
                for tensor in self.interface.outputs
            }
        except FailedError as error:
            if error.reason is not Reason.COMPAT_CONTRACT:
                self.close()
            raise

    def peak_kib(self) -> int:
        """Highest resident memory so far; 0 where it does not run or nobody can say."""
        return 0 if self._process is None else peak_rss_kib(self._process.pid)

    def close(self) -> None:
        """End it and everything it started."""
        process, self._process, self._serving = self._process, None, None
        if process is not None:
            end(process)
        for descriptor in (self._questions, self._answers):
            if descriptor >= 0:
                os.close(descriptor)
        self._questions = self._answers = -1
        if self._home is not None:
            shutil.rmtree(self._home, ignore_errors=True)
            self._home = None

    def _request(self) -> dict[str, Any]:
        return {
            "contract": _CONTRACT,
            "model": str(self.model.resolve()),
            "memoryMiB": self.memory_mib,
            "parent": os.getpid(),
            "required": sorted(self.required),
            "inputs": [_told(tensor) for tensor in self.interface.inputs],
            "outputs": [_told(tensor) for tensor in self.interface.outputs],
        }

    def _bytes_of(self, tensor: TensorSpec, inputs: Mapping[str, bytes]) -> bytes:
        found = inputs.get(tensor.name)
        if found is None or len(found) != tensor.case_bytes:
            held = "nothing" if found is None else f"{len(found)} bytes"
            raise _other_inputs(f"{tensor.name}: {held}", f"{tensor.case_bytes} bytes")
        return found

    # The pipes

    def _ask(self, data: bytes, deadline: float) -> None:
        left = memoryview(data)
        os.set_blocking(self._questions, False)
        while left:
            self._wait([], [self._questions], deadline)
            try:
                left = left[os.write(self._questions, left[:_READ]) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._gone() from error

    def _exactly(self, count: int, deadline: float) -> bytes:
        found = bytearray()
        while len(found) < count:
            self._wait([self._answers], [], deadline)
            piece = os.read(self._answers, min(count - len(found), _READ))
            if not piece:
                raise self._gone()
            found += piece
        return bytes(found)

    def _frame(self, deadline: float) -> dict[str, Any]:
        found = bytearray()
        while not found.endswith(b"\n"):
            found += self._exactly(1, deadline)
            if len(found) > _MAX_FRAME:
                raise self._gone()
        content = read_json(bytes(found), where="runner")
        if not isinstance(content, dict):
            raise self._gone()
        return content

    def _wait(self, reading: list[int], writing: list[int], deadline: float) -> None:
        """Until a pipe is ready; what is said on standard error meanwhile does not fill up."""
        while (left := deadline - self.clock()) > 0.0:
            readable, writable, _ = select.select([*reading, *self._chatter()], writing, [], left)
            if set(readable) & set(self._chatter()):
                self._listen()
            if set(readable) & set(reading) or writable:
                return
        raise FailedError(
            "The model did not answer in time.",
            reason=Reason.SELFTEST_TIMEOUT,
            where=self.model.name,
            expected="an answer within the time that one question is given",
            remedy="It was ended and is loaded anew at the next question.",
        )

    def _chatter(self) -> list[int]:
        process = self._process
        said = None if process is None else process.stderr
        return [] if said is None or said.closed or self._silent else [said.fileno()]

    def _listen(self) -> None:
        for descriptor in self._chatter():
            piece = os.read(descriptor, _READ)
            self._silent = not piece
            self._said = (self._said + piece)[-_KEPT:]

    def _gone(self) -> FailedError:
        return FailedError(
            "The confined process of the model is gone.",
            reason=Reason.SELFTEST_INCOMPLETE,
            where=self.model.name,
            found=_plain(self._last_words()),
            expected="an answer of its interface's length",
            remedy="It is loaded anew at the next question.",
        )

    def _last_words(self) -> str:
        while any(select.select(self._chatter(), [], [], 0.0)):
            self._listen()
        return self._said.decode("utf-8", "replace").strip().rpartition("\n")[2]


def _told(tensor: TensorSpec) -> dict[str, object]:
    return {"name": tensor.name, "dtype": str(tensor.dtype), "shape": list(tensor.call_shape)}


def _serving(frame: Mapping[str, Any]) -> Serving:
    if frame.get("frame") != "serving":
        raise FailedError(
            "The model cannot be run confined.",
            reason=Reason.SELFTEST_INCOMPLETE,
            where="runner",
            found=_plain(f"{frame.get('problem')}: {frame.get('text')}"),
            expected="a model that a self-test has loaded here",
            remedy="Run the self-test again: `primum-agent doctor` says what is missing.",
        )
    return Serving(
        runtime={str(name): str(value) for name, value in dict(frame["runtime"]).items()},
        provider=str(frame["provider"]),
        confinements=tuple(str(item) for item in frame["confinements"]),
        load_microseconds=int(frame["loadUs"]),
    )


def _other_inputs(found: str, expected: str) -> FailedError:
    return FailedError(
        "The question is not one that this model can be asked.",
        reason=Reason.COMPAT_CONTRACT,
        where="inputs",
        found=found,
        expected=expected,
        remedy="Ask with the inputs of the signed interface.",
    )


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)[:300]
