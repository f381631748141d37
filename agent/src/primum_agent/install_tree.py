"""The installer ``tree``: a folder of the generation, and the service that runs from it.

The files are unpacked before anything is switched.  The service's program lies below a link of the
component's own, ``components/<name>``, that is switched right before the restart and stays in safe
mode: it decides what a start runs, today or after a power cut.  A service of ``Type=notify`` is
in effect once it said that it is ready.  An agent that dies stops no service, and starts none.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from primum_agent.components import Part, failed
from primum_agent.durable import disk_errors, make_folder, switch_link, sync_folder
from primum_agent.programs import Ended, TookTooLongError, run_program
from primum_agent.tree_files import Held, read_tree_list, unpack
from primum_verifier.core.component import ItemKind
from primum_verifier.core.errors import FailedError, PrimumError
from primum_verifier.core.reasons import Reason

SYSTEMCTL = "systemctl"
_NO_PERMISSION = 4
_NOBODY_TO_ASK = ("authentication required", "connect to bus")

_REMEDY = "Read the service's log: `journalctl --unit {unit}`. What ran before runs again."


class TreeInstaller:
    """Unpacks a tree and restarts its service.

    Args:
        folder: holds one link for each tree that is in effect.
        unit: the service that runs from the tree; empty where nothing is restarted.
        step_seconds: within which a restart ends, readiness included.
        make_room: refuses what does not fit on the disk, in bytes.
        held: for a component, what finds files of its earlier tree by their digests.
    """

    def __init__(
        self,
        folder: Path,
        *,
        unit: str,
        step_seconds: float,
        make_room: Callable[[int], None],
        held: Callable[[Part], Held],
    ) -> None:
        self._folder = folder
        self._unit = unit
        self._seconds = step_seconds
        self._make_room = make_room
        self._held = held

    def ask(self, part: Part) -> None:
        """See :class:`~primum_agent.components.ComponentInstaller`; a tree is always ready."""

    def prepare(self, part: Part) -> None:
        """See :class:`~primum_agent.components.ComponentInstaller`."""
        unpack_tree(part, make_room=self._make_room, held=self._held(part))

    def take_effect(self, part: Part) -> None:
        """See :class:`~primum_agent.components.ComponentInstaller`."""
        self._switch(part)
        if not self._unit:
            return
        # A service that failed too often lately would not be started at all.
        self._systemctl("reset-failed")
        complaint = self._restart()
        state = self._systemctl("show", "--property=ActiveState", "--value")
        found = state.printed.decode("utf-8", "replace").strip()
        if complaint or found != "active":
            raise failed(
                part,
                found=f"{self._unit} is {found or 'unknown'}: {complaint}"[:300],
                expected=f"{self._unit} active after a restart",
                remedy=_REMEDY.format(unit=self._unit),
            )

    def leave(self, part: Part) -> None:
        """See :class:`~primum_agent.components.ComponentInstaller`."""
        if self._unit and self._systemctl("stop").code:
            raise failed(
                part,
                found=f"{self._unit} cannot be stopped",
                expected="stopped: what comes has no such component",
                remedy=_REMEDY.format(unit=self._unit),
            )
        link = self._folder / part.id
        with disk_errors(link):
            link.unlink(missing_ok=True)
            if self._folder.is_dir():
                sync_folder(self._folder)

    def in_effect(self, part: Part) -> bool:  # noqa: ARG002 - whatever starts it runs what is active
        """See :class:`~primum_agent.components.ComponentInstaller`."""
        return True

    def confirm(self, part: Part) -> None:
        """See :class:`~primum_agent.components.ComponentInstaller`; nothing goes back by itself."""

    def _switch(self, part: Part) -> None:
        """From here on whatever starts the service runs this tree, in safe mode too."""
        make_folder(self._folder)
        generations = part.folder.parent.parent.name
        switch_link(self._folder / part.id, f"../{generations}/{part.generation}/{part.id}")

    def _restart(self) -> str:
        """What stood in the way of a restart; empty where the service is ready."""
        try:
            restarted = self._systemctl("restart")
        except TookTooLongError as error:
            # It is the service that was waited for: its own fault, and not the device's.
            return error.found
        return (restarted.complaint or f"ended with {restarted.code}") if restarted.code else ""

    def _systemctl(self, verb: str, *options: str) -> Ended:
        ended = run_program(
            [SYSTEMCTL, "--no-ask-password", verb, *options, self._unit], seconds=self._seconds
        )
        unheard = any(text in ended.complaint for text in _NOBODY_TO_ASK)
        forbidden = ended.code == _NO_PERMISSION or unheard
        if ended.code and forbidden:
            raise FailedError(
                "The agent may not restart the service of a component.",
                reason=Reason.RESOURCE_PROGRAM,
                where=f"{SYSTEMCTL} {verb} {self._unit}",
                found=ended.complaint or "no permission",
                expected="a rule that lets the agent's user manage this one service",
                remedy="Install the polkit rule of the agent's package and name the service there.",
            )
        return ended


def unpack_tree(part: Part, *, make_room: Callable[[int], None], held: Held) -> None:
    """Unpack the tree of a component into its folder of the generation.

    Raises:
        RefusedError: list or pack are not what was meant to be signed.
        FailedError: it does not fit, or the disk did not take it.
    """
    tree = read_tree_list(part.stored_of(ItemKind.TREE_LIST), where=f"tree list of {part.name}")
    make_room(tree.length)
    unpack(tree, pack=part.stored_of(ItemKind.TREE_PACK), folder=part.folder, held=held)


def held_in(folder: Path, part: Part, tree_list: str) -> Held:
    """Finds the files of the tree that a generation holds, by their digests.

    Args:
        folder: the generation's folder.
        part: the component, of whichever generation.
        tree_list: the name of the list of that tree in the generation.
    """
    try:
        tree = read_tree_list(folder / tree_list, where=str(folder / tree_list))
    except (OSError, PrimumError):
        # What cannot be read can only be made anew.
        return lambda _: None
    known = {file.sha256: folder / part.id / file.path for file in tree.files}
    return known.get
