"""What must hold after a cut, at once and after the next start; each fault is one sentence.

Bricked is a device for which anything here does not hold.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from tests.campaigns import crash_sets
from tests.campaigns.crash_tracer import KILL
from tests.campaigns.crash_worlds import Device, Run, Subject, opened

from primum_agent.content_store import FolderStore
from primum_agent.device_state import DeviceState
from primum_agent.journal import Journal
from primum_agent.layout import Layout
from primum_agent.lifecycle import State
from primum_verifier.core.errors import EXIT_WAITING, PrimumError
from primum_verifier.record.chain import check_history

_HUNG = 124
_OWN_NAMES = {
    "active", "device.enrolment.json", "device.key", "device.public.json", "floors.json",
    "generations", "journal.db", "journal.mark", "run", "self-tests", "store",
}  # fmt: skip
_RUN_NAMES = {"agent.lock", "standing.json", "update.lock"}
_STATEMENT = re.compile(r"[0-9a-f]{64}(\.way-back|\.in-use)?\.dsse\.json")
_TRACEBACK = re.compile(r"^Traceback |Error: |^Exception ", re.MULTILINE)


def after_fault(world: Device, run: Run, *, fault: str) -> Iterator[str]:
    """At the instant of the cut, or after a run that met a fault of the disk.

    Args:
        world: the device, left as the run left it.
        run: the run.
        fault: what failed in it.
    """
    if fault != KILL:
        yield from _ended_well(run)
    yield from at_an_instant(world)


def _ended_well(run: Run) -> Iterator[str]:
    """It ended by itself, with an exit code of the table and in words of its own."""
    code = run.traced.code
    if code == _HUNG:
        yield "the run never ended"
    elif not 0 <= code <= EXIT_WAITING:
        yield f"the run ended with {code}, which the table of exit codes does not have"
    if found := _TRACEBACK.search(run.output):
        yield f"the message is a traceback: {run.output[found.start() :][-400:]!r}"
    if code and not run.output.strip():
        yield f"it ended with {code} and not a word"


def at_an_instant(world: Device) -> Iterator[str]:
    """Exactly the old or the new release is active and whole, or the declared safe mode."""
    layout, subject = world.layout, world.subject
    content = _standing(layout)
    if content is None:
        yield "standing.json cannot be read"
        return
    found = opened(layout.root)
    if content.get("mode") == "safe":
        if not subject.may_be_safe:
            yield "safe mode, although a release may be used"
    elif found is None:
        yield "what standing.json names cannot be opened"
    elif found.version not in subject.may_run:
        yield f"{found.version} is served"
    elif not FolderStore(layout).generation_is_whole(found.generation, release=found.release):
        yield f"{found.version} is served and not whole"
    yield from _linked(layout, subject)


def _linked(layout: Layout, subject: Subject) -> Iterator[str]:
    """The link names a generation that is there, or is missing in safe mode."""
    number = FolderStore(layout).active()
    if number is None:
        if os.path.lexists(layout.active):
            yield "the link names no generation"
        elif not subject.may_be_safe:
            yield "there is no link"
    elif not (layout.generations / str(number) / "manifest.json").is_file():
        yield f"the link names generation {number}, which is not there"


def converged(
    world: Device, run: Run, *, version: str | None, stored: AbstractSet[str] = frozenset()
) -> Iterator[str]:
    """After an undisturbed run: one release, on which all agree, and nothing left behind.

    Args:
        world: the device.
        run: the undisturbed run.
        version: what has to be active; None is safe mode.
        stored: files of the store that were needed before the run; the next poll collects them.
    """
    yield from _ended_well(run)
    layout = world.layout
    try:
        journal = world.journal()
        try:
            journal.check()
            state, replayed = journal.state(), journal.replayed()
            lines = list(journal.history())
        finally:
            journal.close()
    except PrimumError as error:
        yield f"the journal cannot be read: {error.reason}: {error.found}"
        return
    if state != replayed:
        yield "the stored state is not what the events add up to"
    report = check_history(lines, device_key=world.device_key)
    # On a busy machine the last events wait for the next start's signature.
    if report.gaps or not report.proven_to:
        yield f"the chain is not whole: {report.gaps or 'no signed head'}"
    if any(json.loads(line).get("type", "").endswith("journal.restarted") for line in lines):
        yield "the journal was lost"
    if state.lifecycle is not State.IDLE:
        yield f"not at rest: {state.lifecycle}"
    used = state.in_use
    runs = None if used is None else used.version
    if runs != version:
        yield f"{runs} runs, not {version}"
    if used is not None and not used.proven:
        yield f"{runs} never proved health"
    yield from _agreed(layout, state)
    if world.subject.is_set:
        yield from crash_sets.other_than(layout, version)
    yield from _left_behind(world, state, stored)


def fingerprint(world: Device) -> str:
    """What a device that converged still remembers of what it went through.

    Times and random names are left out: two devices with the same fingerprint take the same input
    in the same way.
    """
    layout = world.layout
    journal = world.journal()
    try:
        state = json.loads(journal.state().to_json())
        troubles = [(item.topic, item.what) for item in journal.problems()]
        failures = journal.counter("poll-failures", "0")
    finally:
        journal.close()
    for item in state["unproven"].values():
        item.pop("notBefore")
    standing = {**(_standing(layout) or {}), "updatedAt": None}
    names = sorted(
        path.relative_to(layout.root).as_posix()
        for path in layout.root.rglob("*")
        if not path.name.startswith("journal.db")
    )
    return json.dumps([state, troubles, failures, standing, names], sort_keys=True)


def _agreed(layout: Layout, state: DeviceState) -> Iterator[str]:
    store = FolderStore(layout)
    content = _standing(layout)
    told = None if content is None else content.get("generation")
    if not state.active == store.active() == told:
        yield f"journal {state.active}, link {store.active()}, standing.json {told} disagree"
    for item in state.generations:
        if not store.generation_is_whole(item.number, release=item.release):
            yield f"generation {item.number} is in the journal and not whole"
    used = state.in_use
    found = opened(layout.root)
    if (used is None) != (found is None):
        yield "the application cannot open what runs"
    elif used is not None and found is not None and found.release != used.release:
        yield "the application opens another release"


def stored(world: Device) -> set[str]:
    """The digests in the device's store."""
    return _names(world.layout.store / "sha256")


def _left_behind(world: Device, state: DeviceState, stored: AbstractSet[str]) -> Iterator[str]:
    layout = world.layout
    components = crash_sets.NAMES if world.subject.is_set else frozenset()
    known = {str(item.number) for item in state.generations}
    found = [
        *(
            name
            for name in _names(layout.root) - _OWN_NAMES - ({"components"} if components else set())
            if not name.startswith("journal.db-")
        ),
        *(f"run/{name}" for name in _names(layout.run) - _RUN_NAMES),
        *(
            f"self-tests/{name}"
            for name in _names(layout.self_tests)
            if not _STATEMENT.fullmatch(name)
        ),
        *(f"generations/{name}" for name in _names(layout.generations) - known),
    ]
    needed = {item.sha256 for number in known for item in FolderStore(layout).items_of(int(number))}
    named = needed | _artifacts(layout) | stored
    found += [f"store/sha256/{name}" for name in _names(layout.store / "sha256") - named]
    for number in known:
        folder = layout.generations / number
        files = {item.path for item in FolderStore(layout).items_of(int(number))}
        own = {"generation.json", "manifest.json", *files, *components}
        found += [
            f"generations/{number}/{name}"
            for name in _names(folder)
            if name.startswith(".") or (name not in own and not name.endswith(".json"))
        ]
    if found:
        yield f"left behind: {', '.join(sorted(found))}"


def _artifacts(layout: Layout) -> set[str]:
    """Digests that a manifest in the stored view names: kept for releases that may come."""
    journal = Journal.open_to_read(layout, clock=None)  # type: ignore[arg-type]
    try:
        rows = journal.trust_rows("engineering")
    finally:
        journal.close()
    manifests = [json.loads(value) for _, name, value in rows if name.endswith("/manifest.json")]
    return {item["digest"]["sha256"] for found in manifests for item in found["items"]}


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _standing(layout: Layout) -> dict[str, Any] | None:
    try:
        content = json.loads(layout.standing.read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
