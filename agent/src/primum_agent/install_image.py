"""The installer ``rauc``: an image of the operating system, handed to the RAUC of the device.

The image is written into the slot that does not run, and lies there until it is its turn.  Coming
into effect is a restart: the slot is marked as the next one to start, and the device's own program
is asked for the restart.  A boot loader that starts the other slot after all has gone back by
itself, and so does the set.

Going back, the slot that holds the earlier image is started again.  Two slots hold two images: one
from before that is written once more, from the content store.  What no slot and no file holds any
more is no way back, and is left out when one is looked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from primum_agent.clock import Clock
from primum_agent.components import (
    ComponentFailedError,
    NotYetInEffectError,
    Part,
    RestartHold,
    failed,
)
from primum_agent.image_slots import Asked, Held, read_note, write_note
from primum_agent.layout import Layout
from primum_agent.programs import run_program
from primum_agent.rauc import ASK_SECONDS, Rauc, Slot, Slots
from primum_verifier.core.component import ItemKind
from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason

ASKS_AGAIN_SECONDS = 900.0
"""Before a device that did not restart is asked for it again; somebody may be holding it up."""


class ImageInstaller:
    """Brings an image into effect through RAUC and a restart.

    Args:
        rauc: the device's RAUC.
        layout: the state folder's names.
        clock: knows which start of the device this is.
        reboot: the program that restarts the device, and its arguments.
    """

    def __init__(
        self, rauc: Rauc, *, layout: Layout, clock: Clock, reboot: tuple[str, ...]
    ) -> None:
        self._rauc = rauc
        self._layout = layout
        self._clock = clock
        self._reboot = reboot
        self._why: Callable[[], RestartHold | None] = _nobody_was_asked

    def hold_restarts(self, why: Callable[[], RestartHold | None]) -> None:
        """See :class:`~primum_agent.components.RestartsDevice`."""
        self._why = why

    def ask(self, part: Part) -> None:  # noqa: ARG002 - it is about the device alone
        """See :class:`~primum_agent.components.ComponentInstaller`.

        Raises:
            FailedError: ``resource.program``: the device's RAUC is not ready, whatever the image.
        """
        self._rauc.check()
        self._rauc.slots()

    def prepare(self, part: Part) -> None:
        """See :class:`~primum_agent.components.ComponentInstaller`."""
        slots = self._rauc.slots()
        # What a restart came to before says nothing of this try.
        note = replace(read_note(self._layout), asked=None)
        holder = note.holder(slots, _image(part))
        if holder == slots.other:
            held = Held(_image(part), holder.stamp, slots.booted.stamp)
            note = note.with_slot(holder, held)
        write_note(self._layout, note)
        if holder is None:
            self._install(part, slots)

    def take_effect(self, part: Part) -> None:
        """See :class:`~primum_agent.components.ComponentInstaller`."""
        slots, note = self._rauc.slots(), read_note(self._layout)
        holder = note.holder(slots, _image(part))
        if holder is None and note.was_to_start(_image(part)):
            # Written once more it would be started once more, and so on.
            raise failed(
                part,
                found="RAUC does not say any more what lies in the slot that was to be started",
                expected="what it wrote there, also after a restart",
                remedy="Keep RAUC's statusfile where no restart and no image replaces it.",
            )
        self._start_from(holder or self._install(part, slots), slots, part)

    def leave(self, part: Part) -> None:
        """See :class:`~primum_agent.components.ComponentInstaller`.

        It is asked on the way back alone: what ran before the image came is started again.
        """
        slots, note = self._rauc.slots(), read_note(self._layout)
        if not note.holds(slots.booted, _image(part)):
            self._start_from(slots.booted, slots, part)
        elif note.ran_before(slots):
            self._start_from(slots.other, slots, part)
        else:
            raise _nowhere(part)

    def in_effect(self, part: Part) -> bool:
        """See :class:`~primum_agent.components.ComponentInstaller`.

        What cannot be known is not out of effect.
        """
        try:
            slots = self._rauc.slots()
        except FailedError:
            # Whoever installs next is told; what runs does not depend on RAUC.
            return True
        note, image = read_note(self._layout), _image(part)
        if note.holds(slots.booted, image):
            return True
        elsewhere = note.holds(slots.other, image)
        # A slot with another stamp than was noted was written by somebody else; without a stamp
        # it is RAUC that forgot, and nobody can say.
        replaced = slots.booted.name in note.slots and bool(slots.booted.stamp)
        return not elsewhere and not replaced

    def confirm(self, part: Part) -> None:
        """See :class:`~primum_agent.components.ComponentInstaller`."""
        if read_note(self._layout).holds(self._rauc.slots().booted, _image(part)):
            self._rauc.mark_good()

    def started(self, part: Part) -> None:
        """See :class:`~primum_agent.components.SeesStarts`: boot loaders count starts down."""
        self.confirm(part)

    def way_back(self, part: Part, *, leaving: bool) -> str:
        """See :class:`~primum_agent.components.LosesWays`."""
        try:
            slots = self._rauc.slots()
        except FailedError:
            # It may answer again; whoever then goes back is told if it does not.
            return ""
        note, image = read_note(self._layout), _image(part)
        if leaving:
            lost = note.holds(slots.booted, image) and not note.ran_before(slots)
        else:
            lost = note.holder(slots, image) is None and not _bundle(part).is_file()
        return f"{part.name}: no slot holds the image any more" if lost else ""

    def _install(self, part: Part, slots: Slots) -> Slot:
        """Write the image into the slot that does not run; the slot, as it is afterwards."""
        if not _bundle(part).is_file():
            raise _nowhere(part)
        before = read_note(self._layout)
        write_note(self._layout, before.with_slot(slots.other, Held(_image(part))))
        why = self._rauc.install(_bundle(part))
        after = self._rauc.slots()
        if after.primary == slots.other.name != slots.primary:
            # It cannot be said which start would have tried it: back, at once.
            self._rauc.mark_active(slots.booted)
            raise _activated(part, after)
        if why or not after.other.stamp:
            if after.other == slots.other:
                # Refused before anything was written: what lay there lies there.
                write_note(self._layout, before)
            raise failed(
                part,
                found=f"RAUC did not take it: {why or 'the slot is not whole afterwards'}",
                expected="a bundle that this device's RAUC takes",
                remedy="Look at RAUC's log: `journalctl --unit rauc`. What runs goes on.",
            )
        held = Held(_image(part), after.other.stamp, slots.booted.stamp)
        write_note(self._layout, before.with_slot(after.other, held))
        return after.other

    def _start_from(self, slot: Slot, slots: Slots, part: Part) -> None:
        """Have a slot started, if it is not the one that runs."""
        note, boot = read_note(self._layout), self._clock.boot_id()
        asked = note.asked if note.asked is not None and note.asked.slot == slot.name else None
        if asked is not None and asked.boot != boot and slots.booted.name != slot.name:
            raise failed(
                part,
                found=f"after the restart the boot loader started {slots.booted.name}",
                expected=f"{slot.name}",
                remedy="The image does not come up: look at the boot loader's and RAUC's log.",
            )
        if slots.primary != slot.name:
            self._rauc.mark_active(slot)
        if slots.booted.name == slot.name:
            if note.asked is not None:
                write_note(self._layout, replace(note, asked=None))
            return
        now = self._clock.powered_seconds()
        if asked is None or now - asked.at >= ASKS_AGAIN_SECONDS:
            if (hold := self._why()) is not None:
                raise NotYetInEffectError(
                    "The device must not be restarted now.",
                    reason=hold.reason,
                    where=part.name,
                    found=hold.found,
                    expected="nothing that holds a restart",
                    remedy="Nothing has to be done: the restart is asked for once it may be.",
                )
            # Noted first: it may end before the program does.
            write_note(self._layout, replace(note, asked=Asked(slot.name, boot, now)))
            run_program(list(self._reboot), seconds=ASK_SECONDS, may_fail=frozenset())
        raise NotYetInEffectError(
            "An image comes into effect with the next start of the device.",
            reason=Reason.STATE_RESTART,
            where=part.name,
            found=f"started from {slots.booted.name}",
            expected=f"started from {slot.name}",
            remedy=f"A restart was asked for ({self._reboot[0]}); if none comes, restart it.",
        )


def _nobody_was_asked() -> RestartHold:
    return RestartHold(Reason.SAFETY_IN_USE, "nobody was asked whether a patient is being served")


def _image(part: Part) -> str:
    """SHA-256 of the bundle, by which the content store names it."""
    return _bundle(part).name


def _bundle(part: Part) -> Path:
    return part.stored_of(ItemKind.OS_IMAGE)


def _activated(part: Part, after: Slots) -> FailedError:
    return FailedError(
        "RAUC started to use an image by itself.",
        reason=Reason.RESOURCE_PROGRAM,
        where=part.name,
        found=f"the next start would have tried {after.primary}",
        expected="activate-installed=false in the settings that RAUC was started with",
        remedy="Set activate-installed=false in RAUC's system.conf and restart RAUC.",
    )


def _nowhere(part: Part) -> ComponentFailedError:
    return failed(
        part,
        found="no slot holds the image any more, and the content store neither",
        expected="a slot of the device that holds it",
        remedy="Assign a release with an image; the device goes on with what it holds.",
    )
