"""A set of components: all of it or nothing, forward in order, back in reverse."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.agent.sets import Set
from tests.unit.agent.test_service_stop import stop_and_measure
from tests.unit.agent.waiting import wait_for

from primum_agent.components import ComponentFailedError
from primum_agent.events import Entry, EventKind
from primum_agent.fail_points import FailPoint
from primum_agent.lifecycle import State
from primum_agent.settings import read_settings
from primum_agent.transitions import Unproven, tried_again_later
from primum_agent.way_back import MOST_TRIES
from primum_verifier.core.document import sha256_hex
from primum_verifier.core.errors import FailedError, UsageError, WaitingError

Attempt = Callable[..., int]

HOOK = """\
import json, pathlib, sys
folder, name, step = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
told = json.load(sys.stdin)
assert told["step"] == step and told["component"] == name
with (folder / "steps").open("a") as log:
    files = {item: pathlib.Path(path).read_bytes().decode() for item, path in told["files"].items()}
    log.write(json.dumps([name, step, told["generation"], told["version"], files]) + "\\n")
answer = folder / f"{name}.{step}"
if answer.is_file():
    print("the pump is running")
    print("a cable is loose", file=sys.stderr)
    sys.exit(int(answer.read_text()))
"""


class Hooks:
    """Two hooks of an integrator, which note what they are asked and answer as told."""

    def __init__(self, field: Any) -> None:
        self.folder: Path = field.folder / "hooks"
        self.folder.mkdir()
        program = self.folder / "hook.py"
        program.write_text(HOOK)
        for name in ("pump", "screen"):
            command = json.dumps([sys.executable, str(program), str(self.folder), name])
            field.more_settings += (
                f'[components.{name}]\ninstaller = "hook"\ncommand = {command}\nasks_at_most = 2\n'
            )
        field.more_settings += '[components.app]\ninstaller = "tree"\n'
        field.enroll()

    def answers(self, name: str, step: str, code: int | None) -> None:
        path = self.folder / f"{name}.{step}"
        path.unlink(missing_ok=True)
        if code is not None:
            path.write_text(str(code))

    def steps(self) -> list[tuple[str, str, int]]:
        log = self.folder / "steps"
        lines = log.read_text().splitlines() if log.exists() else []
        return [tuple(json.loads(line)[:3]) for line in lines]

    def files(self) -> list[Any]:
        return [json.loads(line)[3:] for line in (self.folder / "steps").read_text().splitlines()]

    def forget(self) -> None:
        (self.folder / "steps").unlink(missing_ok=True)


@pytest.fixture
def hooks(in_the_field: Any) -> Hooks:
    return Hooks(in_the_field)


def release(
    field: Any, version: str, counter: int, *, pump: str = "", screen: str = "", **given: Any
) -> None:
    files = {"bin/start*": f"start {version}".encode(), "etc/app.toml": b"same", "empty": b""}
    made = Set(field)
    if pump:
        made.hook("pump", version, pump.encode())
    made.tree("app", version, files)
    if screen:
        made.hook("screen", version, screen.encode())
    made.release(version, counter=counter, **given)


def activated(field: Any, attempt_now: Attempt) -> int:
    assert attempt_now() == 0
    field.commit()
    number: int = field.journal().state().active
    return number


def test_a_set_is_laid_out_whole_and_comes_into_effect_in_order(
    in_the_field: Any, hooks: Hooks, attempt_now: Attempt
) -> None:
    release(in_the_field, "1.0.0", 1, pump="p1", screen="s1")
    number = activated(in_the_field, attempt_now)
    folder = in_the_field.layout.generations / str(number)
    assert (folder / "app/bin/start").read_bytes() == b"start 1.0.0"
    assert stat.S_IMODE((folder / "app/bin/start").stat().st_mode) == 0o550
    assert stat.S_IMODE((folder / "app/etc/app.toml").stat().st_mode) == 0o440
    assert (folder / "app/empty").read_bytes() == b""
    assert (folder / "pump/pump.bin").read_bytes() == b"p1"
    assert not list(folder.rglob("*.tree-pack")), "what only carried it is not kept"
    assert [step[:2] for step in hooks.steps()] == [
        ("pump", "ask"),
        ("screen", "ask"),
        ("pump", "prepare"),
        ("screen", "prepare"),
        ("pump", "take-effect"),
        ("screen", "take-effect"),
    ]
    told = in_the_field.event("update.activated")["data"]["detail"]["components"]
    assert told == [f"{name} 1.0.0: take-effect" for name in ("pump", "app", "screen")]
    files = in_the_field.standing()["files"]
    assert [Path(item["path"]).name for item in files] == ["model-1.0.0.onnx"]
    hooks.forget()
    assert attempt_now("resume") == 0
    assert hooks.steps() == [("pump", "confirm", number), ("screen", "confirm", number)]
    hooks.forget()
    assert attempt_now("resume") == 0
    assert hooks.steps() == [], "told once"


def test_what_two_releases_have_alike_is_not_touched_and_lies_there_once(
    in_the_field: Any, hooks: Hooks, attempt_now: Attempt
) -> None:
    release(in_the_field, "1.0.0", 1, pump="same", screen="s1")
    first = activated(in_the_field, attempt_now)
    hooks.forget()
    release(in_the_field, "1.1.0", 2, pump="same", screen="s2")
    second = activated(in_the_field, attempt_now)
    assert ("pump", "take-effect", second) not in hooks.steps()
    assert ("screen", "take-effect", second) in hooks.steps()
    folders = [in_the_field.layout.generations / str(number) for number in (first, second)]
    same = [folder / "app/etc/app.toml" for folder in folders]
    assert same[0].stat().st_ino == same[1].stat().st_ino


def test_a_component_that_fails_takes_the_whole_set_back_in_reverse(
    in_the_field: Any, hooks: Hooks, attempt_now: Attempt
) -> None:
    release(in_the_field, "1.0.0", 1, pump="p1", screen="s1")
    first = activated(in_the_field, attempt_now)
    release(in_the_field, "1.1.0", 2, pump="p2", screen="s2", max_attempts=2)
    hooks.forget()
    hooks.answers("screen", "take-effect", 3)
    # The way back works again only once the cable is mended.
    with pytest.raises(ComponentFailedError):
        attempt_now()
    state = in_the_field.journal().state()
    assert state.lifecycle is State.ACTIVATING, "nothing is claimed that is not so"
    hooks.answers("screen", "take-effect", None)
    hooks.forget()
    assert attempt_now("resume") == 0
    back = [step for step in hooks.steps() if step[1] == "take-effect"]
    assert back == [("screen", "take-effect", first), ("pump", "take-effect", first)]
    state = in_the_field.journal().state()
    assert (state.lifecycle, state.active) == (State.IDLE, first)
    assert in_the_field.layout.active.readlink().name == str(first)
    assert in_the_field.standing()["generation"] == first


def test_a_set_that_never_comes_into_effect_is_given_up_and_a_person_lets_it_be_tried_again(
    in_the_field: Any, hooks: Hooks, attempt_now: Attempt
) -> None:
    release(in_the_field, "1.0.0", 1, pump="p1")
    first = activated(in_the_field, attempt_now)
    release(in_the_field, "1.1.0", 2, pump="p2", screen="new", max_attempts=2)
    hooks.answers("screen", "take-effect", 3)
    for _ in range(2):
        hooks.forget()
        assert attempt_now() == 3
        state = in_the_field.journal().state()
        assert (state.lifecycle, state.active) == (State.IDLE, first)
        acts = [step[:2] for step in hooks.steps() if step[1] in {"take-effect", "leave"}]
        assert acts == [
            ("pump", "take-effect"),
            ("screen", "take-effect"),
            ("screen", "leave"),
            ("pump", "take-effect"),
        ]
    failed = in_the_field.event("update.failed")["data"]
    assert failed["reasons"] == ["state.component"]
    assert "a cable is loose" in failed["detail"]["found"]
    faults = in_the_field.journal().state().faults
    assert faults == {in_the_field.releases["1.1.0"]: "state.component"}
    hooks.forget()
    assert attempt_now() == 1
    assert {step[1] for step in hooks.steps()} <= {"confirm"}, (
        "a release that was given up is not tried at every poll"
    )
    hooks.answers("screen", "take-effect", None)
    assert in_the_field.agent("retry", "1.1.0").returncode == 0
    assert attempt_now() == 0
    assert in_the_field.journal().state().in_use.version == "1.1.0"


def test_a_device_that_did_not_do_its_part_is_told_as_that_and_no_application_is_blamed(
    in_the_field: Any, attempt_now: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing lets the agent restart the service: an application was never asked anything."""
    systemctl = in_the_field.folder / "systemctl"
    systemctl.write_text("#!/bin/sh\nexit 4\n")
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{in_the_field.folder}:{os.environ['PATH']}")
    in_the_field.more_settings += '[components.app]\ninstaller = "tree"\nunit = "app.service"\n'
    in_the_field.enroll()
    release(in_the_field, "1.0.0", 1, max_attempts=1)
    with pytest.raises(FailedError):
        attempt_now()
    assert in_the_field.event("update.failed")["data"]["reasons"] == ["resource.program"]
    state = in_the_field.journal().state()
    assert (state.lifecycle, state.faults, state.setbacks) == (State.IDLE, {}, {})
    text = "tried once: the device did not bring its components into effect; "
    assert text in in_the_field.agent("status").stdout
    assert "no application opened it" not in in_the_field.agent("status").stdout
    with in_the_field.journal_to_write() as journal:
        name = next(iter(state.unproven))
        kept = tried_again_later(journal, name, poll_seconds=3600.0, why=Unproven.NOT_BROUGHT)
        journal.record(Entry(kind=EventKind.UPDATE_FAILED, change=kept))
    assert attempt_now() == 5
    kept_poll = json.loads(in_the_field.counter("last-poll"))
    assert kept_poll["text"] == (
        "waiting: state.component: the device did not bring its components into effect, 2x"
    )


def test_a_later_plan_forgives_components_that_did_not_come_into_effect(
    in_the_field: Any, hooks: Hooks, attempt_now: Attempt
) -> None:
    release(in_the_field, "1.0.0", 1, pump="p1", max_attempts=1)
    hooks.answers("pump", "prepare", 1)
    assert attempt_now() == 3
    assert in_the_field.journal().state().faults
    hooks.answers("pump", "prepare", None)
    in_the_field.assign("1.0.0")
    in_the_field.publish()
    assert attempt_now() == 0
    assert in_the_field.journal().state().in_use.version == "1.0.0"


def test_a_component_that_asks_for_patience_holds_and_is_seen_until_it_asked_too_often(
    in_the_field: Any, hooks: Hooks, attempt_now: Attempt
) -> None:
    release(in_the_field, "1.0.0", 1, pump="p1")
    hooks.answers("pump", "ask", 75)
    for _ in range(2):
        assert attempt_now() == 5
        assert in_the_field.journal().state().lifecycle is State.WAITING
    assert in_the_field.kinds().count("update.waiting") == 1, "one problem, one event"
    shown = in_the_field.agent("status", "--json")
    gates = {item["gate"]: item for item in json.loads(shown.stdout)["gates"]}
    assert gates["components"]["standing"] == "holds"
    assert "the pump is running" in gates["components"]["reading"]
    assert attempt_now() == 3
    assert in_the_field.journal().state().lifecycle is State.IDLE
    assert in_the_field.event("update.failed")["data"]["reasons"] == ["state.asked-later"]
    assert {step[1] for step in hooks.steps()} == {"ask"}, "nothing was done"
    hooks.answers("pump", "ask", None)
    assert in_the_field.agent("retry", "1.0.0").returncode == 0
    assert attempt_now() == 0


def test_health_that_is_not_proven_brings_every_component_back(
    in_the_field: Any, hooks: Hooks, attempt_now: Attempt
) -> None:
    release(in_the_field, "1.0.0", 1, pump="p1")
    first = activated(in_the_field, attempt_now)
    release(in_the_field, "1.1.0", 2, pump="p2", screen="s2", health_window=1)
    hooks.forget()
    with in_the_field.running():
        wait_for(lambda: "update.rolled-back" in in_the_field.kinds() or None)
    acts = [step[:2] for step in hooks.steps() if step[1] in {"take-effect", "leave"}]
    assert acts[-2:] == [("screen", "leave"), ("pump", "take-effect")]
    assert hooks.files()[-1][1] == {"pump-firmware": "p1"} or ("pump", "confirm") in [
        step[:2] for step in hooks.steps()
    ]
    assert in_the_field.journal().state().active == first


def test_a_set_for_a_device_without_the_installer_is_refused_before_a_byte_is_fetched(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    Set(in_the_field).image("pump", "1.0.0", b"image").release("1.0.0", counter=1)
    assert attempt_now() == 1
    refused = in_the_field.event("update.refused")["data"]
    assert refused["reasons"] == ["compat.installer"]
    assert "update.downloading" not in in_the_field.kinds()
    assert not in_the_field.journal().state().generations


@pytest.mark.usefixtures("hooks")
def test_a_tree_that_lost_a_file_is_no_longer_whole_and_is_left(
    in_the_field: Any, attempt_now: Attempt
) -> None:
    release(in_the_field, "1.0.0", 1)
    first = activated(in_the_field, attempt_now)
    release(in_the_field, "1.1.0", 2)
    second = activated(in_the_field, attempt_now)
    start = in_the_field.layout.generations / str(second) / "app/bin/start"
    start.chmod(0o640)
    start.write_bytes(b"something else")
    assert attempt_now("resume") == 0
    assert in_the_field.journal().state().active == first
    assert in_the_field.event("eligibility.lost")["data"]["reasons"] == ["artifact.digest"]


@pytest.mark.usefixtures("hooks")
@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"compression": "none"}, "artifact.digest"),
        ({"files": [{"path": "a", "length": 3, "sha256": sha256_hex(b"abc")}]}, "artifact.digest"),
        ({"files": [{"path": "a", "length": 900, "sha256": sha256_hex(b"")}]}, "artifact.size"),
        ({"files": [{"path": "../a", "length": 1, "sha256": "0" * 64}]}, "document.invalid"),
    ],
)
def test_a_pack_that_is_not_what_its_list_says_leaves_nothing(
    in_the_field: Any, attempt_now: Attempt, given: Any, reason: str
) -> None:
    Set(in_the_field).tree("app", "1.0.0", {"a": b"some bytes"}, **given).release(
        "1.0.0", counter=1
    )
    assert attempt_now() == 1
    assert in_the_field.event("update.refused")["data"]["reasons"] == [reason]
    assert attempt_now() == 1
    assert in_the_field.kinds().count("update.refused") == 1, "refused once and remembered"
    assert not list(in_the_field.layout.generations.iterdir())
    assert not (in_the_field.layout.generations.parent / "a").exists()
    assert in_the_field.journal().state().lifecycle is State.IDLE


EFFECT = [FailPoint.ACTIVATING_BEFORE_EFFECT, FailPoint.ACTIVATING_AFTER_EFFECT]


def cut_at(field: Any, point: FailPoint) -> None:
    """Run until the power fails at a point; the application proves nothing."""
    with field.running(PRIMUM_TEST_FAIL_POINTS="1", PRIMUM_FAIL_POINT=str(point)) as process:
        assert process.wait(timeout=60) == -9, "the point was never passed"


@pytest.mark.parametrize("point", EFFECT)
def test_told_to_stop_while_a_component_hangs_it_is_gone_in_time(
    in_the_field: Any, hooks: Hooks, attempt_now: Attempt, eventually: Any, point: FailPoint
) -> None:
    release(in_the_field, "1.0.0", 1, pump="p1")
    activated(in_the_field, attempt_now)
    release(in_the_field, "1.1.0", 2, pump="p2")
    stop_and_measure(in_the_field, eventually, point)
    hooks.forget()
    assert attempt_now("resume") == 0
    state = in_the_field.journal().state()
    assert (state.lifecycle, state.in_use.version) == (State.PROVISIONAL, "1.1.0")


@pytest.mark.parametrize("point", EFFECT)
def test_cut_while_components_come_into_effect_goes_on_to_the_new_set(
    in_the_field: Any, hooks: Hooks, attempt_now: Attempt, point: FailPoint
) -> None:
    release(in_the_field, "1.0.0", 1, pump="p1")
    activated(in_the_field, attempt_now)
    release(in_the_field, "1.1.0", 2, pump="p2", screen="s2")
    cut_at(in_the_field, point)
    hooks.forget()
    assert attempt_now("resume") == 0
    state = in_the_field.journal().state()
    assert (state.lifecycle, state.in_use.version) == (State.PROVISIONAL, "1.1.0")
    in_order = [("pump", "take-effect"), ("screen", "take-effect")]
    left = in_order if point is FailPoint.ACTIVATING_BEFORE_EFFECT else []
    assert [step[:2] for step in hooks.steps()] == left, "what is in effect is not done again"
    assert in_the_field.kinds().count("update.activating") == 2, "what is done is not done again"


@pytest.mark.parametrize("point", EFFECT)
def test_cut_while_components_come_into_effect_and_the_new_one_is_damaged_goes_back(
    in_the_field: Any, hooks: Hooks, attempt_now: Attempt, point: FailPoint
) -> None:
    release(in_the_field, "1.0.0", 1, pump="p1")
    first = activated(in_the_field, attempt_now)
    release(in_the_field, "1.1.0", 2, pump="p2")
    cut_at(in_the_field, point)
    new = in_the_field.layout.generations / str(first + 1) / "pump/pump.bin"
    new.unlink()
    hooks.forget()
    attempt_now("resume")
    state = in_the_field.journal().state()
    assert (state.lifecycle, state.active) == (State.IDLE, first)
    touched = point is FailPoint.ACTIVATING_AFTER_EFFECT
    assert hooks.steps() == ([("pump", "take-effect", first)] if touched else [])
    assert not touched or hooks.files()[0][1] == {"pump-firmware": "p1"}


def test_cut_before_anything_was_touched_leaves_the_components_in_peace(
    in_the_field: Any, hooks: Hooks, attempt_now: Attempt
) -> None:
    release(in_the_field, "1.0.0", 1, pump="p1")
    first = activated(in_the_field, attempt_now)
    release(in_the_field, "1.1.0", 2, pump="p2")
    cut_at(in_the_field, FailPoint.ACTIVATING_BEFORE_SWITCH)
    hooks.forget()
    assert attempt_now("resume") == 0
    assert hooks.steps() == []
    assert in_the_field.journal().state().active == first


def test_cut_once_the_components_went_back_finishes_the_way_back(
    in_the_field: Any, hooks: Hooks, attempt_now: Attempt
) -> None:
    release(in_the_field, "1.0.0", 1, pump="p1")
    first = activated(in_the_field, attempt_now)
    release(in_the_field, "1.1.0", 2, pump="p2", health_window=1)
    cut_at(in_the_field, FailPoint.ROLLING_BACK_AFTER_EFFECT)
    hooks.forget()
    assert attempt_now("resume") == 0
    state = in_the_field.journal().state()
    assert (state.lifecycle, state.active) == (State.IDLE, first)
    assert {step[1] for step in hooks.steps()} <= {"confirm"}, "it is back already"


def test_data_that_has_a_new_form_is_never_given_to_a_release_that_cannot_read_it(
    in_the_field: Any, hooks: Hooks, attempt_now: Attempt
) -> None:
    """The floor holds from the moment the release came into effect, proven or not."""
    release(in_the_field, "1.0.0", 1, pump="p1")
    activated(in_the_field, attempt_now)
    rollback = {"floorCounter": 1, "dataFloorCounter": 2}
    release(in_the_field, "1.1.0", 2, pump="p2", health_window=1, rollback=rollback)
    with in_the_field.running():
        wait_for(lambda: "safe-mode.entered" in in_the_field.kinds() or None)
    state = in_the_field.journal().state()
    assert (state.active, state.counter_floor) == (None, 2)
    tried = in_the_field.event("safe-mode.entered")["data"]["detail"]["tried"]
    assert tried == {"pvc-classifier 1.0.0": "trust.rollback"}
    assert ("pump", "take-effect", 1) not in hooks.steps()[3:], "what can read the data runs on"


SETTINGS = """
[components.app]
installer = "tree"
unit = "app.service"
[components.pump]
installer = "hook"
command = ["/bin/pump"]
[components.os]
installer = "rauc"
reboot = ["/sbin/reboot"]
[components.agent]
installer = "tree"
agent = true
"""


@pytest.mark.parametrize(
    ("right", "wrong", "where"),
    [
        ('"app.service"', '"app"', "components.app.unit"),
        ('unit = "app.service"', 'command = ["/bin/a"]', "components.app.command"),
        ('["/bin/pump"]', '["pump"]', "components.pump.command"),
        ('command = ["/bin/pump"]', "", "components.pump.command"),
        ('reboot = ["/sbin/reboot"]', "", "components.os.reboot"),
        ('installer = "rauc"', 'installer = "zip"', "components.os.installer"),
        ("agent = true", 'agent = true\nunit = "a.service"', "components.agent.unit"),
        ('unit = "app.service"', "agent = true", "components"),
        ('"/bin/pump"]', '"/bin/pump"]\nstep_seconds = 0', "components.pump.step_seconds"),
        ('"/bin/pump"]', '"/bin/pump"]\nasks_at_most = -1', "components.pump.asks_at_most"),
        ("[components.pump]", '[components."a/b"]', "components"),
        ("[components.pump]", "[components.pump]\nmode = 1", "components.pump"),
    ],
)
def test_a_component_that_is_set_up_wrong_is_named(
    in_the_field: Any, right: str, wrong: str, where: str
) -> None:
    in_the_field.more_settings = SETTINGS
    in_the_field.enroll()
    assert set(read_settings(in_the_field.provisioning).components) == {
        "app",
        "pump",
        "os",
        "agent",
    }
    assert right in SETTINGS
    in_the_field.more_settings = SETTINGS.replace(right, wrong, 1)
    in_the_field.write("agent.toml", in_the_field.settings().encode())
    with pytest.raises(UsageError) as raised:
        read_settings(in_the_field.provisioning)
    assert raised.value.where.startswith(f"agent.toml: {where}")


def test_the_settings_of_the_documentation_are_read(in_the_field: Any) -> None:
    page = (Path(__file__).parents[3] / "docs/components.md").read_text()
    example = next(part for part in page.split("```")[1::2] if part.startswith("toml\n"))
    in_the_field.more_settings = example.removeprefix("toml\n")
    in_the_field.enroll()
    found = read_settings(in_the_field.provisioning).components
    assert {name: item.installer for name, item in found.items()} == {
        "bedside-app": "tree",
        "pump-firmware": "hook",
        "agent": "tree",
        "os": "rauc",
    }


def without_settings_of(field: Any, name: str) -> None:
    """Somebody takes a component out of agent.toml."""
    tables = field.more_settings.split("[components.")
    kept = [part for part in tables if not part.startswith(f"{name}]")]
    text = field.settings().replace(field.more_settings, "[components.".join(kept))
    field.write("agent.toml", text.encode())


def waits(attempt_now: Attempt, reason: str = "poll") -> bool:
    """Whether an attempt ends waiting, as an error or as a code."""
    try:
        return attempt_now(reason) == 5
    except WaitingError:
        return True


def test_a_way_back_over_a_component_that_the_settings_lost_is_held_and_told_and_not_tried(
    in_the_field: Any, hooks: Hooks, attempt_now: Attempt
) -> None:
    """Trying mends nothing: it ends at once, says what to do, and goes on once that is done."""
    for counter, version in enumerate(("1.0.0", "1.1.0"), start=1):
        release(in_the_field, version, counter, pump=f"p{counter}")
        activated(in_the_field, attempt_now)
    assert attempt_now() == 0
    without_settings_of(in_the_field, "pump")
    in_the_field.withdraw("1.1.0")
    hooks.forget()
    for reason in ("poll", "resume", *["poll"] * MOST_TRIES):
        assert waits(attempt_now, reason)
    assert in_the_field.journal().state().lifecycle is State.ROLLING_BACK
    assert in_the_field.standing()["mode"] == "safe", "what was taken away is not used meanwhile"
    assert hooks.steps() == []
    kinds = in_the_field.kinds()
    assert (kinds.count("update.waiting"), kinds.count("attempt.failed")) == (1, 0)
    told = in_the_field.event("update.waiting")["data"]
    assert told["reasons"] == ["state.component"]
    assert "Put [components.pump] back into agent.toml" in told["detail"]["remedy"]
    doctor = in_the_field.agent("doctor", "--provisioning", in_the_field.provisioning).stdout
    assert "Put [components.pump] back" in doctor
    assert json.loads(in_the_field.counter("last-poll"))["text"] == "waiting: state.component"
    assert in_the_field.counter("components-back") == "", "nothing of the bound was used up"
    in_the_field.write("agent.toml", in_the_field.settings().encode())
    assert attempt_now("resume") == 0
    state = in_the_field.journal().state()
    assert (state.lifecycle, state.in_use.version) == (State.IDLE, "1.0.0")
    assert hooks.steps() == [("pump", "take-effect", 1)]
    assert in_the_field.opened().version == "1.0.0"
    doctor = in_the_field.agent("doctor", "--provisioning", in_the_field.provisioning).stdout
    assert "Put [components.pump] back" not in doctor


def test_a_component_that_is_not_in_effect_and_not_in_the_settings_holds_nothing(
    in_the_field: Any, hooks: Hooks, attempt_now: Attempt
) -> None:
    """It was left, and then taken out of agent.toml: what needs it is no way back, and no more."""
    release(in_the_field, "1.0.0", 1, pump="p1")
    activated(in_the_field, attempt_now)
    release(in_the_field, "1.1.0", 2)
    activated(in_the_field, attempt_now)
    without_settings_of(in_the_field, "pump")
    in_the_field.withdraw("1.1.0")
    hooks.forget()
    attempt_now()
    state = in_the_field.journal().state()
    assert (state.lifecycle, state.active) == (State.IDLE, None)
    tried = in_the_field.event("safe-mode.entered")["data"]["detail"]["tried"]
    assert tried == {"pvc-classifier 1.0.0": "pump 1.0.0: no installer in agent.toml"}
    assert hooks.steps() == []


def test_a_component_that_the_settings_lost_on_the_way_forward_is_no_fault_of_the_release(
    in_the_field: Any, hooks: Hooks, attempt_now: Attempt
) -> None:
    release(in_the_field, "1.0.0", 1, pump="p1")
    activated(in_the_field, attempt_now)
    release(in_the_field, "1.1.0", 2, pump="p1", screen="s2", max_attempts=1)
    cut_at(in_the_field, FailPoint.ACTIVATING_AFTER_SWITCH)
    without_settings_of(in_the_field, "screen")
    hooks.forget()
    assert attempt_now("resume") == 0
    state = in_the_field.journal().state()
    assert (state.lifecycle, state.in_use.version) == (State.IDLE, "1.0.0")
    assert (state.setbacks, state.faults) == ({}, {})
    failed = in_the_field.event("update.failed")["data"]
    assert failed["detail"]["remedy"] == "Put the component back into agent.toml."
    assert in_the_field.opened().version == "1.0.0"
