"""An act of a device, recorded once with the real agent, and kept for every cut of it.

A scene is a folder: the authorities and what the device is provisioned with, what is recorded
below or of its state folder, and ``scene.json``.  It is good for the code it was made with and
for a day, because signatures run out; a campaign that goes on uses it again.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from tests.campaigns.crash_checks import converged
from tests.campaigns.crash_points import UndisturbedError
from tests.campaigns.crash_tracer import CHANGES
from tests.campaigns.crash_worlds import SUBJECTS, Device, World
from tests.campaigns.power_ext4 import Ext4, Kept, image_with, recording
from tests.campaigns.power_tree import Tree, TreeRecorder

from primum_agent.layout import Layout
from primum_verifier.core.envelope import PublicKey

GOOD_FOR = 24 * 3600.0
"""Seconds."""


class Medium(StrEnum):
    """What the state folder lies on."""

    EXT4 = "ext4"
    TREE = "tree"


class Cuttable(Protocol):
    """A recording, whatever it is of."""

    def __len__(self) -> int:
        """How many positions there are."""

    def cuts(self, draws: Sequence[int]) -> Iterator[tuple[Kept, int, int]]:
        """Each way to cut it: what is kept, after how much, and which draw."""

    def about(self, position: int) -> str:
        """What happened there, for people."""

    def laid(self, kept: Kept, position: int, draw: int) -> AbstractContextManager[None]:
        """The state folder as that cut leaves it."""


@dataclass(frozen=True)
class Scene:
    """A recorded act.

    Attributes:
        folder: where it lies.
        subject: which act.
        medium: what was recorded.
        code: digest of the code that it was made with.
        made_at: when, in seconds since 1970.
        device_key: the device's public key, as JSON.
        begun: the first position at which the agent ran.
        ended: the position at which it had ended.
    """

    folder: str
    subject: str
    medium: str
    code: str
    made_at: float
    device_key: str
    begun: int
    ended: int

    @property
    def state(self) -> Path:
        """The state folder: what the agent wrote names its place, so that it stays there."""
        return Path(self.folder) / "world" / "state"

    def device(self, folder: Path) -> Device:
        """The device of this scene; what it prints goes to ``folder``."""
        world = Path(self.folder) / "world"
        return Device(
            subject=SUBJECTS[self.subject],
            folder=folder,
            state=self.state,
            provisioning=world / "provisioning",
            next_provisioning=world / "next" / "provisioning",
            device_key=PublicKey.model_validate_json(self.device_key),
        )

    def cuttable(self, work: Path) -> Cuttable:
        """What was recorded; ``work`` is a folder of one's own."""
        if self.medium == Medium.EXT4:
            return Ext4(Path(self.folder), work, self.state, begun=self.begun)
        return Tree(Path(self.folder), self.state)

    def before(self) -> Layout:
        """The state folder before the act."""
        return Layout(Path(self.folder) / "world" / "kept" / "state")


def scene_of(folder: Path, *, subject: str, medium: Medium, code: str) -> Scene:
    """The scene that is kept, or a new one.

    Args:
        folder: where scenes are kept.
        subject: which act.
        medium: what to record.
        code: digest of the code.

    Raises:
        UndisturbedError: the undisturbed run itself does not hold what is promised.
        OSError: the machine cannot make one.
    """
    place = folder / f"{subject}-{medium}"
    kept = place / "scene.json"
    if kept.is_file():
        found = Scene(**json.loads(kept.read_text("utf-8")))
        young = 0 <= time.time() - found.made_at < GOOD_FOR
        if found.code == code and young and found.folder == str(place):
            return found
    shutil.rmtree(place, ignore_errors=True)
    (place / "world").mkdir(parents=True)
    world = World(place / "world", SUBJECTS[subject])
    record = _record_ext4 if medium is Medium.EXT4 else _record_tree
    begun, ended = record(world, place)
    made = Scene(
        folder=str(place),
        subject=subject,
        medium=medium,
        code=code,
        made_at=time.time(),
        device_key=world.device_key.model_dump_json(by_alias=True),
        begun=begun,
        ended=ended,
    )
    kept.write_text(json.dumps(asdict(made)), encoding="utf-8")
    return made


def _record_ext4(world: World, place: Path) -> tuple[int, int]:
    state = world.layout.root
    image = image_with(world.kept / "state", place, state)
    with recording(image, place, state) as count:
        begun = count()
        run = world.run()
        faults = list(converged(world, run, version=world.subject.ends_with))
        ended = count()
    if faults:
        raise UndisturbedError(f"{world.subject.name}, undisturbed: {faults}\n{run.output}")
    return begun, ended


def _record_tree(world: World, place: Path) -> tuple[int, int]:
    world.begin()
    recorder = TreeRecorder(world.layout.root, place)
    run = world.run(calls=CHANGES, at_each=recorder.look)
    recorder.look("none 0 end .")
    faults = list(converged(world, run, version=world.subject.ends_with))
    if faults:
        raise UndisturbedError(f"{world.subject.name}, undisturbed: {faults}\n{run.output}")
    recorder.write(place / "steps.jsonl")
    return 1, len(recorder.steps)
