"""A set in the campaigns: a pump with its integrator's hook, and a software tree, beside a model.

The hook is a program of its own with a medium of its own: what of the pump is in effect is not in
the agent's hands, and has to be what the agent says once it has converged.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.unit.agent.field import Field
from tests.unit.agent.sets import Set

from primum_agent.layout import Layout

PUMP, TREE = "pump", "app"
NAMES = frozenset({PUMP, TREE})

# A step may come twice and may be cut anywhere: what is in effect changes by one rename.
_HOOK = """\
#!/bin/sh
set -eu
told=$(cat)
case "$2" in
take-effect)
    printf %s "$told" | sed 's/.*"version" *: *"\\([^"]*\\)".*/\\1/' > "$1/.in-effect"
    mv "$1/.in-effect" "$1/in-effect"
    ;;
leave)
    rm -f "$1/in-effect"
    ;;
esac
"""


def fit(field: Field) -> None:
    """Give the device a pump and its hook, and the settings of both components."""
    outside = pump_of(field.folder)
    outside.mkdir()
    hook = field.folder / "pump-update"
    hook.write_text(_HOOK)
    hook.chmod(0o755)
    command = json.dumps([str(hook), str(outside)])
    field.more_settings += (
        f'[components.{PUMP}]\ninstaller = "hook"\ncommand = {command}\n'
        f'[components.{TREE}]\ninstaller = "tree"\n'
    )


def pump_of(folder: Path) -> Path:
    """Where the pump keeps what of it is in effect, beside the device's state folder."""
    return folder / "pump"


def release_set(field: Field, version: str, *, counter: int, **given: Any) -> None:
    """Publish a model with the pump's files before it and the tree after it."""
    made = Set(field)
    made.hook(PUMP, version, f"firmware {version}".encode())
    made.tree(TREE, version, {"bin/start*": f"start {version}".encode(), "etc/same": b"same"})
    made.release(version, counter=counter, **given)


def other_than(layout: Layout, version: str | None) -> Iterator[str]:
    """What of each component is in effect, where it is not what has to be.

    Args:
        layout: the device's.
        version: the version of the set that runs.
    """
    pump = pump_of(layout.root.parent) / "in-effect"
    found = pump.read_text().strip() if pump.is_file() else None
    if found != version:
        yield f"the pump runs {found}, not {version}"
    start = layout.root / "components" / TREE / "bin" / "start"
    text = start.read_text() if start.is_file() else ""
    if text != f"start {version}":
        yield f"the tree in effect says {text!r}, not {version}"
