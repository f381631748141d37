"""One attempt: converge, refresh, review what runs, then take the candidate as far as it may go.

A child process of the supervisor that holds the update lock.  It may crash, leak or be killed at
any instant: the journal and the link say where it was, and the next one converges.

Usage: ``python -m primum_agent.attempt --state DIR --provisioning DIR --reason
poll|resume|rehash|self-test|tell [--from DIR]``
"""

from __future__ import annotations

import argparse
import errno
import shutil
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from primum_agent.candidate import CandidateWork
from primum_agent.children import end_with_parent
from primum_agent.clock import Clock, SystemClock, plain_time
from primum_agent.collecting import collect
from primum_agent.components import NotYetInEffectError
from primum_agent.converging import converge
from primum_agent.device import Device, Ports, open_device
from primum_agent.drawing import fresh_id
from primum_agent.durable import make_folder, remove_leftovers, storage_error
from primum_agent.equivocations import tell_equivocations
from primum_agent.events import Entry, EventKind
from primum_agent.folder_access import refuse_exposed
from primum_agent.freshness import newest_timestamps, quiet_until, tell_freshness
from primum_agent.full_journal import HELD_BY_FULL_JOURNAL, is_held_by_full_journal
from primum_agent.gate_keeping import look_without_candidate
from primum_agent.health_proof import note_reached
from primum_agent.identity import check_identity
from primum_agent.journal import Journal
from primum_agent.journal_port import JournalPort
from primum_agent.judging import Judge, make_judge
from primum_agent.key_errors import UnusableKeyError
from primum_agent.key_trouble import note_key_trouble
from primum_agent.layout import Layout
from primum_agent.lifecycle import State, UnlistedStimulusError
from primum_agent.locking import ONCE_IT_IS_OVER, held
from primum_agent.medium import settings_for
from primum_agent.pending_restart import look_meanwhile
from primum_agent.quiet import Quiet, keep_quiet
from primum_agent.reference_time import reference_time, refreshed_by
from primum_agent.rehashing import rehash
from primum_agent.remembered import forgive_by_plan, keep_last_poll
from primum_agent.restart_gates import why_no_restart
from primum_agent.review import review
from primum_agent.self_testing import test_again
from primum_agent.settings import Settings, read_settings
from primum_agent.shadowing import look_after_shadow
from primum_agent.trust_in_force import note_trust_map
from primum_agent.way_back import is_lost
from primum_verifier.core.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_REFUSED,
    EXIT_WAITING,
    FailedError,
    PrimumError,
    RefusedError,
    WaitingError,
)
from primum_verifier.core.reasons import Reason
from primum_verifier.core.view import CLINICAL, ENGINEERING, SITE
from primum_verifier.shell.authorities import Refreshed

Work = Callable[[Device, Judge | None], int]
"""What an attempt does with its device; it returns an exit code of the one table."""


def tell(device: Device, judge: Judge | None) -> int:
    """Let ``standing.json`` say what is active, where a disk kept an attempt from it."""
    review(device, judge)
    return EXIT_DONE


_BETWEEN_POLLS: Mapping[str, Work] = {"rehash": rehash, "self-test": test_again, "tell": tell}

_OF_THE_DISK = {errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS}

TOLD = "told before"
"""A note on an error that lasts: the journal counts it, standard error is not filled with it."""


def refresh(device: Device) -> Refreshed:
    """Refresh both authorities; each distinct trouble is one event, its repetitions are counted."""
    state = device.journal.state()
    kept = [(item.component, item.version) for item in state.generations]
    if state.candidate is not None:
        kept.append((state.candidate.component, state.candidate.version))
    refreshed = refreshed_by(device, kept)
    tell_equivocations(device)
    problems = dict(refreshed.problems)
    if device.site_problem is not None:
        problems[SITE] = device.site_problem
    for authority in (ENGINEERING, CLINICAL, SITE):
        _tell(device, authority, problems.get(authority))
    if not device.from_medium:
        tell_freshness(device, refreshed)
    return refreshed


def _tell(device: Device, authority: str, error: PrimumError | None) -> None:
    topic = f"{'medium' if device.from_medium else 'authority'} {authority}"
    if error is None:
        ended = device.journal.clear_problem(topic)
        if ended is not None and not device.from_medium:
            device.journal.record(
                Entry(
                    kind=EventKind.REPOSITORIES_REACHED,
                    attempt=device.attempt,
                    result="done",
                    detail={"authority": authority, "after": ended.times, "was": ended.what},
                )
            )
        return
    if not device.journal.note_problem(
        topic=topic, what=str(error.reason), text=error.for_people()
    ):
        return
    if error.reason is Reason.TRUST_EQUIVOCATION:
        # The proof was reported by itself.
        return
    refused = isinstance(error, RefusedError)
    device.journal.record(
        Entry(
            kind=EventKind.TRUST_REFUSED if refused else EventKind.TRANSPORT_FAILED,
            attempt=device.attempt,
            result="refused" if refused else "failed",
            reasons=(str(error.reason),),
            detail={"authority": authority, **error.as_dict()},
        )
    )


def poll(device: Device) -> int:
    """Refresh, review, and work on what the plan gives; the attempt's exit code."""
    refreshed = refresh(device)
    judge = make_judge(
        device,
        engineering=refreshed.engineering,
        clinical=refreshed.clinical,
        site=refreshed.site,
    )
    if device.journal.state().lifecycle is State.ROLLING_BACK:
        # Given up by the supervisor while the authorities were read: that comes first.
        converge(device, judge)
    review(device, judge)
    look_after_shadow(device, judge, refreshed.assignment)
    if device.key_problem is not None:
        # What is taken away was; nothing new is begun by a device that cannot sign for it.
        raise device.key_problem
    code, text = EXIT_DONE, "current"
    # A site that is silent must not slow the polls by which a withdrawal arrives.
    problems = [error for name, error in refreshed.problems.items() if name != SITE]
    if problems:
        refused = any(isinstance(item, RefusedError) for item in problems)
        code = EXIT_REFUSED if refused else EXIT_FAILED
        reasons = ", ".join(str(item.reason) for item in problems)
        text = f"{'refused' if refused else 'failed'}: {reasons}"
    elif not device.from_medium:
        note_reached(device.journal)
    lifecycle = device.journal.state().lifecycle
    if judge is None or refreshed.assignment is None or lifecycle is State.PROVISIONAL:
        look_without_candidate(device, judge)
        _keep(device, name="", text=text, code=code)
        _come_to_rest(device, refreshed, code)
        return code
    assigned = refreshed.assignment
    name = f"{assigned.component} {assigned.version}"
    forgive_by_plan(
        device.journal,
        release=assigned.release.sha256,
        name=name,
        number=refreshed.plan_number,
    )
    if is_held_by_full_journal(device.journal):
        _keep(device, name=name, text=HELD_BY_FULL_JOURNAL, code=EXIT_WAITING)
        return EXIT_WAITING
    conclusion = CandidateWork(device, judge, assigned).run()
    if is_lost(device.journal):
        # It could not be brought back: that is left now, and not at the next poll.
        review(device, judge)
    collect(device, refreshed.engineering)
    if conclusion.exit_code:
        code, text = conclusion.exit_code, conclusion.text
    _keep(device, name=name, text=text, code=code)
    _come_to_rest(device, refreshed, code)
    return code


def _come_to_rest(device: Device, refreshed: Refreshed, code: int) -> None:
    """Leave behind until when the supervisor need not start an attempt where nothing is new."""
    until = quiet_until(device, refreshed) if code == EXIT_DONE else None
    if until is not None:
        poll = plain_time(device.clock.now())
        newest = newest_timestamps(refreshed)
        keep_quiet(device.journal, Quiet(until=until, newest=newest, poll=poll))


def _hear_meanwhile(device: Device, error: NotYetInEffectError) -> int:
    """Read both authorities, so that what is withdrawn meanwhile is taken away; then wait on."""
    refreshed = refresh(device)
    judge = make_judge(
        device,
        engineering=refreshed.engineering,
        clinical=refreshed.clinical,
        site=refreshed.site,
    )
    code = look_meanwhile(device, judge)
    if device.journal.state().lifecycle is State.IDLE:
        review(device, judge)
    _keep(device, name="", text=f"waiting: {error.reason}", code=code)
    return code


def _keep(device: Device, *, name: str, text: str, code: int) -> None:
    time = plain_time(device.clock.now())
    keep_last_poll(device.journal, time=time, name=name, text=text, code=code)


def _converge(device: Device, judge: Judge | None) -> None:
    """Converge, from the newest state: health is proven and given up while this one looks."""
    while True:
        before = device.journal.state().lifecycle
        try:
            converge(device, judge)
        except UnlistedStimulusError:
            if device.journal.state().lifecycle is before:
                raise
            # Nothing was recorded.  Every such step leads away from ``provisional``.
            continue
        return


def attempt(device: Device, *, reason: str, work: Work | None = None) -> int:
    """Converge what a cut left over the stored views, then do what was asked for.

    Args:
        device: the device.
        reason: ``resume`` stays offline: converge and review; ``poll`` goes on from there;
            ``rehash``, ``self-test`` and ``tell`` stay offline too; the first two may be put off.
        work: what is done in place of the poll, over the stored views.

    Returns:
        An exit code of the one table.
    """
    stored = device.authorities.stored(
        now=reference_time(device), device_id=device.settings.device_id
    )
    judge = make_judge(
        device, engineering=stored.engineering, clinical=stored.clinical, site=stored.site
    )
    # A poll begins where the last attempt ended well; a provisional release is watched there.
    if reason == "resume" or device.journal.state().lifecycle is not State.PROVISIONAL:
        try:
            _converge(device, judge)
        except NotYetInEffectError as error:
            if reason != "poll" or work is not None:
                raise
            return _hear_meanwhile(device, error)
    if work is not None and reason not in {"resume", *_BETWEEN_POLLS}:
        return work(device, judge)
    try:
        if reason == "resume":
            review(device, judge)
            look_after_shadow(device, judge, stored.assignment)
            # What a cut left of an activation goes before anything new is begun.
            collect(device, stored.engineering)
            return EXIT_DONE
        idle = _BETWEEN_POLLS.get(reason)
        return poll(device) if idle is None else idle(device, judge)
    except UnlistedStimulusError:
        if device.journal.state().lifecycle is not State.ROLLING_BACK:
            raise
        # Given up by the supervisor between a look and a step; nothing was recorded.
        converge(device, judge)
        return EXIT_DONE


def run_attempt(
    *,
    settings: Settings,
    layout: Layout,
    clock: Clock,
    reason: str,
    work: Work | None = None,
    ports: Ports | None = None,
    from_medium: bool = False,
) -> int:
    """Take the lock, open everything, attempt.

    Args:
        settings: the device's settings.
        layout: the state folder's names.
        clock: the clock port.
        reason: see :func:`attempt`.
        work: see :func:`attempt`.
        ports: what the device is put together from, instead of the real ones.
        from_medium: whether the settings name copies on a medium.

    Returns:
        An exit code of the one table.

    Raises:
        BusyError: another attempt holds the lock.
        PrimumError: whatever stood in the way.
    """
    with held(
        layout.update_lock,
        what="Another update attempt is under way",
        remedy=ONCE_IT_IS_OVER,
    ):
        # What a killed attempt left; this one holds the lock.
        remove_leftovers(layout.run)
        remove_leftovers(layout.self_tests)
        shutil.rmtree(layout.scratch, ignore_errors=True)
        make_folder(layout.scratch, mode=0o700)
        journal = Journal.open(
            layout, clock=clock, device_id=settings.device_id, bounds=settings.journal
        )
        try:
            device = open_device(
                settings=settings,
                layout=layout,
                clock=clock,
                journal=journal,
                attempt=fresh_id().hex[:12],
                ports=ports,
                from_medium=from_medium,
            )
            keep_quiet(journal, None)
            device.installer.hold_restarts(partial(why_no_restart, device))
            note_trust_map(journal, device.trust_map)
            code = attempt(device, reason=reason, work=work)
            if work is None:
                journal.clear_problem("attempt-error")
            return code
        except PrimumError as error:
            # An order that is refused is answered to whoever gave it; no poll failed.
            if work is None or isinstance(error, FailedError):
                _record_failure(journal, error, time=plain_time(clock.now()))
            raise
        except Exception as error:
            _record_failure(journal, unforeseen(error), time=plain_time(clock.now()))
            raise
        finally:
            journal.close()
            shutil.rmtree(layout.scratch, ignore_errors=True)


def unforeseen(error: Exception) -> FailedError:
    """A fault of our own, told like any other failure, so that a person hears of it.

    A disk that fails where nobody reckoned with it is no fault of ours.
    """
    if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
        return storage_error(error, Path(error.filename or "the state folder"))
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = "" if place is None else f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}"
    return FailedError(
        "The attempt met a fault of the agent itself.",
        reason=Reason.INTERNAL,
        where=where,
        found=f"{type(error).__name__}: {error}"[:300],
        remedy="What runs goes on; report this to the maker of the agent.",
    )


def _record_failure(journal: JournalPort, error: PrimumError, *, time: str) -> None:
    """One event for an attempt that could not do its work; repetitions are counted."""
    try:
        word = "refused" if isinstance(error, RefusedError) else "failed"
        if isinstance(error, WaitingError):
            word = "waiting"
        text = f"{word}: {error.reason}"
        keep_last_poll(journal, time=time, name="", text=text, code=error.exit_code)
        if isinstance(error, WaitingError):
            # What is waited for was told by whoever found it; no attempt failed.
            return
        if isinstance(error, UnusableKeyError):
            # The child that signs meets it too; whoever is first tells it.
            if not note_key_trouble(journal, error):
                error.add_note(TOLD)
            return
        if not journal.note_problem(
            topic="attempt-error", what=str(error.reason), text=error.for_people()
        ):
            error.add_note(TOLD)
        else:
            journal.record(
                Entry(
                    kind=EventKind.ATTEMPT_FAILED,
                    result="refused" if isinstance(error, RefusedError) else "failed",
                    reasons=(str(error.reason),),
                    detail={**error.as_dict()},
                )
            )
    except PrimumError:
        # The journal itself is what fails; the caller says so.
        return


def main() -> int:
    """One attempt; the exit code follows the one table."""
    parser = argparse.ArgumentParser(description="One update attempt.")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--provisioning", type=Path, required=True)
    parser.add_argument("--reason", choices=("poll", "resume", *_BETWEEN_POLLS), required=True)
    parser.add_argument("--from", type=Path, dest="medium", help="copies of the web roots")
    arguments = parser.parse_args()
    end_with_parent()
    return attempt_to_code(
        arguments.provisioning,
        Layout(arguments.state.resolve()),
        clock=SystemClock(),
        reason=arguments.reason,
        medium=arguments.medium,
    )


def attempt_to_code(
    provisioning: Path,
    layout: Layout,
    *,
    clock: Clock,
    reason: str,
    medium: Path | None = None,
    make_ports: Callable[[Settings, Layout], Ports] | None = None,
) -> int:
    """One attempt from its settings to its exit code; what stood in the way is said on stderr.

    Args:
        provisioning: the folder with the device's settings.
        layout: the state folder's names.
        clock: the clock port.
        reason: see :func:`attempt`.
        medium: copies of the web roots, read in place of the servers.
        make_ports: puts together what the device works through, instead of the real ports.

    Returns:
        An exit code of the one table.
    """
    try:
        settings = read_settings(provisioning)
        if medium is not None:
            settings = settings_for(settings, medium)
        # The folder may have been replaced under a supervisor that goes on.
        refuse_exposed(layout)
        check_identity(settings, layout)
        return run_attempt(
            settings=settings,
            layout=layout,
            clock=clock,
            reason=reason,
            ports=None if make_ports is None else make_ports(settings, layout),
            from_medium=medium is not None,
        )
    except PrimumError as error:
        if TOLD not in getattr(error, "__notes__", ()):
            sys.stderr.write(error.for_people() + "\n")
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the border of the process: told, never a traceback
        failed = unforeseen(error)
        sys.stderr.write(failed.for_people() + "\n")
        return failed.exit_code


if __name__ == "__main__":
    sys.exit(main())
