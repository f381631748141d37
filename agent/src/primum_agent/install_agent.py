"""The agent itself as a component: a tree beside the one that runs, which the loader starts next.

The tree holds Python packages alone.  Beside it lies an environment of the device's own Python
that sees them and nothing else, so that the new agent and its children find their own modules.  The
new agent is started once before anything is switched, to see that it can be; then the loader is
told, and the supervisor ends so that it is started anew.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from primum_agent.agent_choice import (
    STARTS_PROVEN,
    STARTS_UNPROVEN,
    AgentChoice,
    loader,
    read_choice,
    running,
    write_choice,
)
from primum_agent.components import AskedLaterError, NotYetInEffectError, Part, failed
from primum_agent.durable import disk_errors, sync_folder, write_file
from primum_agent.install_tree import unpack_tree
from primum_agent.layout import Layout
from primum_agent.programs import run_program
from primum_agent.tree_files import Held
from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason

_TRIED = (
    "import primum_agent.attempt, primum_agent.cli, primum_agent.commands.run, "
    "primum_agent.sign_head, primum_agent.supervisor"
)
_PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"


class AgentInstaller:
    """Brings another agent into effect through the loader.

    Args:
        layout: the state folder's names.
        step_seconds: within which a new agent shows that it can be started.
        make_room: refuses what does not fit on the disk, in bytes.
        held: for a component, what finds files of its earlier tree by their digests.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        step_seconds: float,
        make_room: Callable[[int], None],
        held: Callable[[Part], Held],
    ) -> None:
        self._layout = layout
        self._seconds = step_seconds
        self._make_room = make_room
        self._held = held

    def ask(self, part: Part) -> None:
        """See :class:`~primum_agent.components.ComponentInstaller`."""
        if not loader():
            raise AskedLaterError(
                "The agent was not started by its loader.",
                reason=Reason.STATE_ASKED_LATER,
                where=part.name,
                found="an agent that nothing would start anew",
                expected="an agent that the loader started",
                remedy="Start it as a service: `systemctl start primum-agent`.",
            )

    def prepare(self, part: Part) -> None:
        """See :class:`~primum_agent.components.ComponentInstaller`."""
        unpack_tree(part, make_room=self._make_room, held=self._held(part))
        folder = _environment(part)
        _make_environment(folder, part)
        try:
            run_program(
                [str(folder / "bin" / "python3"), "-IB", "-c", _TRIED],
                seconds=self._seconds,
                may_fail=frozenset(),
            )
        except FailedError as error:
            raise failed(
                part,
                found=error.found,
                expected="an agent that this device's Python can start",
                remedy="Build the tree of the agent for this Python and this machine.",
            ) from error

    def take_effect(self, part: Part) -> None:
        """See :class:`~primum_agent.components.ComponentInstaller`."""
        chosen, choice = self._name(part), read_choice(self._layout)
        if choice.chosen != chosen:
            back = self._before(chosen)
            write_choice(
                self._layout,
                AgentChoice(
                    chosen=chosen,
                    # What is left is no way back from where it is left for.
                    before="" if back else running(self._layout),
                    identity=part.identity,
                    limit=STARTS_PROVEN if back else STARTS_UNPROVEN,
                    proven=back,
                ),
            )
        elif choice.fell_back:
            raise failed(
                part,
                found=f"started {choice.limit} times, and it never proved health",
                expected="an agent that comes to stand",
                remedy="Its own log says why: `journalctl --unit primum-agent`.",
            )
        if running(self._layout) != chosen:
            raise _not_yet(part.name)

    def leave(self, part: Part) -> None:
        """See :class:`~primum_agent.components.ComponentInstaller`."""
        if read_choice(self._layout).chosen:
            write_choice(self._layout, AgentChoice())
        if running(self._layout):
            raise _not_yet(f"the agent that was installed, instead of {part.name}")

    def in_effect(self, part: Part) -> bool:
        """See :class:`~primum_agent.components.ComponentInstaller`."""
        # A proven one that the loader had to leave takes no model away: `doctor` tells it.
        choice = read_choice(self._layout)
        gone = choice.identity == part.identity and choice.fell_back > 0
        return choice.proven or not gone

    def confirm(self, part: Part) -> None:
        """See :class:`~primum_agent.components.ComponentInstaller`."""
        choice = read_choice(self._layout)
        if choice.identity == part.identity and not choice.proven:
            proven = replace(choice, proven=True, limit=STARTS_PROVEN, starts=0)
            write_choice(self._layout, proven)

    def _name(self, part: Part) -> str:
        return str(_environment(part).relative_to(self._layout.root))

    def _before(self, chosen: str) -> bool:
        """Whether an agent is one that ran and proved itself before, so that it is a way back."""
        return read_choice(self._layout).before == chosen


def _environment(part: Part) -> Path:
    return part.folder.with_name(f".{part.id}.env")


def _make_environment(folder: Path, part: Part) -> None:
    """An environment of this device's Python that sees the tree, and nothing of the system's."""
    site = folder / "lib" / _PYTHON / "site-packages"
    python = Path(os.path.realpath(sys.executable))
    with disk_errors(folder):
        site.parent.mkdir(parents=True, mode=0o750)
        (folder / "bin").mkdir(mode=0o750)
        (folder / "bin" / "python3").symlink_to(python)
        site.symlink_to(Path("..") / ".." / ".." / part.id)
        for made in (site.parent, site.parent.parent, folder / "bin", folder):
            sync_folder(made)
    text = f"home = {python.parent}\ninclude-system-site-packages = false\n"
    write_file(folder / "pyvenv.cfg", text.encode(), mode=0o440)


def _not_yet(name: str) -> NotYetInEffectError:
    return NotYetInEffectError(
        "Another agent takes over once this one has ended.",
        reason=Reason.STATE_RESTART,
        where=name,
        found="the agent that runs",
        expected="a restart by the loader",
        remedy="Nothing has to be done: the agent ends by itself.",
    )
