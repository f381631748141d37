"""A command that root types acts as the user whom the state folder belongs to.

Done as root, it would leave files there that the agent cannot read later, and a self-test could
not read the model: root without its capabilities is a stranger in another user's folder.
"""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path

from primum_agent.agent_choice import loader
from primum_verifier.core.errors import UsageError
from primum_verifier.core.reasons import Reason


def act_as_owner(state: Path) -> None:
    """Begin this very command again as the owner of ``state``, where root typed it.

    Returns only where there is nothing to do: another user, a folder that is root's own, or none
    yet.  The process is replaced, not changed: the kernel keeps one that gave up root apart from
    its own files below ``/proc``.

    Raises:
        UsageError: the owner may not run this interpreter.
    """
    if os.geteuid() != 0:
        return
    try:
        owner = state.stat()
    except OSError:
        return
    if owner.st_uid == 0:
        return
    try:
        known = pwd.getpwuid(owner.st_uid)
        group, groups = known.pw_gid, os.getgrouplist(known.pw_name, known.pw_gid)
    except KeyError:
        group, groups = owner.st_gid, [owner.st_gid]
    try:
        os.setgroups(groups)
        os.setgid(group)
        os.setuid(owner.st_uid)
        # The owner's agent may be another than the one that root starts: the loader knows.
        program = loader() or sys.executable
        words = sys.argv[1:] if loader() else sys.orig_argv[1:]
        os.execv(program, [program, *words])  # noqa: S606 - no shell
    except OSError as error:
        raise UsageError(
            "The command cannot be given as root.",
            reason=Reason.USAGE,
            where=str(state),
            found=f"{error.strerror or error} for user {owner.st_uid}, who owns it",
            expected=f"{sys.executable}, which that user may run",
            remedy="Give the command as that user, or install the agent where it may be run.",
        ) from error
