"""Talks to the processes of a campaign over models: a line to each, a line back, or its death."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.campaigns.crash_worlds import CHECKOUT
from tests.campaigns.model_parent import Standing, Verdict

_AFTER_DEATH_SECONDS = 10.0
_READ = 65536


class Lane:
    """One helper process, started again when it died.

    Args:
        words: module and arguments.
        seconds: how long one answer may take.
    """

    def __init__(self, words: Sequence[str], *, seconds: float) -> None:
        self._command = [sys.executable, "-m", *words]
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._unread = b""
        self.deaths = 0
        self.why = ""

    def send(self, line: str) -> None:
        """Ask."""
        if self._process is None:
            self._unread = b""
            self._process = subprocess.Popen(
                self._command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it is gone, as the answer will show
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()

    def receive(self) -> dict[str, Any] | None:
        """The answer; None when the process died over it, or gave none in time."""
        process = self._process
        assert process is not None
        assert process.stdout is not None
        while b"\n" not in self._unread:
            ready, _, _ = select.select([process.stdout], [], [], self._seconds)
            chunk = os.read(process.stdout.fileno(), _READ) if ready else b""
            if not chunk:
                self.why = "died" if ready else f"no answer within {self._seconds:.0f} s"
                self.deaths += 1
                self.close()
                return None
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.close()
        try:
            code = process.wait(timeout=_AFTER_DEATH_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        self.why = f"{self.why} with {code}" if self.why else ""
        process.stdout.close()


class ParentLane(Lane):
    """The long-lived parent: what it came to, and whether it stands as it stood before.

    Args:
        scratch: its scratch folder.
        seconds: how long one self-test may take.
        growth_kib: how much resident memory it may gain after its first self-tests.
    """

    WARM_AFTER = 20

    def __init__(self, scratch: Path, *, seconds: float, growth_kib: int = 32 * 1024) -> None:
        super().__init__(["tests.campaigns.model_parent", str(scratch)], seconds=seconds)
        self._growth = growth_kib
        self._first: Standing | None = None
        self._asked = 0
        self._warm = 0
        self.peak_kib = 0

    def ask(self, model: Path, spec: Path, fixtures: Path) -> None:
        """Have one model tested."""
        asked = {"model": str(model), "spec": str(spec), "fixtures": str(fixtures)}
        self.send(json.dumps(asked))

    def verdict(self) -> tuple[Verdict | None, list[str]]:
        """The verdict, None when the parent died; and what did not hold."""
        answer = self.receive()
        if answer is None:
            self._first = None
            return None, [f"the parent {self.why}"]
        verdict = Verdict(**{**answer["verdict"], "failed": tuple(answer["verdict"]["failed"])})
        return verdict, self._faults(Standing(**answer["standing"]))

    def _faults(self, now: Standing) -> list[str]:
        if self._first is None:
            self._first, self._asked = now, 0
        self._asked += 1
        self.peak_kib = max(self.peak_kib, now.rss_kib)
        if self._asked == self.WARM_AFTER:
            self._warm = now.rss_kib
        faults = []
        if now.files != self._first.files:
            faults.append(f"{now.files} open files instead of {self._first.files}")
        if now.children:
            faults.append(f"processes were left: {now.children}")
        if now.left:
            faults.append(f"files were left: {now.left}")
        if self._asked > self.WARM_AFTER and now.rss_kib > self._warm + self._growth:
            faults.append(f"the parent grew from {self._warm} to {now.rss_kib} KiB")
        return faults
