"""For each component that the device takes, the installer that the settings name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from primum_agent.clock import SystemClock
from primum_agent.component_settings import HOOK, RAUC, ComponentSettings
from primum_agent.components import ComponentInstaller, Part
from primum_agent.content_store import FolderStore
from primum_agent.generation_files import tree_list_of
from primum_agent.install_agent import AgentInstaller
from primum_agent.install_hook import HookInstaller
from primum_agent.install_image import ImageInstaller
from primum_agent.install_tree import TreeInstaller, held_in
from primum_agent.layout import Layout
from primum_agent.rauc import Rauc
from primum_agent.tree_files import Held


def component_installers(
    components: Mapping[str, ComponentSettings], *, layout: Layout, store: FolderStore
) -> dict[str, ComponentInstaller]:
    """The installers by the names of their components.

    Args:
        components: the settings.
        layout: the state folder's names.
        store: the content store.
    """
    return {name: _installer(item, layout, store=store) for name, item in components.items()}


def _installer(
    settings: ComponentSettings, layout: Layout, *, store: FolderStore
) -> ComponentInstaller:
    if settings.installer == RAUC:
        rauc = Rauc(Path(settings.rauc_config), install_seconds=settings.step_seconds)
        return ImageInstaller(rauc, layout=layout, clock=SystemClock(), reboot=settings.reboot)
    if settings.installer == HOOK:
        return HookInstaller(settings.command, step_seconds=settings.step_seconds)
    if settings.agent:
        return AgentInstaller(
            layout,
            step_seconds=settings.step_seconds,
            make_room=store.make_room,
            held=held_by_active(store),
        )
    return TreeInstaller(
        layout.components,
        unit=settings.unit,
        step_seconds=settings.step_seconds,
        make_room=store.make_room,
        held=held_by_active(store),
    )


def held_by_active(store: FolderStore) -> Callable[[Part], Held]:
    """What finds the files of a component's tree in the generation that is active now."""

    def held(part: Part) -> Held:
        number = store.active()
        manifest = None if number is None else store.manifest_of(number)
        if number is None or manifest is None:
            return lambda _: None
        with suppress(ValueError, KeyError, TypeError):
            name = tree_list_of(json.loads(manifest), part.id)
            return held_in(store.folder_of(number), part, name)
        return lambda _: None

    return held
