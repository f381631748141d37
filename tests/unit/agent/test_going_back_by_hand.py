"""A person goes back: only to what may run now, never under a patient, and it stays so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from primum_agent.attempt import run_attempt
from primum_agent.by_hand import Order, go_back
from primum_agent.clock import SystemClock
from primum_agent.device import Device
from primum_agent.events import Entry, EventKind
from primum_agent.held_release import Tried
from primum_agent.journal import Journal
from primum_agent.judging import Judge
from primum_agent.lifecycle import Stimulus
from primum_agent.remembered import forgive_by_plan
from primum_agent.settings import read_settings
from primum_verifier.core.document import sha256_hex
from primum_verifier.core.errors import BusyError

Eventually = Callable[..., Any]
WHO = ("--by", "R. Meyer", "--why", "too many alarms")


def rollback(field: Any, *words: str) -> Any:
    """Order it, and again while the supervisor itself is at an attempt."""
    busy = 4
    done = field.agent("rollback", *words, "--provisioning", field.provisioning)
    while done.returncode == busy:
        done = field.agent("rollback", *words, "--provisioning", field.provisioning)
    return done


def signed_on_the_way_back(field: Any, version: str) -> bytes:
    """The statement on the self-test that a release passed to be used again; empty for none."""
    path = field.layout.self_tests / f"{field.releases[version]}.way-back.dsse.json"
    return bytes(path.read_bytes()) if path.exists() else b""


def test_a_person_goes_back_without_any_server_and_it_stays_so(
    with_two: Any, eventually: Eventually
) -> None:
    with_two.engineering.web.rename(with_two.folder / "gone")
    with with_two.running():
        eventually(lambda: with_two.kinds().count("agent.started") == 1 and with_two.standing())
        eventually(lambda: with_two.agent("poll").returncode == 0)
        done = rollback(with_two, *WHO)
        assert done.returncode == 0, done.stderr
        assert with_two.opened().version == "1.0.0"
        (with_two.folder / "gone").rename(with_two.engineering.web)
        # The plan still gives 1.1.0, in a newer version too.
        with_two.assign("1.1.0")
        with_two.publish()
        assert with_two.agent("poll").returncode == 0
        eventually(lambda: "state.set-aside" in with_two.counter("last-poll"))
    assert with_two.opened().version == "1.0.0"
    event = with_two.event("update.rolling-back")
    assert event["data"]["detail"] == {
        "by": "R. Meyer",
        "why": "too many alarms",
        "to": "pvc-classifier 1.0.0",
        "statement": {"sha256": sha256_hex(signed_on_the_way_back(with_two, "1.0.0"))},
    }
    told = with_two.agent("status").stdout
    assert "set aside on this device by a person" in told


def test_what_was_set_aside_comes_back_by_a_person_only(
    with_two: Any, attempt_now: Callable[..., int], eventually: Eventually
) -> None:
    with with_two.running():
        eventually(lambda: with_two.agent("poll").returncode == 0)
        done = rollback(with_two, *WHO)
        assert done.returncode == 0, done.stderr
    assert attempt_now() == 1
    assert with_two.opened().version == "1.0.0"
    assert with_two.agent("retry", "1.1.0").returncode == 0
    assert attempt_now() == 0
    assert with_two.opened().version == "1.1.0"


def test_what_was_set_aside_is_gone_back_to_by_its_name_only(
    with_two: Any, eventually: Eventually
) -> None:
    with with_two.running():
        eventually(lambda: with_two.agent("poll").returncode == 0)
        assert rollback(with_two, *WHO).returncode == 0
        assert with_two.opened().version == "1.0.0"
        done = rollback(with_two, *WHO)
        assert done.returncode == 2, "1.1.0 was left by its name"
        assert "1.1.0" in done.stderr
        assert rollback(with_two, "1.1.0", *WHO).returncode == 0
    assert with_two.opened().version == "1.1.0"
    journal = with_two.journal()
    state = journal.state()
    journal.close()
    assert list(state.faults) == [with_two.releases["1.0.0"]], "only what is left now"


def test_nobody_goes_back_to_what_never_proved_health(
    with_two: Any, attempt_now: Callable[..., int]
) -> None:
    with_two.release("1.2.0", counter=3)
    assert attempt_now() == 0
    with with_two.journal_to_write() as journal:
        journal.record(
            Entry(kind=EventKind.UPDATE_ROLLING_BACK, stimulus=Stimulus.UNHEALTHY, change={})
        )
    assert attempt_now("resume") == 0
    assert with_two.opened().version == "1.1.0"
    done = rollback(with_two, "1.2.0", *WHO)
    assert done.returncode == 2
    assert "1.2.0" not in done.stderr.partition("expected:")[2]


def test_nobody_goes_back_under_a_patient(with_two: Any, eventually: Eventually) -> None:
    before = with_two.kinds()
    # Without a supervisor nobody can say that no patient is being served.
    done = rollback(with_two, *WHO)
    assert done.returncode == 5
    assert "safety.in-use" in done.stderr
    with with_two.running():
        eventually(lambda: with_two.agent("poll").returncode == 0)
        with with_two.opened().episode():
            done = rollback(with_two, *WHO)
            assert done.returncode == 5
    assert with_two.opened().version == "1.1.0"
    assert "update.rolling-back" not in with_two.kinds()[len(before) :]


def test_nobody_goes_back_under_a_patient_that_only_the_integrator_knows_of(
    with_two: Any, eventually: Eventually, tmp_path: Path
) -> None:
    said = tmp_path / "use"
    said.write_text("in-use\n")
    with_two.more_settings = f'[gates.clinical_use]\nfile = "{said}"\n'
    with_two.write("agent.toml", with_two.settings().encode())
    with with_two.running():
        eventually(lambda: with_two.agent("poll").returncode == 0)
        done = rollback(with_two, *WHO)
        assert done.returncode == 5, done.stderr
        said.write_text("idle\n")
        done = rollback(with_two, *WHO)
        assert done.returncode == 0, done.stderr
    assert with_two.opened().version == "1.0.0"


def test_an_order_that_is_refused_is_no_failed_poll(with_two: Any) -> None:
    before = with_two.kinds(), with_two.counter("last-poll")
    assert rollback(with_two, "0.9.0", *WHO).returncode == 2
    assert rollback(with_two, *WHO).returncode == 5
    assert (with_two.kinds(), with_two.counter("last-poll")) == before


def test_an_order_that_comes_too_late_says_so(
    with_two: Any, attempt_now: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs is taken away while the older release is tested."""
    assert attempt_now() == 0
    monkeypatch.setattr("primum_agent.by_hand.is_idle", lambda *_: True)

    def work(device: Device, judge: Judge | None) -> int:
        def taken_away(*_: object) -> Tried:
            device.journal.record(
                Entry(kind=EventKind.ELIGIBILITY_LOST, stimulus=Stimulus.TAKEN_AWAY)
            )
            return Tried(None)

        monkeypatch.setattr("primum_agent.by_hand.try_held", taken_away)
        go_back(device, judge, Order(version="1.0.0", by="R. Meyer", why="alarms"))
        return 0

    settings = read_settings(with_two.provisioning)
    with pytest.raises(BusyError):
        run_attempt(
            settings=settings,
            layout=with_two.layout,
            clock=SystemClock(),
            reason="order",
            work=work,
        )


def test_nobody_goes_back_to_what_was_withdrawn(
    with_two: Any, attempt_now: Callable[..., int]
) -> None:
    with_two.withdraw("1.0.0")
    assert attempt_now() == 0
    done = rollback(with_two, *WHO)
    assert done.returncode == 1
    assert "eligibility.withdrawn" in done.stderr
    assert with_two.opened().version == "1.1.0"


def test_what_is_not_held_is_named_with_what_is(with_two: Any) -> None:
    done = rollback(with_two, "0.9.0", *WHO)
    assert done.returncode == 2
    assert "1.0.0" in done.stderr
    assert rollback(with_two, "--by", "", "--why", "x").returncode == 2
    assert rollback(with_two, "--by", "x", "--why", "a\x1b[31mb").returncode == 2


def test_a_dry_run_judges_and_changes_nothing(with_two: Any) -> None:
    kinds = with_two.kinds()
    done = rollback(with_two, "1.0.0", "--dry-run", "--json", *WHO)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"ok": True, "dryRun": True, "name": "pvc-classifier 1.0.0"}
    assert with_two.kinds() == kinds
    assert with_two.opened().version == "1.1.0"
    assert signed_on_the_way_back(with_two, "1.0.0") == b"", "nothing was signed either"


def test_a_cut_in_the_middle_ends_where_the_person_meant(
    with_two: Any, attempt_now: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_two.release("1.2.0", counter=3)
    assert attempt_now() == 0
    with_two.commit()
    monkeypatch.setattr("primum_agent.by_hand.is_idle", lambda *_: True)

    def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def work(device: Device, judge: Judge | None) -> int:
        go_back(device, judge, Order(version="1.0.0", by="R. Meyer", why="alarms"))
        return 0

    monkeypatch.setattr("primum_agent.by_hand.roll_back", cut)
    settings = read_settings(with_two.provisioning)
    with pytest.raises(KeyboardInterrupt):
        run_attempt(
            settings=settings,
            layout=with_two.layout,
            clock=SystemClock(),
            reason="order",
            work=work,
        )
    assert attempt_now("resume") == 0
    assert with_two.opened().version == "1.0.0", "1.1.0 is newer, and was not meant"


def test_a_cut_order_whose_release_may_not_run_any_more_ends_where_it_began(
    with_two: Any, attempt_now: Callable[..., int]
) -> None:
    """Better the release that a person left than none at all."""
    left, meant = with_two.releases["1.1.0"], with_two.releases["1.0.0"]
    with with_two.journal_to_write() as journal:
        journal.record(
            Entry(
                kind=EventKind.UPDATE_ROLLING_BACK,
                stimulus=Stimulus.TAKEN_AWAY,
                reasons=("state.set-aside",),
                change={"target": 1, "fault": {left: "state.set-aside"}},
            )
        )
    folder = with_two.layout.generations / "1"
    (folder / "manifest.json").chmod(0o600)
    (folder / "manifest.json").write_bytes(b"{}")
    assert attempt_now("resume") == 0
    assert with_two.opened().version == "1.1.0"
    journal = with_two.journal()
    state = journal.state()
    journal.close()
    assert left not in state.faults
    assert meant not in state.faults


def test_a_later_plan_lets_it_be_tried_again_and_the_same_plan_does_not(
    in_the_field: Any, attempt_now: Callable[..., int]
) -> None:
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == 0
    with in_the_field.journal_to_write() as journal:
        release = in_the_field.releases["1.0.0"]
        journal.record(
            Entry(
                kind=EventKind.UPDATE_ROLLING_BACK,
                stimulus=Stimulus.UNHEALTHY,
                change={"fault": {release: "state.health"}},
            )
        )
    attempt_now("resume")
    assert in_the_field.opened() is None
    in_the_field.publish()
    assert attempt_now() == 1, "the same plan, signed anew"
    assert in_the_field.opened() is None
    in_the_field.assign("1.0.0")
    in_the_field.publish()
    assert attempt_now() == 0
    assert in_the_field.opened().version == "1.0.0"
    assert in_the_field.event("update.forgiven")["data"]["detail"]["by"].startswith("rollout plan")


def test_the_first_plan_after_a_lost_journal_forgives_nothing(journal: Journal) -> None:
    """What was salvaged of the faults would be gone at the first poll."""
    fault = {"a" * 64: "state.health"}
    journal.record(Entry(kind=EventKind.AGENT_STARTED, change={"fault": fault}))
    forgive_by_plan(journal, release="a" * 64, name="pvc-classifier 1.0.0", number=7)
    assert dict(journal.state().faults) == fault
    forgive_by_plan(journal, release="a" * 64, name="pvc-classifier 1.0.0", number=8)
    assert dict(journal.state().faults) == {}


def test_no_plan_brings_back_a_release_whose_self_test_failed(
    in_the_field: Any, attempt_now: Callable[..., int]
) -> None:
    in_the_field.release("1.0.0", counter=1)
    assert attempt_now() == 0
    in_the_field.commit()
    with in_the_field.journal_to_write() as journal:
        journal.record(
            Entry(
                kind=EventKind.ELIGIBILITY_LOST,
                stimulus=Stimulus.TAKEN_AWAY,
                change={"fault": {in_the_field.releases["1.0.0"]: "selftest.failed"}},
            )
        )
    attempt_now("resume")
    in_the_field.assign("1.0.0")
    in_the_field.publish()
    assert attempt_now() == 1
    assert in_the_field.opened() is None
    assert "update.forgiven" not in in_the_field.kinds()
