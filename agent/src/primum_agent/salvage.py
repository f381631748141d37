"""What the disk still says about the generations, for the day the journal is lost."""

from __future__ import annotations

from dataclasses import asdict, fields

from primum_agent.content_store import FolderStore
from primum_agent.device_state import Generation
from primum_agent.layout import Layout


def salvage(layout: Layout) -> dict[str, object]:
    """The newest state that the generations on the disk bear out, as members of a ``change``.

    Only the active generation is taken over: it is what the application runs, and it is judged
    again at once. Numbers of the others are not used again, and their files are collected.
    """
    store = FolderStore(layout)
    numbers = store.numbers()
    change: dict[str, object] = {"nextGeneration": max(numbers, default=0) + 1}
    active = store.active()
    record = None if active is None else store.record_of(active)
    if active is None or record is None:
        return change
    known = {item.name for item in fields(Generation)}
    try:
        found = Generation(**{name: value for name, value in record.items() if name in known})  # type: ignore[arg-type]
    except TypeError:
        return change
    return change | {"generation": asdict(found), "active": active}
