"""The runner's side of a shadow: copies inputs to a process of its own, and never waits for it.

What holds whatever that process does, and whether it is there at all:

1. An input is offered after its answer was made; it goes into a bounded queue or is dropped and
   counted.  Nothing is read back.
2. The socket never blocks; what it does not take stays in the queue.
3. A process that ended is started again, each time later; one that may not run any more is
   killed with its model.
4. No error of it is an error of a question.
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from primum_agent.children import SUPERVISOR
from primum_agent.deciding import Decision
from primum_agent.layout import Layout
from primum_agent.shadow_run import ShadowLook, ShadowRun
from primum_agent.shadow_wire import MAX_BODY, Handed, frame_of
from primum_verifier.core.limits import MIB
from primum_verifier.proof.confinement import Confinement

MAX_WAITING = 16
"""Inputs that wait for a shadow that is not done with the earlier ones."""

MAX_WAITING_BYTES = 8 * MIB
"""Bytes of them; one alone may be larger."""

WATCH_SECONDS = 1.0
"""Between two looks at whether a shadow that runs still may."""

DRAIN_SECONDS = 5.0
"""In which a shadow compares what it was given and writes its counters, when the runner ends."""

_FIRST_REST, _LONGEST_REST = 60.0, 3600.0
_PIECE = 256 * 1024


@dataclass(eq=False, kw_only=True)
class ShadowFeed:
    """What one runner hands to a shadow.

    Attributes:
        layout: the state folder's names.
        selector: the loop's; the socket is registered under this object while something waits.
        scratch: an existing folder; one in it is the home of the process while it runs.
        answer_seconds: within which a shadow answers one input.
        required: confinements without which no model is loaded.
        command: the program of the shadow.
        dropped: inputs dropped since the last that was handed over.
    """

    layout: Layout
    selector: selectors.BaseSelector
    scratch: Path
    answer_seconds: float
    required: frozenset[Confinement]
    command: tuple[str, ...] = (sys.executable, "-I", "-B", "-m", "primum_agent.shadow_process")
    monotonic: Callable[[], float] = time.monotonic
    dropped: int = 0
    _wanted: bool = False
    _waiting: deque[bytes] = field(default_factory=deque)
    _sent: int = 0
    _run: ShadowRun | None = None
    _process: subprocess.Popen[bytes] | None = None
    _link: socket.socket | None = None
    _home: Path | None = None
    _watched: bool = False
    _rest: float = _FIRST_REST
    _not_before: float = 0.0
    _look: ShadowLook = field(init=False)

    def __post_init__(self) -> None:
        self._look = ShadowLook(self.layout)

    @property
    def runs(self) -> bool:
        """Whether a process of a shadow is there."""
        return self._process is not None

    def offer(
        self,
        *,
        release: str,
        inputs: Mapping[str, bytes],
        decision: Decision | None,
        cohorts: Mapping[str, str],
    ) -> None:
        """Hand over a copy of one input that was answered, where a shadow runs beside the release.

        Args:
            release: SHA-256 of the manifest of the release that answered.
            inputs: the bytes of each input.
            decision: what it decided.
            cohorts: what the application named.
        """
        run = self._look.now()
        if run is None or run.beside != release or decision is None:
            return
        self._wanted = True
        size = sum(len(data) for data in inputs.values())
        held = sum(len(frame) for frame in self._waiting)
        full = len(self._waiting) >= MAX_WAITING or (held and held + size > MAX_WAITING_BYTES)
        if full or size > MAX_BODY or self.monotonic() < self._not_before:
            self.dropped += 1
            return
        self._waiting.append(
            frame_of(
                Handed(
                    inputs=inputs,
                    decision=decision.word,
                    score=decision.score,
                    cohorts=cohorts,
                    dropped=self.dropped,
                )
            )
        )
        self.dropped = 0

    def tend(self) -> None:
        """Start, end and feed the process, as far as each is due; called between two questions."""
        now = self.monotonic()
        if self._process is not None and self._process.poll() is not None:
            self._forget()
            self._not_before, self._rest = now + self._rest, min(2 * self._rest, _LONGEST_REST)
        if not self._wanted and self._process is None:
            return
        run = self._look.now()
        if run is None or (self._run is not None and run != self._run):
            self.stop(grace=0.0)
            self._rest, self._not_before, self._wanted, self.dropped = _FIRST_REST, now, False, 0
            return
        if self._process is None and self._waiting and now >= self._not_before:
            self._start(run)
        self.push()

    def push(self) -> None:
        """Give the socket what it takes now, and no more."""
        link = self._link
        if link is None:
            return
        try:
            while self._waiting:
                frame = memoryview(self._waiting[0])[self._sent :]
                self._sent += link.send(frame[:_PIECE])
                if self._sent == len(self._waiting[0]):
                    self._waiting.popleft()
                    self._sent = 0
        except BlockingIOError:
            pass
        except OSError:
            # It is gone; its end is seen at the next look.
            self._waiting.clear()
        self._watch(wanted=bool(self._waiting))

    def stop(self, *, grace: float = DRAIN_SECONDS) -> None:
        """End the process and its model.

        Args:
            grace: seconds in which it may finish, write its counters and end by itself.
        """
        process = self._process
        if process is None:
            self._forget()
            return
        if grace and self._link is not None:
            # What it was given already is compared and counted; then it ends by itself.
            with suppress(OSError):
                self._link.shutdown(socket.SHUT_WR)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=grace)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self._forget()

    def _start(self, run: ShadowRun) -> None:
        ours, its = socket.socketpair()
        ours.settimeout(0.0)
        try:
            self._home = Path(tempfile.mkdtemp(prefix="shadow-", dir=self.scratch))
            arguments = [str(its.fileno()), str(self.layout.root), str(self._home)]
            arguments += [str(self.answer_seconds), ",".join(sorted(self.required))]
            self._process = subprocess.Popen(
                [*self.command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(its.fileno(),),
                start_new_session=True,
                env={**os.environ, SUPERVISOR: str(os.getpid())},
            )
        except OSError:
            # No process or no memory is left: a shadow is the first to do without.
            ours.close()
            self._not_before = self.monotonic() + self._rest
            self._forget()
            return
        finally:
            its.close()
        self._link, self._run = ours, run

    def _forget(self) -> None:
        """Nothing of the process that ended is left; what it did not take is dropped."""
        self._watch(wanted=False)
        if self._link is not None:
            self._link.close()
        if self._home is not None:
            shutil.rmtree(self._home, ignore_errors=True)
        self._link = self._process = self._run = self._home = None
        self._drop_what_waits()

    def _drop_what_waits(self) -> None:
        self.dropped += len(self._waiting)
        self._waiting.clear()
        self._sent = 0

    def _watch(self, *, wanted: bool) -> None:
        """Let the loop wake when the socket takes more, while something waits."""
        if self._link is None or wanted == self._watched:
            return
        if wanted:
            self.selector.register(self._link, selectors.EVENT_WRITE, self)
        else:
            self.selector.unregister(self._link)
        self._watched = wanted
