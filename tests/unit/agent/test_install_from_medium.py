"""Updates from a stick: the same checks as over the network, and nothing else."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

Eventually = Callable[..., Any]


@pytest.fixture
def stick(in_the_field: Any, tmp_path: Path) -> Callable[[], Path]:
    """Copies what is published onto a stick, and takes the servers away."""

    def copied() -> Path:
        medium = tmp_path / "stick"
        shutil.rmtree(medium, ignore_errors=True)
        for authority in (in_the_field.engineering, in_the_field.clinical):
            shutil.copytree(authority.web, medium / authority.web.name)
        return medium

    return copied


def take_the_servers_away(field: Any) -> None:
    for authority in (field.engineering, field.clinical):
        authority.web.rename(authority.web.with_name(f"{authority.web.name}-gone"))


def install(field: Any, medium: Path, *words: str) -> Any:
    """Install, and ask again while the supervisor itself is at an attempt."""
    busy = 4
    done = field.agent("install", medium, "--provisioning", field.provisioning, *words)
    while done.returncode == busy:
        done = field.agent("install", medium, "--provisioning", field.provisioning, *words)
    return done


def with_an_application(field: Any, eventually: Eventually) -> threading.Thread:
    """An application that proves the health of whatever becomes active."""

    def prove() -> None:
        eventually(lambda: (found := field.opened()) is not None and found.prove_health())

    thread = threading.Thread(target=prove)
    thread.start()
    return thread


def test_a_device_without_any_server_is_updated_from_a_stick(
    in_the_field: Any, stick: Callable[[], Path], eventually: Eventually
) -> None:
    in_the_field.release("1.0.0", counter=1)
    medium = stick()
    take_the_servers_away(in_the_field)
    application = with_an_application(in_the_field, eventually)
    done = install(in_the_field, medium)
    application.join()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith("committed pvc-classifier 1.0.0")
    assert in_the_field.kinds().count("update.committed") == 1
    assert in_the_field.opened().version == "1.0.0"


def test_a_stick_beside_a_running_supervisor_is_one_attempt_more(
    in_the_field: Any, stick: Callable[[], Path], eventually: Eventually
) -> None:
    in_the_field.release("1.0.0", counter=1)
    medium = stick()
    take_the_servers_away(in_the_field)
    with in_the_field.running():
        eventually(lambda: in_the_field.kinds() and in_the_field.counter("last-poll"))
        application = with_an_application(in_the_field, eventually)
        done = install(in_the_field, medium, "--json")
        application.join()
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"]) == (0, True), done.stdout + done.stderr
    assert [item["kind"] for item in told["events"]][-2:] == [
        "update.activated",
        "update.committed",
    ]
    assert in_the_field.opened().version == "1.0.0"


def test_what_nobody_proves_is_rolled_back_from_a_stick_too(
    in_the_field: Any, stick: Callable[[], Path], eventually: Eventually
) -> None:
    in_the_field.release("1.0.0", counter=1, health_window=1)
    medium = stick()
    with in_the_field.running():
        eventually(lambda: "update.rolling-back" in in_the_field.kinds())
        in_the_field.release("1.1.0", counter=2, health_window=1)
        medium = stick()
        done = install(in_the_field, medium)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "rolled back pvc-classifier 1.1.0" in done.stdout
    assert in_the_field.opened() is None


def test_an_old_stick_takes_nothing_back(
    in_the_field: Any, stick: Callable[[], Path], eventually: Eventually
) -> None:
    in_the_field.release("1.0.0", counter=1)
    medium = stick()
    old = medium.rename(medium.with_name("old"))
    in_the_field.release("1.1.0", counter=2)
    application = with_an_application(in_the_field, eventually)
    assert install(in_the_field, stick()).returncode == 0
    application.join()
    done = install(in_the_field, old)
    assert done.returncode == 1
    assert "trust.rollback" in done.stdout
    assert in_the_field.opened().version == "1.1.0"


def test_a_stick_past_its_date_installs_nothing(
    in_the_field: Any, stick: Callable[[], Path]
) -> None:
    in_the_field.release("1.0.0", counter=1)
    in_the_field.engineering.publish(life=timedelta(seconds=-1))
    done = install(in_the_field, stick())
    assert done.returncode == 1
    assert "trust.expired" in done.stdout
    assert in_the_field.opened() is None


def test_a_link_on_a_stick_reads_nothing_of_the_device(
    in_the_field: Any, stick: Callable[[], Path], tmp_path: Path
) -> None:
    in_the_field.release("1.0.0", counter=1)
    medium = stick()
    model = max((medium / "engineering" / "artifacts").iterdir(), key=lambda it: it.stat().st_size)
    outside = tmp_path / "outside"
    model.rename(outside)
    model.symlink_to(outside)
    done = install(in_the_field, medium)
    assert done.returncode == 3
    assert "transport.insecure" in done.stdout
    assert in_the_field.opened() is None


def test_a_folder_that_is_no_copy_starts_nothing(in_the_field: Any, tmp_path: Path) -> None:
    done = install(in_the_field, tmp_path / "nothing-here")
    assert done.returncode == 2
    assert "holds no copy of the repositories" in done.stderr
    assert in_the_field.kinds() == [], "no journal was begun"


def test_a_stick_reaches_no_repository_for_the_sake_of_health(
    in_the_field: Any, stick: Callable[[], Path], eventually: Eventually
) -> None:
    in_the_field.more_settings = "[health]\nrepositories_reached = true\n"
    in_the_field.write("agent.toml", in_the_field.settings().encode())
    in_the_field.release("1.0.0", counter=1, health_window=6)
    medium = stick()
    take_the_servers_away(in_the_field)
    application = with_an_application(in_the_field, eventually)
    done = install(in_the_field, medium)
    application.join()
    assert done.returncode == 1, done.stdout
    assert "update.committed" not in in_the_field.kinds()
    assert "repositories.reached" not in in_the_field.kinds()
