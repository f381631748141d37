"""What the agent reads back from its own disk, after whatever happened to it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from fuzz_oracle import Subject, attempt
from primum_agent.content_store import RECORD, FolderStore
from primum_agent.floors import read_floors
from primum_agent.layout import Layout
from primum_agent.salvage import salvage
from primum_agent.standing import read_standing

_MEMORY = Path("/dev/shm")  # noqa: S108 - scratch folders in memory, where there is such a place


def agent_state(data: bytes) -> None:
    """The same bytes as standing, floors and the record of the active generation."""
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as scratch:
        layout = Layout(Path(scratch))
        folder = layout.generations / "1"
        folder.mkdir(parents=True)
        layout.run.mkdir()
        for path in (layout.standing, layout.floors, folder / RECORD):
            path.write_bytes(data)
        layout.active.symlink_to(folder)
        standing = attempt(lambda: read_standing(layout))
        assert standing is None or isinstance(standing, dict)
        attempt(lambda: read_floors(layout.floors))
        found = attempt(lambda: salvage(layout))
        assert found is not None
        assert found["nextGeneration"] == 2
        attempt(lambda: FolderStore(layout).items_of(1))


AGENT_SUBJECTS = {
    "agent-state": Subject(
        run=agent_state,
        seeds=lambda: {
            "floors": b'{"first_unused":7,"counter":1,"trust":{"engineering":{"root":1}}}',
            "standing": b'{"schemaVersion":"0.1","mode":"safe","generation":null,"files":[]}',
            "deep": b"[" * 4000,
            "record": b'{"number":1,"component":"a","files":[{"id":"m","sha256":"00"}]}',
        },
        max_bytes=4096,
    ),
}
