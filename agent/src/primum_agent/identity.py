"""Whose device this is: settings, signed context, key and journal must name the same one.

Asked before anything is published and before a journal is made: a device that runs with another
device's provisioning folder would report under the other's name.  Standard library only, because
the resident supervisor asks; no signature is checked here, the judge does that for every release.
What cannot be read is left to whoever needs it; only what contradicts is refused.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from primum_agent.clock import SystemClock
from primum_agent.contexts import context_path, factory_facts, key_of, read_object
from primum_agent.journal import Journal
from primum_agent.key_address import MAX_ADDRESS, SCHEME, parse_address, parse_pattern
from primum_agent.key_slots import settle_key
from primum_agent.layout import Layout
from primum_agent.out_of_service import refuse_out_of_service
from primum_agent.settings import Settings
from primum_verifier.core.errors import PrimumError, UsageError
from primum_verifier.core.reasons import Reason

AUTHORITIES = ("engineering", "clinical")
_SOURCE = "urn:primum:device:"
_PROVISION = "Copy the folder that `primum-repo device` made for this very device, all of it."


def check_identity(settings: Settings, layout: Layout) -> None:
    """Refuse to work under another device's name, or without what provisioning gives.

    Args:
        settings: the settings that were read from the provisioning folder.
        layout: the state folder's names.

    Raises:
        UsageError: a provisioned file or the key is missing, the settings are for another
            component, or two of settings, signed context, key, enrolment and journal disagree.
    """
    refuse_out_of_service(layout)
    settle_key(layout)
    public = read_object(layout.device_public)
    context = context_path(settings, str(public.get("keyId", "")))
    files = [settings.trust_map, context]
    for path in (*files, *(settings.root_of(name) for name in AUTHORITIES)):
        _must_be_there(path, remedy=_PROVISION)
    _must_be_there(
        layout.device_key, remedy="Make the device's key: `primum-agent enroll --state DIR …`."
    )
    toml = str(settings.folder / "agent.toml")
    _same(
        "The settings are for another component than the trust map.",
        where=toml,
        found=settings.component,
        expected=read_object(settings.trust_map).get("component"),
        remedy=_PROVISION,
    )
    _check_place(settings, layout.device_key)
    if layout.next_key.exists():
        _check_place(settings, layout.next_key)
    factory = factory_facts(context)
    enrolled = read_object(layout.enrolment)
    for source, known in ((context, factory), (layout.enrolment, enrolled)):
        for name, found in (
            ("deviceId", settings.device_id),
            ("hardwareId", settings.hardware_id),
        ):
            _same(
                f"The settings name another device than {source.name}: {name}.",
                where=toml,
                found=found,
                expected=known.get(name),
                remedy=_PROVISION,
            )
    if key_of(factory).get("public") != read_object(layout.next_public).get("public"):
        # A context for the key that is to come contradicts nothing: nothing new is begun with it.
        _same(
            "The signed context is for the key of another device.",
            where=str(context),
            found=key_of(factory).get("public"),
            expected=public.get("public"),
            remedy=_PROVISION,
        )
    _same(
        "The journal is another device's.",
        where=str(layout.journal),
        found=settings.device_id,
        expected=journal_owner(layout),
        remedy=f"{_PROVISION} A state folder belongs to one device for ever.",
    )


def _check_place(settings: Settings, path: Path) -> None:
    """A key that the settings want on a token lies there; a key itself is not read for it."""
    if not settings.key.address:
        return
    address = None
    with contextlib.suppress(OSError), path.open("rb", buffering=0) as file:
        begin = file.read(len(SCHEME)).decode(errors="replace")
        if begin == SCHEME:
            text = begin + file.read(MAX_ADDRESS).decode(errors="replace")
            address = parse_address(text.strip(), where=str(path))
    wanted = parse_pattern(settings.key.address, where="agent.toml: key.address")
    if address is None or not wanted.covers(address):
        raise UsageError(
            "The device's key does not lie where the settings want it.",
            reason=Reason.USAGE,
            where=str(path),
            found="a key file" if address is None else str(address),
            expected=settings.key.address,
            remedy="Enrol the device with --key, or correct [key] in agent.toml.",
        )


def check_enrolment(layout: Layout, *, device_id: str, hardware_id: str) -> None:
    """Refuse to give an enrolled device another name.

    Args:
        layout: the state folder's names.
        device_id: the name it is to be enrolled under.
        hardware_id: the hardware it is to be enrolled as.

    Raises:
        UsageError: the state folder is enrolled under another name, or as other hardware.
    """
    enrolled = read_object(layout.enrolment)
    owner = journal_owner(layout)
    for name, found, expected in (
        ("--device-id", device_id, enrolled.get("deviceId") or owner),
        ("--hardware-id", hardware_id, enrolled.get("hardwareId")),
    ):
        _same(
            "This state folder is enrolled as another device.",
            where=f"{name}, {layout.root}",
            found=found,
            expected=expected,
            remedy="Give the name it is enrolled under, or another --state for another device.",
        )


def journal_owner(layout: Layout) -> str | None:
    """The device that the journal's newest event names; None where there is no readable journal."""
    if not layout.journal.is_file():
        return None
    with contextlib.suppress(PrimumError, ValueError, KeyError, TypeError):
        journal = Journal.open_to_read(layout, clock=SystemClock())
        try:
            newest = list(journal.events(after=journal.last_sequence() - 1))
        finally:
            journal.close()
        if newest:
            return str(json.loads(newest[-1])["source"]).removeprefix(_SOURCE)
    return None


def _must_be_there(path: Path, *, remedy: str) -> None:
    try:
        path.stat()
    except FileNotFoundError as error:
        key = path.name == "device.key"
        raise UsageError(
            "The device has no key yet." if key else "The device is not provisioned.",
            reason=Reason.USAGE,
            where=str(path),
            found=error.strerror or str(error),
            remedy=remedy,
        ) from error
    except OSError:
        # A folder that cannot be looked into is the disk's trouble, told by whoever needs it.
        return


def _same(message: str, *, where: str, found: object, expected: object, remedy: str) -> None:
    if isinstance(found, str) and isinstance(expected, str) and found != expected:
        raise UsageError(
            message,
            reason=Reason.USAGE,
            where=where,
            found=found,
            expected=expected,
            remedy=remedy,
        )
