"""Giving the device another key, in two steps with the manufacturer's signature between them.

*Prepare* makes the next key and announces it in the chain; the manufacturer signs a context for
it.  *Finish* judges that context, and only then commits, in one transaction, the event that names
the next key, signed by the former.  What the key in use signs and the context that names it go
together at every instant; :func:`primum_agent.key_slots.settle_key` does what follows, now or at
the next start.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from primum_agent.clock import Clock
from primum_agent.contexts import context_path, context_under, factory_facts, key_of
from primum_agent.durable import disk_errors, make_folder, sync_folder, write_file
from primum_agent.events import Entry, EventKind
from primum_agent.fail_points import IdentityPoint, fail_here
from primum_agent.journal import Journal
from primum_agent.key_address import TokenAddress
from primum_agent.key_slots import drop_next, next_key_id, settle_key
from primum_agent.key_trouble import note_key_in_use
from primum_agent.layout import Layout
from primum_agent.locking import ONCE_IT_IS_OVER, held
from primum_agent.out_of_service import refuse_out_of_service
from primum_agent.settings import Settings
from primum_agent.sign_head import head_over, sign_head
from primum_agent.signer import make_key, open_device_key, open_key
from primum_agent.token_signer import TokenKeyType
from primum_agent.trust_in_force import read_provisioned
from primum_agent.trust_journal import JournalTrustStore
from primum_verifier.core.envelope import PublicKey
from primum_verifier.core.errors import UsageError, WaitingError
from primum_verifier.core.reasons import Reason
from primum_verifier.core.view import CLINICAL, ENGINEERING, AuthorityView
from primum_verifier.keeping.device_context import next_context
from primum_verifier.shell.tuf_views import stored_view

_MODE = 0o644


@dataclass(frozen=True)
class Rotated:
    """What finishing comes to.

    Attributes:
        former: the id of the key that signed until now.
        key: the id of the key that signs from now on.
        number: the number of the context that names it.
        done: whether it is in use now; not so in a dry run.
    """

    former: str
    key: str
    number: int
    done: bool


@contextlib.contextmanager
def _journal(layout: Layout, *, clock: Clock, device_id: str) -> Iterator[Journal]:
    """The journal, with no attempt under way and a change that was cut finished."""
    refuse_out_of_service(layout)
    make_folder(layout.run)
    with held(
        layout.update_lock,
        what="An update attempt is under way",
        remedy=ONCE_IT_IS_OVER,
    ):
        settle_key(layout)
        journal = Journal.open(layout, clock=clock, device_id=device_id)
        try:
            yield journal
        finally:
            journal.close()


def prepare(
    layout: Layout,
    *,
    clock: Clock,
    device_id: str,
    address: TokenAddress | None,
    kind: TokenKeyType,
) -> PublicKey:
    """Make the next key, or take the one that was made, and announce it in the chain.

    Args:
        layout: the state folder's names.
        clock: the clock port.
        device_id: the device's name.
        address: where on a token it is to be; None for a key file.
        kind: what kind of key is made on a token.

    Raises:
        UsageError: it is the key in use.
        PrimumError: the key in use or the next one cannot be used; the key in use stays.
    """
    with _journal(layout, clock=clock, device_id=device_id) as journal:
        former = open_device_key(layout)
        made = not layout.next_key.exists()
        signer = (
            make_key(layout.next_key, layout=layout, address=address, kind=kind)
            if made
            else open_key(layout.next_key, layout=layout)
        )
        key = signer.public_key()
        if key == former.public_key():
            drop_next(layout)
            raise UsageError(
                "The next key would be the one in use.",
                reason=Reason.USAGE,
                where=str(address or layout.next_key),
                found=key.key_id,
                expected="another key",
                remedy="Name an object that is not there yet: it is made on the token.",
            )
        if next_key_id(layout) != key.key_id:
            journal.record(
                Entry(
                    kind=EventKind.KEY_ANNOUNCED,
                    result="waiting",
                    detail={"nextKey": key.model_dump(mode="json", by_alias=True)},
                )
            )
            write_file(layout.next_public, key.to_bytes(), mode=_MODE)
        sign_head(journal, signer=former, device_id=device_id, clock=clock)
    return key


def cancel(layout: Layout, *, clock: Clock, device_id: str) -> str:
    """Forget the next key, and say so in the chain; its id.

    Raises:
        UsageError: there is none.
    """
    with _journal(layout, clock=clock, device_id=device_id) as journal:
        key = next_key_id(layout)
        if not key and not layout.next_key.exists():
            raise _none_prepared(layout)
        journal.record(Entry(kind=EventKind.KEY_ANNOUNCED, result="refused", detail={"keyId": key}))
        drop_next(layout)
    return key


def finish(
    layout: Layout,
    *,
    settings: Settings,
    context: Path,
    clock: Clock,
    dry_run: bool,  # one word of the command line, handed on
) -> Rotated:
    """Let the next key take the place of the one in use, once its context is there.

    Args:
        layout: the state folder's names.
        settings: the device's settings.
        context: the signed context for the next key.
        clock: the clock port.
        dry_run: judge it and change nothing.

    Raises:
        UsageError: no key was prepared, or the context cannot be read.
        RefusedError: see :func:`next_context`; the key in use stays.
        WaitingError: an authority was never reached, so that nobody knows who may sign.
        BusyError: an attempt is under way.
        FailedError: a key cannot be used, or the disk did not take it; the device has the former
            key or the next one.
    """
    device_id = settings.device_id
    with _journal(layout, clock=clock, device_id=device_id) as journal:
        current = journal.state().device_key
        if not layout.next_public.exists() and current:
            found = _finished_before(journal, settings, context, current)
            if found is not None:
                _take_into_use(layout, journal, settings=settings, clock=clock)
                return found
        if not layout.next_key.exists() or not layout.next_public.exists():
            raise _none_prepared(layout)
        former, following = open_device_key(layout), open_key(layout.next_key, layout=layout)
        key = following.public_key()
        data = read_provisioned(context)
        judged = next_context(
            data,
            key=key,
            device_id=device_id,
            hardware_id=settings.hardware_id,
            above=int(journal.counter("context-floor", "0")),
            now=clock.now(),
            engineering=_view(journal, ENGINEERING),
            clinical=_view(journal, CLINICAL),
        )
        # The next key signs once before it counts: a token may hold half a key.
        following.envelope(key.to_bytes(), payload_type="application/json")
        done = Rotated(former.public_key().key_id, key.key_id, judged.number, done=not dry_run)
        if dry_run:
            return done
        write_file(context_under(settings, key.key_id), data, mode=_MODE)
        fail_here(IdentityPoint.KEY_CHANGE_BEFORE_EVENT)
        journal.change_key(
            Entry(
                kind=EventKind.KEY_CHANGED,
                result="done",
                change={
                    "formerKey": former.public_key().model_dump(mode="json", by_alias=True),
                    "deviceKey": key.model_dump(mode="json", by_alias=True),
                },
                detail={"contextNumber": judged.number},
            ),
            sign=lambda event: head_over(event, signer=former, device_id=device_id, clock=clock),
            context_floor=str(judged.number),
            trusted_context=data.decode(),
        )
        fail_here(IdentityPoint.KEY_CHANGE_AFTER_EVENT)
        settle_key(layout)
        _take_into_use(layout, journal, settings=settings, clock=clock)
        return done


def _take_into_use(layout: Layout, journal: Journal, *, settings: Settings, clock: Clock) -> None:
    """Give the context its usual name, and let the key sign for the first time."""
    signer = open_device_key(layout)
    named = context_path(settings, signer.public_key().key_id)
    if named != settings.context:
        write_file(settings.context, read_provisioned(named), mode=_MODE)
    laid_down = context_under(settings, signer.public_key().key_id)
    with disk_errors(laid_down):
        laid_down.unlink(missing_ok=True)
        sync_folder(laid_down.parent)
    note_key_in_use(journal, signer)
    sign_head(journal, signer=signer, device_id=settings.device_id, clock=clock)


def _finished_before(
    journal: Journal, settings: Settings, context: Path, current: str
) -> Rotated | None:
    """What a change that was cut came to, where this context is the one that it was about."""
    if all(
        key_of(factory_facts(path)).get("keyId") == current
        for path in (context, context_path(settings, current))
    ):
        return Rotated("", current, int(journal.counter("context-floor", "0")), done=True)
    return None


def _view(journal: Journal, authority: str) -> AuthorityView:
    found = stored_view(authority, JournalTrustStore(journal, authority).load())
    if found is None:
        raise WaitingError(
            "The provisioning keys are not known yet: the authority was never reached.",
            reason=Reason.TRUST_METADATA,
            where=authority,
            remedy="Let the device poll once, then try again; the key in use stays.",
        )
    return found


def _none_prepared(layout: Layout) -> UsageError:
    return UsageError(
        "No next key was prepared.",
        reason=Reason.USAGE,
        where=str(layout.next_key),
        remedy="Make it first: `primum-agent rotate --output FILE`.",
    )
