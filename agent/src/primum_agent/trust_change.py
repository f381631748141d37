"""Replacing the trust map: only by a document that both roots on the map in force signed.

Judged by :func:`primum_verifier.keeping.trust_map.next_trust_map` over the stored views.
The rename of ``trust-map.json`` is the one step that counts; the roots that the next map pins are
laid down under their digests before it, so that a cut leaves the old map or the new one, each with
its roots.  What follows from another map is noted by whoever opens the device next.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path

from primum_agent.clock import Clock
from primum_agent.durable import disk_errors, make_folder, write_file
from primum_agent.journal import Journal
from primum_agent.layout import Layout
from primum_agent.locking import ONCE_IT_IS_OVER, held
from primum_agent.settings import Settings
from primum_agent.trust_in_force import (
    note_trust_map,
    pins,
    read_provisioned,
    read_root,
    read_trust_map,
)
from primum_agent.trust_journal import JournalTrustStore
from primum_verifier.core.device import TrustMap
from primum_verifier.core.document import sha256_hex
from primum_verifier.core.errors import RefusedError, UsageError, WaitingError
from primum_verifier.core.reasons import Reason
from primum_verifier.core.view import CLINICAL, ENGINEERING, AuthorityView
from primum_verifier.keeping.trust_map import next_trust_map
from primum_verifier.shell.tuf_views import stored_view

_MODE = 0o644


@dataclass(frozen=True)
class TrustChange:
    """What a document makes of the trust map.

    Attributes:
        before: the number of the map that was in force.
        now: the number of the one that the document holds.
        roots: the authorities whose root is another one, in words.
        done: whether it is in force now; not so in a dry run.
    """

    before: int
    now: int
    roots: tuple[str, ...]
    done: bool


def change_trust_map(
    data: bytes,
    *,
    beside: Path,
    settings: Settings,
    layout: Layout,
    clock: Clock,
    dry_run: bool,  # one word of the command line, handed on
) -> TrustChange:
    """Put the trust map of a signed document in the place of the one in force.

    Args:
        data: the DSSE envelope.
        beside: the folder of the envelope, with the root files of authorities whose root changes.
        settings: the device's settings.
        layout: the state folder's names.
        clock: the clock port.
        dry_run: judge it and change nothing.

    Raises:
        RefusedError: see :func:`next_trust_map`; or it is for another component, or a root file
            is not the one that it pins.
        UsageError: a root file is missing; the device is not provisioned.
        WaitingError: an authority was never reached, so that nobody's root is known well enough.
        BusyError: an attempt is under way.
        FailedError: the disk did not take it; the map in force is the old or the new one.
    """
    make_folder(layout.run)
    with held(
        layout.update_lock,
        what="An update attempt is under way",
        remedy=ONCE_IT_IS_OVER,
    ):
        journal = Journal.open(layout, clock=clock, device_id=settings.device_id)
        try:
            current = read_trust_map(settings)
            note_trust_map(journal, current)
            if not dry_run:
                _tidy_up(settings, current)
            changed = next_trust_map(
                current,
                data,
                engineering=_view(journal, ENGINEERING),
                clinical=_view(journal, CLINICAL),
            )
            _check_component(changed, settings)
            roots = _roots(changed, beside=beside, settings=settings)
            renewed = tuple(
                name for name, digest in pins(changed).items() if pins(current).get(name) != digest
            )
            if not dry_run:
                _put_in_force(_payload(data), roots, settings=settings)
                note_trust_map(journal, changed)
                _tidy_up(settings, changed)
        finally:
            journal.close()
    return TrustChange(current.number, changed.number, renewed, done=not dry_run)


def _view(journal: Journal, authority: str) -> AuthorityView:
    found = stored_view(authority, JournalTrustStore(journal, authority).load())
    if found is None:
        raise WaitingError(
            "The keys of a root are not known yet: the authority was never reached.",
            reason=Reason.TRUST_METADATA,
            where=authority,
            remedy="Let the device poll once, then try again.",
        )
    return found


def _check_component(changed: TrustMap, settings: Settings) -> None:
    if changed.component != settings.component:
        raise RefusedError(
            "The trust map is for another component than this device's.",
            reason=Reason.COMPAT_CONTRACT,
            where="trust map",
            found=changed.component,
            expected=settings.component,
        )


def _roots(changed: TrustMap, *, beside: Path, settings: Settings) -> dict[str, bytes]:
    """Every root file that the map pins: given beside the document, or on the device already."""
    found = {}
    for name, digest in pins(changed).items():
        given = beside / settings.root_of(name).name
        data = read_provisioned(given) if given.is_file() else b""
        if sha256_hex(data) != digest:
            held_already = settings.root_under(name, digest), settings.root_of(name)
            there = any(path.is_file() for path in held_already)
            kept = read_root(settings, name, digest=digest) if there else b""
            data = kept if sha256_hex(kept) == digest else data
        if not data:
            raise UsageError(
                "The root that the trust map pins is not here.",
                reason=Reason.USAGE,
                where=str(given),
                expected=f"sha256 {digest}",
                remedy="Lay the root file beside the document, under this name.",
            )
        if sha256_hex(data) != digest:
            raise RefusedError(
                "The root file is not the one that the trust map pins.",
                reason=Reason.TRUST_SIGNATURE,
                where=str(given),
                found=sha256_hex(data),
                expected=digest,
                remedy="Lay the right root file beside the document; the map in force stands.",
            )
        found[name] = data
    return found


def _payload(data: bytes) -> bytes:
    """The exact signed bytes of an envelope that was opened already."""
    return base64.b64decode(json.loads(data)["payload"])


def _put_in_force(payload: bytes, roots: dict[str, bytes], *, settings: Settings) -> None:
    fresh = {
        name: data
        for name, data in roots.items()
        if not settings.root_of(name).is_file() or settings.root_of(name).read_bytes() != data
    }
    for name, data in fresh.items():
        write_file(settings.root_under(name, sha256_hex(data)), data, mode=_MODE)
    write_file(settings.trust_map, payload, mode=_MODE)


def _tidy_up(settings: Settings, trust_map: TrustMap) -> None:
    """Give the roots in force their usual names, also after a change that was cut."""
    for name, digest in pins(trust_map).items():
        laid_down = settings.root_under(name, digest)
        if laid_down.is_file():
            write_file(settings.root_of(name), read_provisioned(laid_down), mode=_MODE)
            with disk_errors(laid_down):
                laid_down.unlink()
