"""Removing what is on a device: a factory reset, and a decommissioning. Neither lowers a floor.

Removed are releases, events, reports and whatever names a patient or a person; a decommissioned
device loses its keys as well.  Never removed is what keeps an older release from running: the
floors, proven time, what was last accepted of each authority with its notices, the holds that were
met, releases that failed by their own fault.  They are not copied and put back: what is removed is
removed around them.

The steps, each of which may be cut and is done again by the same command:

1. Export what nobody has, and record the reset under the device's key.
2. Write the intent: from here on nothing starts until it is finished.
3. The application is told; releases, leftovers and set-aside journals go.
4. Events go: under a signed checkpoint (reset), or all of them (decommissioning).
5. Decommissioning: the keys go, and a tombstone stays.
6. The intent goes.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from primum_agent.checkpointing import checkpoint_over
from primum_agent.clock import Clock, plain_time
from primum_agent.content_store import FolderStore
from primum_agent.durable import disk_errors, make_folder, remove_leftovers, sync_folder, write_file
from primum_agent.events import Entry, EventKind
from primum_agent.exporting import check_medium, export
from primum_agent.fail_points import IdentityPoint, fail_here
from primum_agent.generation_files import components_of
from primum_agent.journal import Journal
from primum_agent.layout import Layout
from primum_agent.lifecycle import Stimulus
from primum_agent.locking import held
from primum_agent.out_of_service import ResetKind, end_intent, unfinished, write_intent
from primum_agent.serving import safe
from primum_agent.shadow_run import withdraw_shadow
from primum_agent.sign_head import sign_head
from primum_agent.signer import address_in, open_device_key, read_key_file
from primum_agent.token_signer import remove_token_key
from primum_verifier.core.errors import PrimumError, RefusedError, UsageError
from primum_verifier.core.reasons import Reason

KEPT = (
    "floors of releases, contexts, trust maps and of each authority's roles",
    "proven time",
    "what was last accepted of each authority, with its notices",
    "the holds that were met, and releases that failed by their own fault",
    "the device's names",
)
"""What no reset removes, for people."""

_OF_A_KEY = (
    "device.key",
    "device.next.key",
    "device.key.passphrase",
    "client.pem",
    "client.next.key",
)
_ABOUT_A_KEY = ("device.next.public.json", "device.public.json", "device.key.refused")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a person asked for.

    Attributes:
        kind: how much is removed.
        by: who it is.
        medium: a folder that the journal is exported to first; None for none.
        without_key: go on although the key cannot sign or be destroyed: it is lost or broken.
    """

    kind: ResetKind
    by: str
    medium: Path | None = None
    without_key: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What would be removed.

    Attributes:
        device_id: whose device it is.
        removed: each thing with its size or number, for people.
        unsent: events that nobody but this device has.
        software: releases that hold software of the device itself, whose files stay.
    """

    device_id: str
    removed: tuple[str, ...]
    unsent: int
    software: tuple[int, ...]


def plan_reset(layout: Layout, wish: Wish, *, device_id: str, clock: Clock) -> Plan:
    """What would be removed; nothing is changed.

    Raises:
        PrimumError: the journal cannot be read.
    """
    store = FolderStore(layout)
    numbers = store.numbers()
    software = tuple(one for one in numbers if components_of(store.folder_of(one)))
    removed = [f"releases: {', '.join(map(str, numbers)) or 'none'} ({_size(layout)} bytes)"]
    unsent = 0
    if layout.journal.is_file():
        journal = Journal.open_to_read(layout, clock=clock, device_id=device_id)
        try:
            unsent = journal.waiting_count()
            removed.append(f"events: up to {journal.last_sequence()}, {unsent} of them not sent")
        finally:
            journal.close()
    removed.append("reports, verdicts, consents, overrides and memories that name people")
    damaged = len(_damaged(layout))
    if damaged:
        removed.append(f"journals set aside: {damaged}")
    if wish.kind is ResetKind.DECOMMISSION:
        removed += [name for name in _OF_A_KEY if os.path.lexists(layout.root / name)]
    return Plan(device_id=device_id, removed=tuple(removed), unsent=unsent, software=software)


def reset(layout: Layout, wish: Wish, *, device_id: str, clock: Clock) -> None:
    """Remove it; or finish what was begun.

    Raises:
        BusyError: the supervisor runs, or an attempt is under way.
        UsageError: another reset was begun here.
        RefusedError: events would be lost that nobody else has, or software of the device.
        PrimumError: the key, the medium or the disk does not do its part; before the intent
            nothing was removed, after it the same command finishes.
    """
    make_folder(layout.run)
    remedy = "Stop it first: `systemctl stop primum-agent`; then try again."
    with ExitStack() as stack:
        for lock, what in (
            (layout.agent_lock, "An agent is running"),
            (layout.update_lock, "An update attempt is under way"),
        ):
            stack.enter_context(held(lock, what=what, remedy=remedy))
        begun = unfinished(layout)
        if begun not in {None, wish.kind}:
            raise UsageError(
                f"Another removal was begun: {begun}.",
                reason=Reason.DEVICE_RESET_UNFINISHED,
                where=str(layout.reset_intent),
                remedy=f"Finish that one: primum-agent {begun}.",
            )
        if begun is None:
            _begin(layout, wish, device_id=device_id, clock=clock)
        fail_here(IdentityPoint.RESET_AFTER_INTENT)
        _remove_releases(layout, wish.kind, clock=clock)
        fail_here(IdentityPoint.RESET_AFTER_RELEASES)
        _remove_events(layout, wish, device_id=device_id, clock=clock)
        fail_here(IdentityPoint.RESET_AFTER_EVENTS)
        if wish.kind is ResetKind.DECOMMISSION:
            _remove_keys(layout, wish)
            fail_here(IdentityPoint.RESET_AFTER_KEYS)
            content = {"deviceId": device_id, "at": plain_time(clock.now()), "by": wish.by}
            write_file(layout.tombstone, json.dumps(content, indent=2).encode() + b"\n", mode=0o644)
        end_intent(layout)


def _begin(layout: Layout, wish: Wish, *, device_id: str, clock: Clock) -> None:
    """Steps 1 and 2: whatever fails here leaves the device as it was."""
    if wish.medium is not None:
        check_medium(wish.medium)
    plan = plan_reset(layout, wish, device_id=device_id, clock=clock)
    if plan.software and wish.kind is ResetKind.FACTORY:
        raise RefusedError(
            "A release on this device holds software that runs from it.",
            reason=Reason.STATE_BUSY,
            where=str(layout.generations),
            found=f"generations {', '.join(map(str, plan.software))}",
            remedy="Reset it with the maker's own procedure; decommissioning leaves its files.",
        )
    if plan.unsent and wish.medium is None:
        raise RefusedError(
            "Events would be lost that nobody but this device has.",
            reason=Reason.STATE_BUSY,
            where=str(layout.journal),
            found=f"{plan.unsent} events were not sent",
            remedy="Name a folder with --export DIR, or let the agent reach its broker first.",
        )
    if layout.journal.is_file():
        _record(layout, wish, device_id=device_id, clock=clock)
    if wish.medium is not None:
        exported = export(layout, wish.medium, context=None)
        if not exported.proven and not wish.without_key:
            raise RefusedError(
                "The export is not signed to its end.",
                reason=Reason.KEY_UNUSABLE,
                where=str(exported.folder),
                remedy="Let the device's key sign first; where it is lost, give --without-key.",
            )
    write_intent(layout, wish.kind, by=wish.by, at=plain_time(clock.now()))


def _record(layout: Layout, wish: Wish, *, device_id: str, clock: Clock) -> None:
    """The chain's last word before anything is removed, signed; it is said once."""
    factory = wish.kind is ResetKind.FACTORY
    kind = EventKind.RESET_BEGUN if factory else EventKind.DECOMMISSION_BEGUN
    journal = Journal.open(layout, clock=clock, device_id=device_id)
    try:
        if not wish.without_key:
            # What cannot be signed is not begun.
            open_device_key(layout)
        last = next(iter(journal.events(after=journal.last_sequence() - 1)), b"{}")
        if json.loads(last).get("type") != kind.cloud_type:
            journal.record(Entry(kind=kind, result="waiting", detail={"by": wish.by}))
        if not wish.without_key:
            signer = open_device_key(layout)
            sign_head(journal, signer=signer, device_id=device_id, clock=clock)
    finally:
        journal.close()


def _remove_releases(layout: Layout, kind: ResetKind, *, clock: Clock) -> None:
    """Step 3."""
    store = FolderStore(layout)
    told = "decommissioned" if kind is ResetKind.DECOMMISSION else "reset"
    safe(
        layout,
        clock=clock,
        reasons=(str(Reason.DEVICE_DECOMMISSIONED),) if told == "decommissioned" else (),
        notice=f"The device was {told}. It measures only.",
    )
    withdraw_shadow(layout)
    software = {one for one in store.numbers() if components_of(store.folder_of(one))}
    with disk_errors(layout.root):
        if not software:
            layout.active.unlink(missing_ok=True)
            sync_folder(layout.root)
            if layout.store.is_dir():
                shutil.rmtree(layout.store)
        for number in store.numbers():
            if number not in software:
                shutil.rmtree(store.folder_of(number))
        shutil.rmtree(layout.scratch, ignore_errors=True)
        if layout.self_tests.is_dir():
            shutil.rmtree(layout.self_tests)
        layout.shadow_counts.unlink(missing_ok=True)
        for path in _damaged(layout):
            path.unlink(missing_ok=True)
        sync_folder(layout.root)
    remove_leftovers(layout.root)
    remove_leftovers(layout.run)
    store.prepare()


def _remove_events(layout: Layout, wish: Wish, *, device_id: str, clock: Clock) -> None:
    """Step 4."""
    if not layout.journal.is_file():
        return
    journal = Journal.open(layout, clock=clock, device_id=device_id)
    try:
        _record_emptying(journal, wish)
        if wish.kind is ResetKind.DECOMMISSION:
            journal.forget_everything()
            return
        signer = open_device_key(layout)
        sign_head(journal, signer=signer, device_id=device_id, clock=clock)
        upto = journal.last_sequence() - 1
        pruned = journal.checkpoint()
        if pruned is None or pruned.sequence < upto:
            draft = journal.draft_checkpoint(upto)
            line = checkpoint_over(draft, signer=signer, device_id=device_id, clock=clock)
            journal.forget(draft, line=line, key=signer.public_key().key_id)
        journal.leave_no_trace()
    finally:
        journal.close()


def _record_emptying(journal: Journal, wish: Wish) -> None:
    """Let the state be that of an empty device; what ran last is the floor for what runs next."""
    last = json.loads(next(iter(journal.events(after=journal.last_sequence() - 1)), b'{"data":{}}'))
    if journal.last_sequence() == 0 or last["type"] == EventKind.RESET_DONE.cloud_type:
        return
    factory = wish.kind is ResetKind.FACTORY
    if "reset" not in last["data"].get("change", {}):
        state = journal.state()
        # No plan that names an older release may bring it back by way of a reset.
        floor = max(state.counter_floor, state.in_use.counter if state.in_use else 0)
        journal.record(
            Entry(
                kind=EventKind.RESET_BEGUN if factory else EventKind.DECOMMISSION_BEGUN,
                stimulus=Stimulus.RESET,
                result="accepted",
                change={"reset": True, "counterFloor": floor},
                detail={"by": wish.by},
            )
        )
    if factory:
        journal.record(Entry(kind=EventKind.RESET_DONE, result="done", detail={"by": wish.by}))


def _remove_keys(layout: Layout, wish: Wish) -> None:
    """Step 5: on the token first, while its address is known."""
    if layout.device_key.is_file():
        try:
            address = address_in(read_key_file(layout.device_key), where=layout.device_key)
            if address is not None:
                remove_token_key(address, refused=layout.refused_pin)
        except PrimumError:
            if not wish.without_key:
                raise
    with disk_errors(layout.root):
        for name in _OF_A_KEY:
            _wipe(layout.root / name)
        for name in _ABOUT_A_KEY:
            (layout.root / name).unlink(missing_ok=True)
        sync_folder(layout.root)


def _wipe(path: Path) -> None:
    """Write over a secret before its name goes; what a link names is not ours."""
    if path.is_symlink() or not path.exists():
        path.unlink(missing_ok=True)
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(descriptor, bytes(os.fstat(descriptor).st_size), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    path.unlink()


def _damaged(layout: Layout) -> list[Path]:
    return sorted(layout.root.glob("journal.damaged-*"))


def _size(layout: Layout) -> int:
    paths = (path for folder in (layout.store, layout.generations) for path in folder.rglob("*"))
    return sum(path.stat().st_size for path in paths if path.is_file())
