"""Which slot of the device holds which image, and which restart was asked for: ``images.json``.

RAUC knows what it wrote, not which bundle that was.  So the agent notes the digest of the bundle
together with RAUC's own stamp of that installation: whoever else installs into the slot changes the
stamp, and the note no longer holds.  That a slot is about to be written is noted before it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace

from primum_agent.durable import write_file
from primum_agent.layout import Layout
from primum_agent.rauc import Slot, Slots

NOTE = "images.json"


@dataclass(frozen=True)
class Held:
    """What the agent had written into a slot.

    Attributes:
        image: SHA-256 of the bundle.
        stamp: RAUC's stamp of it; empty while it is being written, and where that failed.
        beside: the stamp of the slot that ran when it was its turn: what ran before it.
    """

    image: str
    stamp: str = ""
    beside: str = ""


@dataclass(frozen=True)
class Asked:
    """A restart that was asked for.

    Attributes:
        slot: the slot that was to be started.
        boot: the boot in which it was asked for.
        at: when, in powered seconds of that boot.
    """

    slot: str
    boot: str
    at: float


@dataclass(frozen=True)
class ImageNote:
    """What the note says.

    Attributes:
        slots: what the agent had written, by the names of the slots; a slot that it never wrote
            is not there.
        asked: the restart that was asked for, as long as nothing followed from it.
    """

    slots: Mapping[str, Held] = field(default_factory=dict)
    asked: Asked | None = None

    def holds(self, slot: Slot, image: str) -> bool:
        """Whether a slot holds an image, whole, and nobody wrote to it since."""
        held = self.slots.get(slot.name)
        return held is not None and held.image == image and self.is_certain_of(slot)

    def is_certain_of(self, slot: Slot) -> bool:
        """Whether the note still says what lies in a slot."""
        held = self.slots.get(slot.name)
        return held is not None and bool(held.stamp) and held.stamp == slot.stamp

    def holder(self, slots: Slots, image: str) -> Slot | None:
        """The slot that holds an image, the one that was started first."""
        return next((one for one in (slots.booted, slots.other) if self.holds(one, image)), None)

    def ran_before(self, slots: Slots) -> bool:
        """Whether beside what was started lies what ran before it, still untouched."""
        held, other = self.slots.get(slots.booted.name), slots.other
        spoiled = other.name in self.slots and not self.is_certain_of(other)
        return held is not None and held.beside == other.stamp and not spoiled

    def was_to_start(self, image: str) -> bool:
        """Whether a restart was asked for that was to start an image."""
        held = None if self.asked is None else self.slots.get(self.asked.slot)
        return held is not None and held.image == image

    def with_slot(self, slot: Slot, held: Held) -> ImageNote:
        """The note with something else for one slot."""
        return replace(self, slots={**self.slots, slot.name: held})


def read_note(layout: Layout) -> ImageNote:
    """What the note says; nothing is known where there is none that can be read."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        content = json.loads((layout.root / NOTE).read_bytes())
        asked = content["asked"]
        return ImageNote(
            slots={
                str(name): Held(str(held["image"]), str(held["stamp"]), str(held["beside"]))
                for name, held in content["slots"].items()
            },
            asked=None
            if asked is None
            else Asked(slot=str(asked["slot"]), boot=str(asked["boot"]), at=float(asked["at"])),
        )
    return ImageNote()


def write_note(layout: Layout, note: ImageNote) -> None:
    """Replace the note.

    Raises:
        FailedError: the disk did not take it; the old one stands.
    """
    write_file(layout.root / NOTE, json.dumps(asdict(note)).encode(), mode=0o640)
