"""What the maker of the device says of each component of a set: what brings it into effect here.

A release names its components and the kind of installer each is meant for; the service, the
program and the times are the device's own, so that no signature on a release picks a program.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

TREE, RAUC, HOOK = "tree", "rauc", "hook"

MAX_COMPONENTS = 20
"""Components of one device; a manifest holds no more."""

_DAY = 86_400
_MOST_ASKS = 10_000


@dataclass(frozen=True)
class ComponentSettings:
    """One component of this device.

    Attributes:
        installer: ``tree``, ``rauc`` or ``hook``.
        unit: of a tree: the service that runs from it and is restarted; empty for none.
        agent: of a tree: whether it is the agent itself, which the loader starts anew.
        command: of a hook: its program and arguments.
        reboot: of an image: the program that restarts the device, and its arguments.
        rauc_config: of an image: the settings that the device's RAUC was started with.
        step_seconds: within which one step of it ends.
        asks_at_most: how often a hook may ask to be asked again later, for one release.
    """

    installer: str
    unit: str = ""
    agent: bool = False
    command: tuple[str, ...] = ()
    reboot: tuple[str, ...] = ()
    rauc_config: str = "/etc/rauc/system.conf"
    step_seconds: float = 300.0
    asks_at_most: int = 48


_ONLY_OF = {
    "unit": TREE,
    "agent": TREE,
    "command": HOOK,
    "asks_at_most": HOOK,
    "reboot": RAUC,
    "rauc_config": RAUC,
}


Fault = tuple[str, str, str]
"""The member, what was found, what is expected."""


def component_faults(components: Mapping[str, ComponentSettings]) -> Iterator[Fault]:
    """What is wrong with the components of a device, member by member."""
    if len(components) > MAX_COMPONENTS:
        yield "", str(len(components)), f"at most {MAX_COMPONENTS} components"
    for name, item in components.items():
        for member, found, expected in _faults(item):
            yield f"{name}.{member}", found, expected
    if sum(item.agent for item in components.values()) > 1:
        yield "", "two components that are the agent", "one"
    if sum(item.installer == RAUC for item in components.values()) > 1:
        yield "", "two components that are an image of the operating system", "one"


def _faults(item: ComponentSettings) -> Iterator[Fault]:
    if item.installer not in {TREE, RAUC, HOOK}:
        yield "installer", repr(item.installer[:80]), f"{TREE}, {RAUC} or {HOOK}"
        return
    for member in fields(item):
        kind = _ONLY_OF.get(member.name, item.installer)
        if kind != item.installer and getattr(item, member.name) != member.default:
            yield member.name, f"set with {item.installer}", f"only with {kind}"
    for name, program in {HOOK: {"command": item.command}, RAUC: {"reboot": item.reboot}}.get(
        item.installer, {}
    ).items():
        if not program or not program[0].startswith("/"):
            found = repr(program[0][:80]) if program else "nothing"
            yield name, found, "the absolute path of a program"
    if not item.rauc_config.startswith("/"):
        yield "rauc_config", repr(item.rauc_config[:80]), "the absolute path of RAUC's settings"
    if item.unit and (item.agent or not item.unit.endswith(".service")):
        found = "set with agent" if item.agent else repr(item.unit[:80])
        yield "unit", found, "the name of a service; the agent itself is started by its loader"
    if not 1.0 <= item.step_seconds <= _DAY:
        yield "step_seconds", str(item.step_seconds), f"1 to {_DAY}"
    if not 0 <= item.asks_at_most <= _MOST_ASKS:
        yield "asks_at_most", str(item.asks_at_most), f"0 to {_MOST_ASKS}"
