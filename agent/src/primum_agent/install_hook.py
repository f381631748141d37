"""The installer ``hook``: a program of the integrator, with one documented contract.

For each step the program is started anew, with the step as its last argument and one JSON object
on its standard input.  How it ends is its answer:

=========================  =====================================================================
exit code 0                go on
exit code 75 at ``ask``    ask again later (EX_TEMPFAIL of sysexits.h); its first line says why
anything else, or too      failed; the end of its standard error is reported
long, or by a signal
=========================  =====================================================================

``ask`` comes at every look while the release waits, ``prepare`` before anything is switched,
``take-effect`` after the switch and, with the earlier files, on the way back; ``leave`` where what
comes has no such component, ``confirm`` once health is proven.  ``take-effect`` may come twice
after a power cut.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from primum_agent.components import AskedLaterError, Part, failed
from primum_agent.programs import Ended, run_program
from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason

LATER = 75
"""``EX_TEMPFAIL``: ask again later."""

CONTRACT = "0.1"
"""The version of the contract, told to the program."""


class HookInstaller:
    """Hands the files of a component to a program.

    Args:
        command: the program and its first arguments.
        step_seconds: within which one step ends.
    """

    def __init__(self, command: tuple[str, ...], *, step_seconds: float) -> None:
        self._command = command
        self._seconds = step_seconds

    def ask(self, part: Part) -> None:
        """See :class:`~primum_agent.components.ComponentInstaller`."""
        ended = self._run("ask", part, files=part.stored)
        if ended.code == LATER:
            raise AskedLaterError(
                "A component asks to be asked again later.",
                reason=Reason.STATE_ASKED_LATER,
                where=part.name,
                found=_first_line(ended) or "no reason given",
                expected=f"exit code 0 of {self._command[0]} ask",
                remedy="Nothing has to be done: it is asked again at the next look.",
            )
        self._check("ask", part, ended)

    def prepare(self, part: Part) -> None:
        """See :class:`~primum_agent.components.ComponentInstaller`."""
        self._check("prepare", part, self._run("prepare", part, files=part.stored))

    def take_effect(self, part: Part) -> None:
        """See :class:`~primum_agent.components.ComponentInstaller`."""
        self._step("take-effect", part)

    def leave(self, part: Part) -> None:
        """See :class:`~primum_agent.components.ComponentInstaller`."""
        self._step("leave", part)

    def in_effect(self, part: Part) -> bool:  # noqa: ARG002 - nobody but the program could tell
        """See :class:`~primum_agent.components.ComponentInstaller`."""
        return True

    def confirm(self, part: Part) -> None:
        """See :class:`~primum_agent.components.ComponentInstaller`."""
        self._step("confirm", part)

    def _step(self, step: str, part: Part) -> None:
        placed = {item: part.folder / name for item, name in part.files.items()}
        self._check(step, part, self._run(step, part, files=placed))

    def _run(self, step: str, part: Part, *, files: Mapping[str, Path]) -> Ended:
        handed = {
            "contract": CONTRACT,
            "step": step,
            "component": part.id,
            "version": part.version,
            "generation": part.generation,
            "release": part.release,
            "files": {item: str(path) for item, path in files.items()},
        }
        try:
            return run_program(
                [*self._command, step], seconds=self._seconds, handed=json.dumps(handed).encode()
            )
        except FailedError as error:
            raise failed(
                part, found=error.found, expected=error.expected, remedy=error.remedy
            ) from error

    def _check(self, step: str, part: Part, ended: Ended) -> None:
        if ended.code != 0:
            raise failed(
                part,
                found=f"{self._command[0]} {step} ended with {ended.code}: {ended.complaint}"[:300],
                expected=f"exit code 0{f' or {LATER}' if step == 'ask' else ''}",
                remedy="Read what the hook reports; it is the integrator's program.",
            )


def _first_line(ended: Ended) -> str:
    lines = ended.printed.decode("utf-8", "replace").strip().splitlines()
    line = lines[0].strip()[:200] if lines else ""
    return line if line.isprintable() else repr(line)
