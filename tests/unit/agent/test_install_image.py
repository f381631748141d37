"""An image of the operating system, in a set: RAUC writes it, a restart brings it into effect."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.agent.rauc_device import RaucDevice
from tests.unit.agent.sets import Set

from primum_agent.install_image import _nobody_was_asked
from primum_agent.lifecycle import State
from primum_agent.rauc import Rauc
from primum_agent.way_back import MOST_TRIES
from primum_verifier.core.document import sha256_hex
from primum_verifier.core.errors import FailedError, WaitingError
from primum_verifier.core.reasons import Reason

Attempt = Callable[..., int]

HOOK = """\
import pathlib, sys
folder, step = pathlib.Path(sys.argv[1]), sys.argv[2]
answer = folder / f"hook.{step}"
sys.exit(int(answer.read_text()) if answer.is_file() else 0)
"""

ATTEMPT = """\
import pathlib, sys
import primum_agent.attempt, primum_agent.candidate_gates, primum_agent.clock
import primum_agent.restart_gates, primum_agent.taking_effect
from primum_verifier.core.question import ClinicalUse
primum_agent.candidate_gates.clinical_use = lambda _: ClinicalUse.IDLE
primum_agent.taking_effect.is_idle = lambda *_: True
primum_agent.restart_gates.clinical_use = lambda _: ClinicalUse.IDLE
primum_agent.clock._BOOT_ID = pathlib.Path(sys.argv.pop(1))
sys.exit(primum_agent.attempt.main())
"""


@pytest.fixture
def board(
    in_the_field: Any, rauc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RaucDevice]:
    """The device of the field with a RAUC of its own, switched on."""
    made = RaucDevice(tmp_path / "board", rauc)
    monkeypatch.setenv("PATH", made.path)
    monkeypatch.setattr("primum_agent.clock._BOOT_ID", made.boot_id)
    in_the_field.more_settings += made.settings()
    in_the_field.enroll()
    with made.on():
        yield made


def release(
    field: Any, board: RaucDevice, version: str, counter: int, content: bytes, **given: Any
) -> None:
    Set(field).image("os", version, board.bundle(content)).release(
        version, counter=counter, **given
    )


def tried(attempt_now: Attempt, reason: str = "poll") -> int:
    """An attempt; one that ends with an error ends as a process would."""
    try:
        return attempt_now(reason)
    except (FailedError, WaitingError) as error:
        return error.exit_code


def brought_in(field: Any, board: RaucDevice, attempt_now: Attempt) -> int:
    """Install what is assigned, restart, prove health; the generation."""
    assert tried(attempt_now) == 5
    board.restart()
    assert tried(attempt_now, "resume") == 0
    field.commit()
    assert tried(attempt_now, "resume") == 0
    number: int = field.journal().state().active
    return number


def state(field: Any) -> tuple[State, int | None]:
    found = field.journal().state()
    return found.lifecycle, found.active


def note(field: Any) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((field.layout.root / "images.json").read_bytes())
    return content


def test_an_image_is_written_beside_what_runs_and_comes_into_effect_with_a_restart(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt
) -> None:
    release(in_the_field, board, "1.0.0", 1, b"system one")
    assert tried(attempt_now) == 5
    assert board.content("B") == b"system one"
    assert board.content("A") == b"", "what runs was not touched"
    assert board.calls == ["install", "status mark-active rootfs.1"]
    assert board.reboots == 1
    assert state(in_the_field) == (State.ACTIVATING, None)
    waiting = in_the_field.event("update.waiting")["data"]
    assert waiting["reasons"] == ["state.restart"]
    # Nobody restarted it: asked for once, and told once.
    assert tried(attempt_now, "resume") == 5
    assert board.reboots == 1
    assert in_the_field.kinds().count("update.waiting") == 1
    assert board.restart() == "rootfs.1"
    assert tried(attempt_now, "resume") == 0
    lifecycle, active = state(in_the_field)
    assert lifecycle is State.PROVISIONAL
    assert "status mark-good booted" not in board.calls, "health is not proven yet"
    in_the_field.commit()
    assert tried(attempt_now, "resume") == 0
    assert board.calls == ["status mark-good booted"]
    assert state(in_the_field) == (State.IDLE, active)
    assert in_the_field.standing()["generation"] == active


def test_the_next_image_goes_into_the_slot_that_does_not_run(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt
) -> None:
    release(in_the_field, board, "1.0.0", 1, b"system one")
    brought_in(in_the_field, board, attempt_now)
    release(in_the_field, board, "1.1.0", 2, b"system two")
    brought_in(in_the_field, board, attempt_now)
    assert (board.booted, board.content("A"), board.content("B")) == (
        "A",
        b"system two",
        b"system one",
    )


def test_an_image_that_two_releases_have_alike_costs_neither_a_write_nor_a_restart(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt
) -> None:
    release(in_the_field, board, "1.0.0", 1, b"system one")
    first = brought_in(in_the_field, board, attempt_now)
    board.forget()
    release(in_the_field, board, "1.1.0", 2, b"system one")
    assert tried(attempt_now) == 0
    assert state(in_the_field) == (State.PROVISIONAL, first + 1)
    assert (board.calls, board.reboots) == ([], 0)


def test_a_boot_loader_that_goes_back_takes_the_set_back_and_is_held_against_the_release(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt
) -> None:
    release(in_the_field, board, "1.0.0", 1, b"system one")
    first = brought_in(in_the_field, board, attempt_now)
    release(in_the_field, board, "1.1.0", 2, b"does not come up", max_attempts=2)
    board.broken = {"A"}
    for setbacks in (1, 2):
        assert tried(attempt_now) == 5
        assert board.restart() == "rootfs.1"
        board.forget()
        assert tried(attempt_now, "resume") == 0
        assert board.reboots == 0, "what ran before runs already"
        assert state(in_the_field) == (State.IDLE, first)
        failed = in_the_field.event("update.failed")["data"]
        assert failed["reasons"] == ["state.component"]
        assert "the boot loader started rootfs.1" in failed["detail"]["found"]
        journal = in_the_field.journal().state()
        assert journal.setbacks == {in_the_field.releases["1.1.0"]: setbacks}
    assert tried(attempt_now) == 1, "given up"
    assert in_the_field.standing()["generation"] == first
    assert board.primary == "B"


def test_health_that_is_not_proven_starts_the_image_before_again(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt
) -> None:
    release(in_the_field, board, "1.0.0", 1, b"system one")
    first = brought_in(in_the_field, board, attempt_now)
    release(in_the_field, board, "1.1.0", 2, b"system two", max_attempts=1)
    assert tried(attempt_now) == 5
    board.restart()
    assert tried(attempt_now, "resume") == 0
    board.forget()
    assert tried(attempt_now, "resume") == 0
    assert tried(attempt_now, "resume") == 5, "restarts without proven health are over"
    assert board.calls == ["status mark-active rootfs.1"]
    assert board.reboots == 1
    assert in_the_field.journal().state().lifecycle is State.ROLLING_BACK
    assert in_the_field.standing()["generation"] is None, "nothing runs on an image on its way out"
    board.restart()
    assert tried(attempt_now, "resume") == 0
    assert state(in_the_field) == (State.IDLE, first)
    assert board.booted == "B"
    assert in_the_field.event("update.rolled-back")["data"]["reasons"][0] == "state.health"


IN_USE = '[gates.clinical_use]\nfile = "USE"\n'
NEVER_NOW = '[gates.window]\nzone = "UTC"\nspans = ["{at:%H:%M}-{to:%H:%M}"]\n'


def with_gates(field: Any, text: str) -> Path:
    """The integrator's gates; the file that says whether a patient is being served: nobody is."""
    use: Path = field.folder / "use"
    use.write_text("idle\n")
    at = datetime.now(UTC) + timedelta(hours=10)
    text = text.replace("USE", str(use)).format(at=at, to=at + timedelta(minutes=30))
    field.write("agent.toml", (field.settings() + text).encode())
    return use


def test_no_restart_under_a_patient_who_came_between_the_mark_and_the_restart(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt
) -> None:
    """Writing an image takes minutes: the last look is right before the restart is asked for."""
    use = with_gates(in_the_field, IN_USE)
    release(in_the_field, board, "1.0.0", 1, b"system one")
    board.at_mark(f"echo in-use > {use}")
    assert tried(attempt_now) == 5
    assert board.calls == ["install", "status mark-active rootfs.1"]
    assert (board.reboots, state(in_the_field)[0]) == (0, State.ACTIVATING)
    assert tried(attempt_now) == 5
    assert board.reboots == 0
    waiting = in_the_field.event("update.waiting")["data"]
    assert waiting["reasons"] == ["safety.in-use"]
    assert in_the_field.kinds().count("update.waiting") == 1, "told once"
    assert json.loads(in_the_field.counter("last-poll"))["text"] == "waiting: safety.in-use"
    # The patient is gone, but the night is over: another gate has closed since.
    with_gates(in_the_field, IN_USE + NEVER_NOW)
    assert tried(attempt_now) == 5
    assert board.reboots == 0
    assert in_the_field.event("update.waiting")["data"]["reasons"] == ["safety.window"]
    with_gates(in_the_field, IN_USE)
    assert tried(attempt_now) == 5
    assert board.reboots == 1
    assert in_the_field.event("update.waiting")["data"]["reasons"] == ["state.restart"]
    board.restart()
    assert tried(attempt_now, "resume") == 0
    assert state(in_the_field)[0] is State.PROVISIONAL


def test_nobody_is_asked_again_for_a_restart_while_a_patient_is_served(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    use = with_gates(in_the_field, IN_USE)
    release(in_the_field, board, "1.0.0", 1, b"system one")
    assert tried(attempt_now) == 5
    assert board.reboots == 1
    monkeypatch.setattr("primum_agent.install_image.ASKS_AGAIN_SECONDS", 0.0)
    use.write_text("in-use\n")
    assert tried(attempt_now) == 5
    assert board.reboots == 1
    use.write_text("idle\n")
    assert tried(attempt_now) == 5
    assert board.reboots == 2


def test_a_way_back_waits_for_the_patient_and_for_no_window(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt
) -> None:
    release(in_the_field, board, "1.0.0", 1, b"system one")
    first = brought_in(in_the_field, board, attempt_now)
    release(in_the_field, board, "1.1.0", 2, b"system two", max_attempts=1)
    assert tried(attempt_now) == 5
    board.restart()
    assert tried(attempt_now, "resume") == 0
    use = with_gates(in_the_field, IN_USE + NEVER_NOW)
    use.write_text("in-use\n")
    board.forget()
    assert tried(attempt_now, "resume") == 0
    assert tried(attempt_now, "resume") == 5, "restarts without proven health are over"
    assert board.calls == ["status mark-active rootfs.1"]
    assert board.reboots == 0
    assert in_the_field.standing()["mode"] == "safe", "it is taken away all the same"
    use.write_text("idle\n")
    assert tried(attempt_now) == 5
    assert board.reboots == 1
    board.restart()
    assert tried(attempt_now, "resume") == 0
    assert state(in_the_field) == (State.IDLE, first)


def test_an_installer_that_nobody_told_whom_to_ask_restarts_nothing() -> None:
    hold = _nobody_was_asked()
    assert hold.reason is Reason.SAFETY_IN_USE


def test_a_set_of_which_another_part_fails_leaves_the_boot_loader_as_it_was(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt
) -> None:
    hook = in_the_field.folder / "hook.py"
    hook.write_text(HOOK)
    command = json.dumps([sys.executable, str(hook), str(in_the_field.folder)])
    in_the_field.more_settings += f'[components.pump]\ninstaller = "hook"\ncommand = {command}\n'
    in_the_field.enroll()
    Set(in_the_field).hook("pump", "1.0.0", b"p1").image(
        "os", "1.0.0", board.bundle(b"one")
    ).release("1.0.0", counter=1)
    first = brought_in(in_the_field, board, attempt_now)
    made = Set(in_the_field).image("os", "1.1.0", board.bundle(b"two")).hook("pump", "1.1.0", b"p2")
    made.release("1.1.0", counter=2)
    assert tried(attempt_now) == 5
    assert board.primary == "A"
    # The power fails before the restart that was asked for; the hook, next, does not take its file.
    board.restart()
    (in_the_field.folder / "hook.take-effect").write_text("1")
    assert tried(attempt_now, "resume") == 3
    (in_the_field.folder / "hook.take-effect").unlink()
    assert tried(attempt_now, "resume") == 5, "back to the image before"
    assert board.primary == "B"
    board.restart()
    assert tried(attempt_now, "resume") == 0
    assert state(in_the_field) == (State.IDLE, first)


def test_a_restart_that_cannot_be_asked_for_leaves_everything_as_it_was(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt
) -> None:
    release(in_the_field, board, "1.0.0", 1, b"system one")
    first = brought_in(in_the_field, board, attempt_now)
    release(in_the_field, board, "1.1.0", 2, b"system two")
    board.no_reboot(4)
    assert tried(attempt_now) == 3
    assert board.primary == "B"
    assert state(in_the_field) == (State.IDLE, first)
    assert in_the_field.journal().state().setbacks == {}, "not the fault of the release"
    board.no_reboot(None)
    assert brought_in(in_the_field, board, attempt_now) != first


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", ["install", "status mark-active"])
def test_a_cut_around_each_thing_that_rauc_does_converges(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt, when: str, call: str
) -> None:
    release(in_the_field, board, "1.0.0", 1, b"system one")
    brought_in(in_the_field, board, attempt_now)
    release(in_the_field, board, "1.1.0", 2, b"system two")
    board.cut(when, call)
    assert attempt_in_a_process(in_the_field, board).returncode == -9
    board.restart()
    code = tried(attempt_now, "resume")
    if code == 0 and in_the_field.journal().state().lifecycle is State.IDLE:
        assert board.booted == "B"
        code = tried(attempt_now)
    if code == 5:
        board.restart()
        assert tried(attempt_now, "resume") == 0
    assert board.booted == "A"
    assert board.content("A") == b"system two"
    in_the_field.commit()
    assert tried(attempt_now, "resume") == 0
    assert in_the_field.journal().state().in_use.version == "1.1.0"
    assert list(in_the_field.layout.root.glob(".*.partial")) == []


@pytest.mark.parametrize("point", ["activating.before-effect", "activating.after-effect"])
def test_a_cut_around_coming_into_effect_converges(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt, point: str
) -> None:
    release(in_the_field, board, "1.0.0", 1, b"system one")
    if point.endswith("after-effect"):
        assert tried(attempt_now) == 5
        board.restart()
    cut = {"PRIMUM_TEST_FAIL_POINTS": "1", "PRIMUM_FAIL_POINT": point}
    reason = "resume" if point.endswith("after-effect") else "poll"
    assert attempt_in_a_process(in_the_field, board, reason, **cut).returncode == -9
    if tried(attempt_now, "resume") == 5:
        board.restart()
        assert tried(attempt_now, "resume") == 0
    assert board.booted == "B"
    assert in_the_field.journal().state().lifecycle is State.PROVISIONAL


def test_a_cut_on_the_way_back_ends_on_the_image_before(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt
) -> None:
    release(in_the_field, board, "1.0.0", 1, b"system one")
    first = brought_in(in_the_field, board, attempt_now)
    release(in_the_field, board, "1.1.0", 2, b"system two")
    brought_in(in_the_field, board, attempt_now)
    in_the_field.withdraw("1.1.0")
    assert tried(attempt_now) == 5
    board.restart()
    cut = {"PRIMUM_TEST_FAIL_POINTS": "1", "PRIMUM_FAIL_POINT": "rolling-back.after-effect"}
    assert attempt_in_a_process(in_the_field, board, "resume", **cut).returncode == -9
    assert tried(attempt_now, "resume") == 0
    assert state(in_the_field) == (State.IDLE, first)
    assert board.booted == "B"


def attempt_in_a_process(
    field: Any, board: RaucDevice, reason: str = "poll", **known: str
) -> subprocess.CompletedProcess[bytes]:
    words = ["--state", field.state, "--provisioning", field.provisioning, "--reason", reason]
    return subprocess.run(
        [sys.executable, "-c", ATTEMPT, board.boot_id, *words],
        check=False,
        timeout=60,
        capture_output=True,
        env={**os.environ, **known},
    )


@pytest.mark.parametrize("fault", ["damaged", "another device"])
def test_a_bundle_that_rauc_does_not_take_is_held_against_the_release(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt, fault: str
) -> None:
    bundle = board.bundle(b"system", compatible="another-device")
    if fault == "damaged":
        bundle = board.bundle(b"system")
        bundle = bundle[:200] + bytes([bundle[200] ^ 1]) + bundle[201:]
    Set(in_the_field).image("os", "1.0.0", bundle).release("1.0.0", counter=1, max_attempts=1)
    assert tried(attempt_now) == 3
    failed = in_the_field.event("update.failed")["data"]
    assert failed["reasons"] == ["state.component"]
    assert "RAUC did not take it" in failed["detail"]["found"]
    assert in_the_field.journal().state().faults
    assert (board.primary, board.reboots, state(in_the_field)) == ("A", 0, (State.IDLE, None))
    assert list(in_the_field.layout.generations.iterdir()) == []


def test_a_bundle_that_is_refused_unwritten_leaves_the_image_before_as_the_way_back(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt
) -> None:
    release(in_the_field, board, "1.0.0", 1, b"system one")
    first = brought_in(in_the_field, board, attempt_now)
    release(in_the_field, board, "1.1.0", 2, b"system two")
    brought_in(in_the_field, board, attempt_now)
    bundle = board.bundle(b"three", compatible="another-device")
    Set(in_the_field).image("os", "1.2.0", bundle).release("1.2.0", counter=3, max_attempts=1)
    assert tried(attempt_now) == 3
    in_the_field.withdraw("1.1.0")
    board.forget()
    assert tried(attempt_now) == 5
    assert board.calls == ["status mark-active rootfs.1"], "not written once more"
    board.restart()
    assert tried(attempt_now, "resume") == 0
    assert (state(in_the_field), board.content("B")) == ((State.IDLE, first), b"system one")


def test_a_bundle_that_failed_half_way_leaves_no_image_to_go_back_to_in_the_slot(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt
) -> None:
    release(in_the_field, board, "1.0.0", 1, b"system one")
    first = brought_in(in_the_field, board, attempt_now)
    release(in_the_field, board, "1.1.0", 2, b"system two")
    brought_in(in_the_field, board, attempt_now)
    bundle = board.bundle(b"three", fails=True)
    Set(in_the_field).image("os", "1.2.0", bundle).release("1.2.0", counter=3, max_attempts=1)
    assert tried(attempt_now) == 3
    assert board.content("B") == b"three"
    in_the_field.withdraw("1.1.0")
    board.forget()
    assert tried(attempt_now) == 5
    assert board.calls == ["install", "status mark-active rootfs.1"]
    board.restart()
    assert tried(attempt_now, "resume") == 0
    assert (state(in_the_field), board.content("B")) == ((State.IDLE, first), b"system one")


def test_a_rauc_that_is_gone_when_it_is_to_install_is_no_fault_of_the_release(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt
) -> None:
    release(in_the_field, board, "1.0.0", 1, b"system one", max_attempts=1)
    board.deaf_to("install")
    assert tried(attempt_now) == 3
    found = in_the_field.journal().state()
    assert (found.lifecycle, found.setbacks, found.faults) == (State.IDLE, {}, {})
    assert tried(attempt_now) == 5


def test_a_device_without_rauc_waits_and_nothing_is_held_against_the_release(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt
) -> None:
    release(in_the_field, board, "1.0.0", 1, b"system one")
    board.stop_service()
    for _ in range(3):
        assert tried(attempt_now) == 3
    assert in_the_field.kinds().count("attempt.failed") == 1, "one trouble, one event"
    failed = in_the_field.event("attempt.failed")["data"]
    assert failed["reasons"] == ["resource.program"]
    assert "update.activating" not in in_the_field.kinds(), "nothing was begun"
    board.start_service()
    assert tried(attempt_now) == 5


@pytest.mark.parametrize("said", ["", "activate-installed=true", "activate-installed=1"])
def test_a_rauc_that_starts_an_image_by_itself_is_not_used(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt, said: str
) -> None:
    board.configure(said)
    release(in_the_field, board, "1.0.0", 1, b"system one")
    board.forget()
    assert tried(attempt_now) == 3
    failed = in_the_field.event("attempt.failed")["data"]
    assert failed["reasons"] == ["resource.program"]
    assert "activate-installed=false" in failed["detail"]["remedy"]
    assert board.calls == []


@pytest.mark.parametrize("said", ["", "statusfile=per-slot"])
def test_a_rauc_that_keeps_no_note_of_what_it_wrote_is_not_used(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt, said: str
) -> None:
    board.configure(status=said)
    release(in_the_field, board, "1.0.0", 1, b"system one")
    assert tried(attempt_now) == 3
    failed = in_the_field.event("attempt.failed")["data"]
    assert "statusfile" in failed["detail"]["remedy"]


def test_settings_of_rauc_that_cannot_be_read_are_told(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt
) -> None:
    (board.folder / "system.conf").write_text("nonsense")
    release(in_the_field, board, "1.0.0", 1, b"system one")
    assert tried(attempt_now) == 3
    failed = in_the_field.event("attempt.failed")["data"]
    assert "rauc_config" in failed["detail"]["remedy"]


def test_a_rauc_that_forgets_at_every_restart_ends_in_no_loop_of_restarts(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt
) -> None:
    release(in_the_field, board, "1.0.0", 1, b"system one", max_attempts=2)
    for _ in range(2):
        assert tried(attempt_now) == 5
        board.restart(forgets=True)
        assert tried(attempt_now, "resume") == 0
        failed = in_the_field.event("update.failed")["data"]
        assert "statusfile" in failed["detail"]["remedy"]
    assert in_the_field.journal().state().faults
    board.forget()
    assert tried(attempt_now) == 1
    assert (board.calls, board.reboots) == ([], 0)


def test_a_rauc_whose_settings_are_not_those_it_runs_with_is_found_out(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt
) -> None:
    board.stop_service()
    board.configure("activate-installed=true")
    board.start_service()
    board.configure()
    release(in_the_field, board, "1.0.0", 1, b"system one")
    assert tried(attempt_now) == 3
    assert board.primary == "A", "put back at once"
    failed = in_the_field.event("attempt.failed")["data"]
    assert "next start would have tried rootfs.1" in failed["detail"]["found"]
    assert state(in_the_field) == (State.IDLE, None)


def test_a_boot_loader_that_goes_back_later_is_seen_and_the_release_before_is_what_runs(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt
) -> None:
    release(in_the_field, board, "1.0.0", 1, b"system one")
    first = brought_in(in_the_field, board, attempt_now)
    release(in_the_field, board, "1.1.0", 2, b"system two")
    brought_in(in_the_field, board, attempt_now)
    board.broken = {"A"}
    assert board.restart() == "rootfs.1"
    assert tried(attempt_now, "resume") == 0
    assert state(in_the_field) == (State.IDLE, first)
    assert board.reboots == 0, "it runs already"
    lost = in_the_field.event("eligibility.lost")["data"]
    assert lost["reasons"] == ["state.component"]
    assert lost["detail"]["found"] == "os 1.1.0"
    assert in_the_field.standing()["generation"] == first
    assert in_the_field.journal().state().setbacks == {}, "it once proved health"
    # The plan still names it: it is written once more, and only then held against it.
    assert tried(attempt_now) == 5


def test_a_release_whose_image_is_not_what_runs_is_no_way_back(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt
) -> None:
    release(in_the_field, board, "1.0.0", 1, b"system one")
    first = brought_in(in_the_field, board, attempt_now)
    release(in_the_field, board, "1.1.0", 2, b"system two")
    brought_in(in_the_field, board, attempt_now)
    release(in_the_field, board, "1.2.0", 3, b"system two")
    assert tried(attempt_now) == 0
    in_the_field.commit()
    board.broken = {"A"}
    board.restart()
    assert tried(attempt_now, "resume") == 0
    assert state(in_the_field) == (State.IDLE, first)
    tried_others = in_the_field.event("update.rolled-back")["data"]["detail"]["tried"]
    assert "no longer in effect" in tried_others["pvc-classifier 1.1.0"]


def test_an_image_that_somebody_else_replaced_is_out_of_effect(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt
) -> None:
    release(in_the_field, board, "1.0.0", 1, b"system one")
    brought_in(in_the_field, board, attempt_now)
    board.restart()
    assert tried(attempt_now, "resume") == 0
    assert board.calls == ["status mark-good booted"], "boot loaders count every start"
    board.booted = "A"
    board.stop_service()
    board.start_service()
    board.install_by_hand(b"something else")
    board.booted = "B"
    board.stop_service()
    board.start_service()
    assert tried(attempt_now, "resume") == 0
    assert state(in_the_field) == (State.IDLE, None)
    assert in_the_field.event("safe-mode.entered")["data"]["reasons"][0] == "state.component"


def test_who_cannot_ask_rauc_goes_on_with_what_runs_and_still_takes_away(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt
) -> None:
    release(in_the_field, board, "1.0.0", 1, b"system one")
    first = brought_in(in_the_field, board, attempt_now)
    board.stop_service()
    # A start that RAUC cannot be told of is told once to people.
    board.boot_id.write_text("another boot\n")
    assert tried(attempt_now) == 0
    assert state(in_the_field) == (State.IDLE, first)
    assert in_the_field.kinds().count("attempt.failed") == 1
    in_the_field.withdraw("1.0.0")
    assert tried(attempt_now) == 1
    assert state(in_the_field) == (State.IDLE, None)
    board.start_service()


def test_the_image_from_before_the_last_one_is_written_once_more_from_the_store(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt
) -> None:
    release(in_the_field, board, "1.0.0", 1, b"system one")
    first = brought_in(in_the_field, board, attempt_now)
    for counter, (version, content) in enumerate(
        {"1.1.0": b"system two", "1.2.0": b"system three"}.items(), start=2
    ):
        release(in_the_field, board, version, counter, content)
        brought_in(in_the_field, board, attempt_now)
    assert (board.booted, board.content("A")) == ("B", b"system two")
    in_the_field.withdraw("1.1.0")
    in_the_field.withdraw("1.2.0")
    assert tried(attempt_now) == 5
    assert board.content("A") == b"system one"
    board.restart()
    assert tried(attempt_now, "resume") == 0
    assert (state(in_the_field), board.booted) == ((State.IDLE, first), "A")


def test_an_image_that_nobody_holds_any_more_ends_in_safe_mode_and_not_in_a_loop(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt
) -> None:
    for counter, (version, content) in enumerate(
        {"1.0.0": b"one", "1.1.0": b"two", "1.2.0": b"three"}.items(), start=1
    ):
        release(in_the_field, board, version, counter, content)
        brought_in(in_the_field, board, attempt_now)
    stored = in_the_field.layout.store / "sha256"
    (stored / sha256_hex(board.bundle(b"one"))).unlink()
    in_the_field.withdraw("1.1.0")
    in_the_field.withdraw("1.2.0")
    board.forget()
    assert tried(attempt_now) == 1
    assert state(in_the_field) == (State.IDLE, None)
    assert (board.reboots, board.calls) == (0, [])
    entered = in_the_field.event("safe-mode.entered")["data"]["detail"]["tried"]
    assert "no slot holds" in entered["pvc-classifier 1.0.0"]
    release(in_the_field, board, "1.3.0", 4, b"four")
    brought_in(in_the_field, board, attempt_now)


def test_a_way_back_that_never_works_ends_in_safe_mode_and_the_next_release_is_taken(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt
) -> None:
    release(in_the_field, board, "1.0.0", 1, b"system one")
    brought_in(in_the_field, board, attempt_now)
    release(in_the_field, board, "1.1.0", 2, b"system two")
    brought_in(in_the_field, board, attempt_now)
    in_the_field.withdraw("1.1.0")
    assert tried(attempt_now) == 5
    board.broken = {"B"}
    assert board.restart() == "rootfs.0"
    for _ in range(MOST_TRIES):
        assert tried(attempt_now, "resume") == 3
        assert in_the_field.standing()["generation"] is None
    assert tried(attempt_now, "resume") == 0
    assert state(in_the_field) == (State.IDLE, None)
    assert board.reboots == 0, "a slot that did not come up is not tried again and again"
    board.broken = set()
    release(in_the_field, board, "1.2.0", 3, b"system three")
    brought_in(in_the_field, board, attempt_now)
    assert board.content(board.booted) == b"system three"


def test_what_cannot_be_taken_back_is_left_and_the_device_goes_on(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt
) -> None:
    release(in_the_field, board, "1.0.0", 1, b"system one")
    brought_in(in_the_field, board, attempt_now)
    hook = in_the_field.folder / "hook.py"
    hook.write_text(HOOK)
    command = json.dumps([sys.executable, str(hook), str(in_the_field.folder)])
    in_the_field.more_settings += f'[components.pump]\ninstaller = "hook"\ncommand = {command}\n'
    in_the_field.enroll()
    made = Set(in_the_field).hook("pump", "1.1.0", b"p").image("os", "1.1.0", board.bundle(b"two"))
    made.release("1.1.0", counter=2)
    for step in ("take-effect", "leave"):
        (in_the_field.folder / f"hook.{step}").write_text("1")
    for _ in range(MOST_TRIES):
        assert tried(attempt_now) == 3
        assert in_the_field.journal().state().lifecycle is State.ACTIVATING
    assert tried(attempt_now, "resume") == 0
    assert state(in_the_field) == (State.IDLE, None)
    lost = in_the_field.event("eligibility.lost")["data"]
    assert lost["reasons"] == ["state.component"]


def test_what_ran_before_the_first_image_is_started_again(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt
) -> None:
    in_the_field.release("1.0.0", counter=1)
    assert tried(attempt_now) == 0
    in_the_field.commit()
    first = in_the_field.journal().state().active
    release(in_the_field, board, "1.1.0", 2, b"system one")
    brought_in(in_the_field, board, attempt_now)
    in_the_field.withdraw("1.1.0")
    assert tried(attempt_now) == 5
    assert board.restart() == "rootfs.0"
    assert tried(attempt_now, "resume") == 0
    assert state(in_the_field) == (State.IDLE, first)


def test_the_first_image_that_did_not_come_up_is_tried_with_another_restart(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt
) -> None:
    release(in_the_field, board, "1.0.0", 1, b"system one")
    assert tried(attempt_now) == 5
    board.broken = {"B"}
    board.restart()
    assert tried(attempt_now, "resume") == 0
    assert in_the_field.event("update.failed")["data"]["reasons"] == ["state.component"]
    board.broken = set()
    board.forget()
    brought_in(in_the_field, board, attempt_now)
    assert board.booted == "B"


def test_a_boot_loader_that_goes_back_behind_the_first_image_is_seen(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt
) -> None:
    release(in_the_field, board, "1.0.0", 1, b"system one")
    brought_in(in_the_field, board, attempt_now)
    board.broken = {"B"}
    assert board.restart() == "rootfs.0"
    assert tried(attempt_now, "resume") == 0
    assert state(in_the_field) == (State.IDLE, None)
    assert in_the_field.event("eligibility.lost")["data"]["reasons"] == ["state.component"]


def test_what_ran_before_the_first_image_and_was_written_over_is_no_way_back(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt
) -> None:
    in_the_field.release("1.0.0", counter=1)
    assert tried(attempt_now) == 0
    in_the_field.commit()
    release(in_the_field, board, "1.1.0", 2, b"system one")
    brought_in(in_the_field, board, attempt_now)
    release(in_the_field, board, "1.2.0", 3, b"system two")
    board.cut("before", "install")
    assert attempt_in_a_process(in_the_field, board).returncode == -9
    in_the_field.withdraw("1.1.0")
    in_the_field.withdraw("1.2.0")
    board.forget()
    assert tried(attempt_now) == 1
    assert state(in_the_field) == (State.IDLE, None)
    assert (board.booted, board.calls) == ("B", []), "nobody knows what lies beside"
    entered = in_the_field.event("safe-mode.entered")["data"]["detail"]["tried"]
    assert "no slot holds" in entered["pvc-classifier 1.0.0"]


def test_a_set_that_fails_after_a_release_without_an_image_goes_back_to_what_ran_under_it(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt
) -> None:
    release(in_the_field, board, "1.0.0", 1, b"system one")
    brought_in(in_the_field, board, attempt_now)
    in_the_field.release("1.1.0", counter=2)
    assert tried(attempt_now) == 0
    in_the_field.commit()
    second = in_the_field.journal().state().active
    release(in_the_field, board, "1.2.0", 3, b"system two")
    brought_in(in_the_field, board, attempt_now)
    assert board.booted == "A"
    in_the_field.withdraw("1.2.0")
    assert tried(attempt_now) == 5
    assert board.restart() == "rootfs.1"
    assert tried(attempt_now, "resume") == 0
    assert (state(in_the_field), board.booted) == ((State.IDLE, second), "B")


def test_an_image_that_only_lay_beside_is_not_what_ran_before(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt
) -> None:
    in_the_field.release("1.0.0", counter=1)
    assert tried(attempt_now) == 0
    in_the_field.commit()
    release(in_the_field, board, "1.1.0", 2, b"system one")
    brought_in(in_the_field, board, attempt_now)
    release(in_the_field, board, "1.2.0", 3, b"system two")
    board.no_reboot(1)
    assert tried(attempt_now) == 3
    assert (board.content("A"), board.primary) == (b"system two", "B")
    in_the_field.withdraw("1.1.0")
    in_the_field.withdraw("1.2.0")
    board.forget()
    assert tried(attempt_now) == 1
    assert state(in_the_field) == (State.IDLE, None)
    assert (board.primary, board.reboots) == ("B", 0)


def test_an_image_that_comes_a_second_time_goes_back_to_what_ran_before_this_time(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt
) -> None:
    for counter, content in enumerate((b"one", b"two", b"three"), start=1):
        release(in_the_field, board, f"1.{counter}.0", counter, content)
        brought_in(in_the_field, board, attempt_now)
    in_the_field.release("1.4.0", counter=4)
    assert tried(attempt_now) == 0
    in_the_field.commit()
    fourth = in_the_field.journal().state().active
    board.forget()
    release(in_the_field, board, "1.5.0", 5, b"two")
    assert tried(attempt_now) == 5
    assert board.calls == ["status mark-active rootfs.0"], "it lies there already"
    board.restart()
    assert tried(attempt_now, "resume") == 0
    for minor in (1, 2, 3, 5):
        in_the_field.withdraw(f"1.{minor}.0")
    assert tried(attempt_now) == 5
    board.restart()
    assert tried(attempt_now, "resume") == 0
    assert (state(in_the_field), board.booted) == ((State.IDLE, fourth), "B")
    assert board.content("B") == b"three"


def test_a_later_release_without_an_image_leaves_the_one_that_runs(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt
) -> None:
    release(in_the_field, board, "1.0.0", 1, b"system one")
    brought_in(in_the_field, board, attempt_now)
    board.forget()
    in_the_field.release("1.1.0", counter=2)
    assert tried(attempt_now) == 0
    assert (board.calls, board.reboots, board.booted) == ([], 0, "B")


def doctor(field: Any) -> dict[str, dict[str, Any]]:
    done = field.agent("doctor", "--provisioning", field.provisioning, "--json")
    return {item["what"]: item for item in json.loads(done.stdout)}


def test_doctor_says_whether_the_device_can_take_images(
    in_the_field: Any, board: RaucDevice
) -> None:
    well = doctor(in_the_field)["component os"]
    assert well["well"]
    assert "rootfs.0 runs, rootfs.1 takes the next image" in well["found"]
    (board.folder / "reboot").chmod(0o775)
    assert "others than its owner" in doctor(in_the_field)["component os"]["found"]
    (board.folder / "reboot").unlink()
    assert not doctor(in_the_field)["component os"]["well"]
    board.configure("")
    assert "activate-installed=false" in doctor(in_the_field)["component os"]["remedy"]
    board.configure()
    board.stop_service()
    silent = doctor(in_the_field)["component os"]
    assert (silent["well"], "systemctl status rauc" in silent["remedy"]) == (False, True)
    board.start_service()


def test_who_does_not_restart_is_asked_again_only_after_a_while(
    in_the_field: Any, board: RaucDevice, attempt_now: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    release(in_the_field, board, "1.0.0", 1, b"system one")
    assert tried(attempt_now) == 5
    for _ in range(2):
        assert tried(attempt_now, "resume") == 5
    assert board.reboots == 1
    monkeypatch.setattr("primum_agent.install_image.ASKS_AGAIN_SECONDS", 0.0)
    assert tried(attempt_now, "resume") == 5
    assert (board.reboots, board.calls[2:]) == (2, [])


def test_the_settings_of_rauc_in_the_documentation_are_those_that_the_agent_asks_for(
    tmp_path: Path,
) -> None:
    page = (Path(__file__).parents[3] / "docs/components.md").read_text()
    (example,) = [part for part in page.split("```")[1::2] if "activate-installed" in part]
    config = tmp_path / "system.conf"
    config.write_text(example)
    Rauc(config, install_seconds=1.0).check()
