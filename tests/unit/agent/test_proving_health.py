"""Health is proven by more than a word: a probe, and repositories that can still be reached."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from primum_agent.device_state import Generation
from primum_agent.health_probe import HealthProbe

Eventually = Callable[..., Any]


def generation(number: int) -> Generation:
    return Generation(
        number=number,
        component="pvc-classifier",
        version=f"1.{number}.0",
        release="a" * 64,
        counter=number,
        floor_counter=1,
        statement="b" * 64,
        statement_number=1,
        health_window=30,
        max_attempts=3,
    )


def program(folder: Path, text: str) -> str:
    path = folder / "probe"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def with_health(field: Any, *lines: str, window: int = 30) -> None:
    field.more_settings = "\n".join(["[health]", *lines]) + "\n"
    field.write("agent.toml", field.settings().encode())
    field.release("1.0.0", counter=1, health_window=window)


def hide(field: Any) -> Path:
    gone: Path = field.folder / "gone"
    field.clinical.web.rename(gone)
    return gone


def test_a_probe_proves_the_release_that_it_was_asked_about(
    in_the_field: Any, eventually: Eventually, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    probe = program(tmp_path, f'echo "$PRIMUM_GENERATION $PRIMUM_VERSION" > {told}')
    with_health(in_the_field, f'probe = ["{probe}"]', "probe_seconds = 0.2")
    with in_the_field.running():
        eventually(lambda: "update.committed" in in_the_field.kinds())
    assert told.read_text() == "1 1.0.0\n"


def test_a_probe_that_never_says_yes_proves_nothing(
    in_the_field: Any, eventually: Eventually, tmp_path: Path
) -> None:
    with_health(
        in_the_field,
        f'probe = ["{program(tmp_path, "exit 3")}"]',
        "probe_seconds = 0.1",
        window=2,
    )
    with in_the_field.running():
        eventually(lambda: "safe-mode.entered" in in_the_field.kinds())
    assert "update.committed" not in in_the_field.kinds()


def test_a_probe_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    left = tmp_path / "left"
    command = program(tmp_path, f"sleep 1000 & echo $! > {left}; wait")
    probe = HealthProbe(command=(command,), seconds=1.0)
    assert probe.watch(generation(1), 0.0) == (False, 30.0)
    while not (left.is_file() and left.read_text()):
        time.sleep(0.01)
    works, again = probe.watch(generation(1), 30.0)
    assert (works, again) == (False, 31.0), "it was ended; asked again later"
    probe.stop()
    for _ in range(100):
        if not Path(f"/proc/{left.read_text().strip()}/cmdline").exists():
            break
        time.sleep(0.02)
    else:
        state = Path(f"/proc/{left.read_text().strip()}/stat").read_text().split()[2]
        assert state == "Z"


def test_what_a_probe_says_of_one_generation_is_not_said_of_the_next(tmp_path: Path) -> None:
    probe = HealthProbe(command=(program(tmp_path, "exit 0"),), seconds=1.0)
    probe.watch(generation(1), 0.0)
    time.sleep(0.2)
    assert not probe.watch(generation(2), 0.1)[0]
    probe.stop()


def test_a_probe_that_is_not_there_proves_nothing(tmp_path: Path) -> None:
    probe = HealthProbe(command=(str(tmp_path / "nothing"),), seconds=1.0)
    assert not probe.watch(generation(1), 0.0)[0]
    assert not probe.watch(generation(1), 1.0)[0]
    assert probe.watch(None, 2.0)[0] is False


def test_a_probe_whose_name_is_no_name_proves_nothing() -> None:
    probe = HealthProbe(command=("/x\0y",), seconds=1.0)
    assert not probe.watch(generation(1), 0.0)[0]


def test_a_version_that_reaches_no_repository_is_not_committed_and_not_banned(
    in_the_field: Any, eventually: Eventually
) -> None:
    with_health(in_the_field, "repositories_reached = true", window=4)
    with in_the_field.running():
        release = eventually(in_the_field.opened)
        gone = hide(in_the_field)
        assert eventually(release.prove_health), "the word was taken"
        eventually(lambda: "safe-mode.entered" in in_the_field.kinds())
        gone.rename(in_the_field.clinical.web)
    assert "update.committed" not in in_the_field.kinds()
    event = in_the_field.event("update.rolling-back")
    assert "the repositories were not reached with it" in event["data"]["detail"]["why"]
    journal = in_the_field.journal()
    state = journal.state()
    journal.close()
    assert (dict(state.faults), dict(state.setbacks)) == ({}, {}), "nobody's fault"
    assert len(state.unproven) == 1


def test_a_word_and_then_the_repositories_are_enough(
    in_the_field: Any, eventually: Eventually
) -> None:
    with_health(in_the_field, "repositories_reached = true")
    with in_the_field.running():
        release = eventually(in_the_field.opened)
        assert eventually(release.prove_health)
        eventually(lambda: "update.committed" in in_the_field.kinds())
    assert in_the_field.opened().version == "1.0.0"


def test_a_single_run_reaches_the_repositories_for_the_sake_of_health(
    in_the_field: Any, tmp_path: Path
) -> None:
    with_health(
        in_the_field,
        "repositories_reached = true",
        f'probe = ["{program(tmp_path, "exit 0")}"]',
        "probe_seconds = 0.2",
    )
    done = in_the_field.once()
    assert done.returncode == 0, done.stdout
    assert in_the_field.kinds().count("update.committed") == 1


@pytest.mark.parametrize(
    "line", ['probe = ["relative"]', "probe_seconds = 0", "repositories_reached = 1", "x = 1"]
)
def test_settings_of_health_that_cannot_be_meant_are_refused(in_the_field: Any, line: str) -> None:
    in_the_field.more_settings = f"[health]\n{line}\n"
    in_the_field.write("agent.toml", in_the_field.settings().encode())
    done = in_the_field.once(PATH=os.environ["PATH"])
    assert done.returncode == 2
    assert "health." in done.stderr
