"""Whole updates on real device processes, through real repositories; what is left afterwards."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from primum_agent.application import ActiveRelease, SafeMode, StandingError, open_active
from primum_agent.desk import ask
from primum_verifier.record.chain import check_history

Eventually = Callable[..., Any]


def install(field: Any, version: str, eventually: Eventually) -> ActiveRelease:
    """Wait for a release, and prove its health as an application does."""

    def right() -> ActiveRelease | None:
        found = field.opened()
        return found if found is not None and found.version == version else None

    release: ActiveRelease = eventually(right)
    assert eventually(release.prove_health)
    return release


def with_committed(field: Any, version: str, counter: int, eventually: Eventually) -> None:
    """Install and commit one release, from start to stop."""
    field.release(version, counter=counter)
    with field.running():
        install(field, version, eventually)


def test_a_release_is_found_proven_activated_and_committed(
    in_the_field: Any, eventually: Eventually
) -> None:
    with_committed(in_the_field, "1.0.0", 1, eventually)
    assert in_the_field.kinds() == [
        "journal.begun",
        "agent.started",
        "update.found",
        "update.downloading",
        "update.downloaded",
        "selftest.started",
        "selftest.passed",
        "update.activating",
        "update.activated",
        "update.committed",
        "agent.stopped",
    ]
    release = in_the_field.opened()
    assert release is not None
    assert release.stamp()["version"] == "1.0.0"
    assert release.may_use()
    assert not release.changed()


def test_an_unapproved_release_is_staged_and_never_activated(
    in_the_field: Any, eventually: Eventually
) -> None:
    with_committed(in_the_field, "1.0.0", 1, eventually)
    in_the_field.release("1.1.0", counter=2, approved_by=())
    for _ in range(2):
        assert in_the_field.once().returncode == 1
    staged = in_the_field.event("update.staged")
    assert "eligibility.absent" in staged["data"]["reasons"]
    assert staged["data"]["detail"]["standing"] == "installed, not eligible here, inactive"
    assert in_the_field.kinds().count("update.staged") == 1, "one problem, one event"
    assert in_the_field.opened().version == "1.0.0"
    # Once it is approved the very same release goes live; nothing is fetched twice.
    shutil.rmtree(in_the_field.engineering.web / "artifacts")
    in_the_field.approve("1.1.0", ("clinical", "quality", "regulatory"))
    in_the_field.publish()
    with in_the_field.running():
        install(in_the_field, "1.1.0", eventually)
    assert in_the_field.event("update.downloaded")["data"]["detail"]["fetched"] == 0


def test_one_missing_approval_is_named(in_the_field: Any) -> None:
    in_the_field.release("1.0.0", counter=1, approved_by=("clinical", "quality"))
    assert in_the_field.once().returncode == 1
    told = json.dumps(in_the_field.event("update.staged"))
    assert "eligibility.approvals" in told
    assert "regulatory" in told
    explained = in_the_field.agent("explain", "1.0.0")
    assert explained.returncode == 0
    assert "NO  approvals" in explained.stdout
    assert isinstance(open_active(in_the_field.state), SafeMode)


def test_a_release_that_computes_wrong_is_refused_and_remembered(
    in_the_field: Any, eventually: Eventually
) -> None:
    with_committed(in_the_field, "1.0.0", 1, eventually)
    in_the_field.release("1.3.0", counter=3, scale=-1.0)
    for _ in range(2):
        assert in_the_field.once().returncode == 1
    failed = in_the_field.event("selftest.failed")["data"]
    assert failed["reasons"] == ["selftest.failed"]
    numbers = {item["test"]: item for item in failed["detail"]["failing"]}["numbers"]
    assert numbers["cases"][0]["case"].startswith("case-")
    assert numbers["cases"][0]["by"]
    assert in_the_field.kinds().count("selftest.failed") == 1, "not tried at every poll"
    journal = in_the_field.journal()
    assert list(journal.state().faults.values()) == ["selftest.failed"]
    journal.close()
    assert in_the_field.opened().version == "1.0.0"


def test_a_tampered_artifact_is_refused_and_its_repair_is_taken(
    in_the_field: Any, eventually: Eventually
) -> None:
    in_the_field.release("1.0.0", counter=1)
    artifacts = in_the_field.engineering.web / "artifacts"
    whole = {path: path.read_bytes() for path in artifacts.iterdir()}
    for path, data in whole.items():
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    for _ in range(2):
        assert in_the_field.once().returncode == 1
    refused = in_the_field.event("update.refused")["data"]
    assert refused["reasons"] == ["artifact.digest"]
    assert in_the_field.kinds().count("update.refused") == 1
    assert list((in_the_field.layout.store / "sha256").iterdir()) == []
    for path, data in whole.items():
        path.write_bytes(data)
    with in_the_field.running():
        install(in_the_field, "1.0.0", eventually)


def test_a_plan_that_names_an_older_release_is_no_order_to_go_back(
    in_the_field: Any, eventually: Eventually
) -> None:
    with_committed(in_the_field, "1.0.0", 1, eventually)
    with_committed(in_the_field, "1.1.0", 2, eventually)
    in_the_field.assign("1.0.0")
    in_the_field.publish()
    assert in_the_field.once().returncode == 1
    assert in_the_field.event("update.refused")["data"]["reasons"] == ["trust.rollback"]
    assert in_the_field.opened().version == "1.1.0"


def test_health_of_another_generation_proves_nothing(
    in_the_field: Any, eventually: Eventually
) -> None:
    in_the_field.release("1.0.0", counter=1)
    with in_the_field.running():
        eventually(lambda: "update.activated" in in_the_field.kinds())
        for generation in (99, 0, None, "1"):
            answer = ask(in_the_field.layout.socket, {"do": "healthy", "generation": generation})
            assert answer is not None
            assert answer["ok"] is False
        assert "update.committed" not in in_the_field.kinds()


def test_a_replayed_older_repository_is_refused(in_the_field: Any, eventually: Eventually) -> None:
    old = in_the_field.folder / "old"
    shutil.copytree(in_the_field.engineering.web / "metadata", old)
    with_committed(in_the_field, "1.0.0", 1, eventually)
    shutil.rmtree(in_the_field.engineering.web / "metadata")
    shutil.copytree(old, in_the_field.engineering.web / "metadata")
    for _ in range(2):
        assert in_the_field.once().returncode == 1
    assert in_the_field.event("trust.refused")["data"]["reasons"] == ["trust.rollback"]
    assert in_the_field.kinds().count("trust.refused") == 1
    assert in_the_field.opened().version == "1.0.0"


def test_a_frozen_timestamp_is_refused_and_what_runs_goes_on(
    in_the_field: Any, eventually: Eventually
) -> None:
    with_committed(in_the_field, "1.0.0", 1, eventually)
    in_the_field.clinical.publish(life=timedelta(seconds=-5))
    assert in_the_field.once().returncode == 1
    assert in_the_field.event("trust.refused")["data"]["reasons"] == ["trust.expired"]
    in_the_field.clinical.publish()
    assert in_the_field.once().returncode == 0
    assert "repositories.reached" in in_the_field.kinds()
    assert in_the_field.opened() is not None


def test_an_unreachable_repository_is_told_once_and_changes_nothing(
    in_the_field: Any, eventually: Eventually
) -> None:
    with_committed(in_the_field, "1.0.0", 1, eventually)
    away = in_the_field.folder / "away"
    in_the_field.engineering.web.rename(away)
    for _ in range(2):
        assert in_the_field.once().returncode in {1, 3}
    assert (
        in_the_field.kinds().count("transport.failed") + in_the_field.kinds().count("trust.refused")
        == 1
    )
    away.rename(in_the_field.engineering.web)
    assert in_the_field.once().returncode == 0
    assert in_the_field.opened() is not None


def test_a_withdrawn_release_falls_back_and_then_to_safe_mode(
    in_the_field: Any, eventually: Eventually
) -> None:
    with_committed(in_the_field, "1.0.0", 1, eventually)
    with_committed(in_the_field, "1.1.0", 2, eventually)
    in_the_field.withdraw("1.1.0")
    in_the_field.once()
    release = in_the_field.opened()
    assert release is not None
    assert release.version == "1.0.0"
    assert release.reasons == ("eligibility.withdrawn", "fallback.used")
    assert release.notice == "1.1.0 was withdrawn."
    assert "eligibility.lost" in in_the_field.kinds()
    assert "fallback.used" in in_the_field.event("update.rolled-back")["data"]["reasons"]
    in_the_field.withdraw("1.0.0")
    in_the_field.once()
    safe = open_active(in_the_field.state)
    assert isinstance(safe, SafeMode)
    assert safe.reasons == ("eligibility.withdrawn", "fallback.none")
    assert not in_the_field.layout.active.is_symlink()
    # It stays so: nothing is said twice, nothing comes back.
    count = len(in_the_field.kinds())
    in_the_field.once()
    assert in_the_field.kinds()[count:] == ["agent.started", "agent.stopped"]
    assert isinstance(open_active(in_the_field.state), SafeMode)


def test_a_release_that_never_proves_health_is_rolled_back(
    in_the_field: Any, eventually: Eventually
) -> None:
    with_committed(in_the_field, "1.0.0", 1, eventually)
    in_the_field.release("1.1.0", counter=2, health_window=1, max_attempts=1)
    with in_the_field.running():
        new = eventually(
            lambda: (found := in_the_field.opened()) and found.version == "1.1.0" and found
        )
        new.tell_activated()
        eventually(lambda: "update.rolled-back" in in_the_field.kinds())
    assert in_the_field.opened().version == "1.0.0"
    rolled = in_the_field.event("update.rolling-back")["data"]
    assert rolled["reasons"] == ["state.health"]
    assert in_the_field.standing()["reasons"] == ["state.health", "fallback.used"]
    # The bound is reached: it is not tried again at every poll.
    assert in_the_field.once().returncode == 1
    assert in_the_field.kinds().count("update.activated") == 2


def test_an_application_that_calls_it_unhealthy_is_believed(
    in_the_field: Any, eventually: Eventually
) -> None:
    with_committed(in_the_field, "1.0.0", 1, eventually)
    in_the_field.release("1.1.0", counter=2)
    with in_the_field.running():
        new = eventually(
            lambda: (found := in_the_field.opened()) and found.version == "1.1.0" and found
        )
        assert eventually(lambda: new.tell_unhealthy("wrong output shape"))
        eventually(lambda: "update.rolled-back" in in_the_field.kinds())
    assert in_the_field.opened().version == "1.0.0"
    assert in_the_field.event("update.rolling-back")["data"]["detail"]["why"] == (
        "wrong output shape"
    )


def test_clinical_use_holds_the_switch_until_it_ends(
    in_the_field: Any, eventually: Eventually
) -> None:
    with_committed(in_the_field, "1.0.0", 1, eventually)
    with in_the_field.running():
        running = eventually(in_the_field.opened)
        eventually(running.tell_activated)
        with running.episode():
            in_the_field.release("1.1.0", counter=2)
            assert in_the_field.agent("poll").returncode == 0
            eventually(lambda: "update.waiting" in in_the_field.kinds())
            waiting = in_the_field.event("update.waiting")["data"]
            assert waiting["reasons"] == ["safety.in-use"]
            assert in_the_field.opened().version == "1.0.0"
            checked = in_the_field.agent("check", "--provisioning", in_the_field.provisioning)
            assert checked.returncode == 5, checked.stdout + checked.stderr
        install(in_the_field, "1.1.0", eventually)


def test_damaged_files_of_the_active_release_are_found_and_acted_on(
    in_the_field: Any, eventually: Eventually
) -> None:
    with_committed(in_the_field, "1.0.0", 1, eventually)
    with_committed(in_the_field, "1.1.0", 2, eventually)
    generation = Path(in_the_field.standing()["folder"])
    model = generation / "model-1.1.0.onnx"
    # The two releases share the model's bytes and so its file: damage only this one's.
    data = model.read_bytes()
    model.unlink()
    model.write_bytes(data[:-1] + b"?")
    with pytest.raises(StandingError):
        open_active(in_the_field.state)
    with in_the_field.running():
        eventually(lambda: "update.rolled-back" in in_the_field.kinds())
        # The plan still gives 1.1.0, and it is whole on the server: it is installed anew.
        install(in_the_field, "1.1.0", eventually)
    assert in_the_field.event("eligibility.lost")["data"]["reasons"] == ["artifact.digest"]


def test_the_exported_history_is_proven_by_the_device_key_alone(
    in_the_field: Any, eventually: Eventually
) -> None:
    with_committed(in_the_field, "1.0.0", 1, eventually)
    output = in_the_field.folder / "history.jsonl"
    assert in_the_field.agent("history", "--export", output).returncode == 0
    report = check_history(output.read_bytes().splitlines(), device_key=in_the_field.device_key)
    assert report.whole
    assert report.events == len(in_the_field.events())
