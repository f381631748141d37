"""The attempt that tests what runs again: after a start of the device, and once in a period.

What holds:

1. It is the signed self-test, on the device's bench, of files that were just held against their
   digests.  What it computes stays in the bench; what it reports carries the mode ``test``.
2. A patient, an empty battery, heat or short memory put it off, for as long as they last: a
   release that is whole and was proven computes today what it computed yesterday.
3. A processor that is busy, or memory that is short, is *incomplete*: it is told, tried again, and
   takes nothing away.  So is what only our own reading finds fault with: the bytes are those that
   passed, and an agent that reads them otherwise has changed, not they.
4. What came of it is signed by the device's key, as before an activation, one statement for each
   release; a key that cannot be used changes nothing of the rest.
5. Only what the release itself fails, two runs in a row, is a failure: it is reported once, and by
   the maker's policy left as what is damaged is left.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from primum_agent.attesting import attest
from primum_agent.device import Device
from primum_agent.device_state import Generation
from primum_agent.events import Entry, EventKind
from primum_agent.fallback import roll_back_as_ordered
from primum_agent.gate_rules import GateId
from primum_agent.judging import Judge
from primum_agent.lifecycle import State, Stimulus
from primum_agent.probing import ask_probes
from primum_agent.proving import Proof, prove
from primum_agent.rehashing import is_put_off
from primum_agent.review import review
from primum_agent.running_episode import forget
from primum_agent.self_test_settings import LEAVE
from primum_agent.tested import TOPIC, note_tested, probes_are_due, seconds_until_test
from primum_verifier.core.document import parse_document, sha256_hex
from primum_verifier.core.errors import EXIT_DONE, EXIT_FAILED, EXIT_WAITING
from primum_verifier.core.manifest import ReleaseManifest
from primum_verifier.core.question import SelfTestFact, Verdict
from primum_verifier.core.reasons import Reason
from primum_verifier.core.vocabulary import NoticeAction
from primum_verifier.proof.selftest_statement import Occasion

_PUT_OFF_BY = frozenset({GateId.CLINICAL_USE, GateId.BATTERY, GateId.TEMPERATURE, GateId.MEMORY})
_AT_REST = frozenset({State.IDLE, State.WAITING})


class _Standing(StrEnum):
    """What one or two runs came to."""

    PASSED = "passed"
    INCOMPLETE = "incomplete"
    DOUBTFUL = "failed once in two runs"
    FAILED = "failed twice in two runs"


def test_again(device: Device, judge: Judge | None) -> int:
    """Ask the probes and test what runs, as far as each is due and nothing puts it off.

    Args:
        device: the device.
        judge: the judge over the stored views; None while nothing can be judged.

    Returns:
        An exit code of the one table: 5 where it was put off, 3 where the device could not run it.
    """
    used = _at_rest(device)
    if used is None:
        return EXIT_DONE
    due = _is_due(device, used)
    put_off = judge is None or is_put_off(device, judge, by=_PUT_OFF_BY)
    _ask_probes(device, used, due=due, may_sound=not put_off)
    if judge is None or put_off:
        return EXIT_WAITING
    if not due:
        return EXIT_DONE
    # Damage comes first: a file that rotted is no failure of a release.
    verdict = review(device, judge)
    manifest = _manifest(device, used)
    if verdict is None or manifest is None or _at_rest(device) != used:
        return EXIT_DONE
    return _conclude(device, judge, used, verdict, _run(device, manifest))


def _at_rest(device: Device) -> Generation | None:
    """What runs, where nothing is under way with it."""
    state = device.journal.state()
    return state.in_use if state.lifecycle in _AT_REST and not state.stopped else None


def _is_due(device: Device, used: Generation) -> bool:
    """Whether a test is due by now, at the earliest that the supervisor's jitter makes it."""
    settings, timing = device.settings.self_test, device.settings.timing
    earliest = None if settings.period is None else settings.period * (1.0 - timing.poll_jitter)
    boot = device.clock.boot_id()
    due_in = seconds_until_test(device.journal, used, settings=settings, boot=boot, period=earliest)
    return due_in is not None and due_in <= 0.0


def _ask_probes(device: Device, used: Generation, *, due: bool, may_sound: bool) -> None:
    settings = device.settings.self_test
    if not due and not probes_are_due(device.journal, used, settings=settings):
        return
    manifest = _manifest(device, used)
    if manifest is not None and used.proven:
        ask_probes(device, used, manifest, may_sound=may_sound)


def _manifest(device: Device, used: Generation) -> ReleaseManifest | None:
    """The signed manifest of what runs; None where it is damaged, which the review acts on."""
    data = device.store.manifest_of(used.number)
    if data is None or sha256_hex(data) != used.release:
        return None
    return parse_document(ReleaseManifest, data, where="manifest.json")


def _run(device: Device, manifest: ReleaseManifest) -> tuple[_Standing, Proof]:
    """Test it; what the release itself fails is tested once more before anybody believes it."""
    first = _prove(device, manifest)
    if first.fact is SelfTestFact.PASSED:
        return _Standing.PASSED, first
    if not _is_failure(first):
        return _Standing.INCOMPLETE, first
    second = _prove(device, manifest)
    if second.fact is SelfTestFact.PASSED:
        return _Standing.DOUBTFUL, first
    return (_Standing.FAILED if _is_failure(second) else _Standing.INCOMPLETE), second


def _prove(device: Device, manifest: ReleaseManifest) -> Proof:
    return prove(
        manifest,
        store=device.store,
        bench=device.bench,
        scratch=device.layout.scratch,
        hardware=device.settings.hardware_id,
    )


def _is_failure(proof: Proof) -> bool:
    """Whether the release computed something else than was validated, or could not compute."""
    computed = proof.fact is SelfTestFact.FAILED and proof.reason is Reason.SELFTEST_FAILED
    return computed and proof.own_fault


def _conclude(
    device: Device,
    judge: Judge,
    used: Generation,
    verdict: Verdict,
    found: tuple[_Standing, Proof],
) -> int:
    """Sign what came of it, remember it, report what is new, and act on a failure."""
    standing, proof = found
    proof = _stated(device, used, proof)
    if standing is _Standing.INCOMPLETE:
        _trouble(device, used, standing, proof)
        return EXIT_FAILED
    passed = standing is _Standing.PASSED
    note_tested(device.journal, release=used.release, clock=device.clock, passed=passed)
    if passed:
        _over(device, used, proof)
    elif standing is _Standing.FAILED and device.settings.self_test.on_failure == LEAVE:
        _leave(device, judge, used, verdict, proof)
    else:
        _trouble(device, used, standing, proof)
    return EXIT_DONE


def _stated(device: Device, used: Generation, proof: Proof) -> Proof:
    """The proof with its signed statement, as far as there is one."""
    signed = attest(
        device, proof.report, name=used.name, release=used.release, occasion=Occasion.IN_USE
    )
    return replace(proof, detail={**proof.detail, **signed})


def _over(device: Device, used: Generation, proof: Proof) -> None:
    """A trouble ended; that nothing is wrong is no event."""
    ended = device.journal.clear_problem(TOPIC)
    if ended is None:
        return
    device.journal.record(
        Entry(
            kind=EventKind.ACTIVE_TEST_PASSED,
            subject=used.name,
            attempt=device.attempt,
            result="done",
            detail={"after": ended.times, "was": ended.what, **proof.detail},
        )
    )


def _trouble(device: Device, used: Generation, standing: _Standing, proof: Proof) -> None:
    """Report it once, and let it stand until a test is passed; what runs goes on."""
    text = f"{used.name}: {standing}: {proof.summary}"
    if device.journal.note_problem(topic=TOPIC, what=f"{used.name}: {standing}", text=text):
        reason = (
            Reason.SELFTEST_INCOMPLETE
            if standing is _Standing.INCOMPLETE and proof.reason is Reason.SELFTEST_FAILED
            else proof.reason or Reason.SELFTEST_INCOMPLETE
        )
        device.journal.record(
            Entry(
                kind=EventKind.ACTIVE_TEST_FAILED,
                subject=used.name,
                attempt=device.attempt,
                result="failed",
                reasons=(str(reason),),
                detail=_detail(used, standing, proof),
            )
        )


def _leave(device: Device, judge: Judge, used: Generation, verdict: Verdict, proof: Proof) -> None:
    """Leave what does not compute here what was validated; the same bytes are not tried again."""
    journal, reason = device.journal, str(Reason.SELFTEST_FAILED)
    forget(journal)
    journal.clear_problem(TOPIC)
    journal.record(
        Entry(
            kind=EventKind.ACTIVE_TEST_FAILED,
            stimulus=Stimulus.TAKEN_AWAY,
            subject=used.name,
            attempt=device.attempt,
            result="failed",
            reasons=(reason,),
            change={"candidate": None, "fault": {used.release: reason}},
            detail={
                "ordered": str(NoticeAction.FALL_BACK),
                **_detail(used, _Standing.FAILED, proof),
            },
        )
    )
    roll_back_as_ordered(device, judge, verdict, reasons=(reason,))


def _detail(used: Generation, standing: _Standing, proof: Proof) -> dict[str, object]:
    return {"generation": used.number, "standing": str(standing), **proof.detail}
