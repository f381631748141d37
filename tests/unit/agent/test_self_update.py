"""The agent replaces itself: whatever the new one does, the device keeps an agent that runs."""

from __future__ import annotations

import functools
import json
import os
import py_compile
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from tests.unit.agent.sets import Set
from tests.unit.agent.waiting import wait_for

from primum_agent.lifecycle import State

CHECKOUT = Path(__file__).parents[3]
SITE = Path(sysconfig.get_path("purelib"))
SOURCES = {
    "primum_agent": CHECKOUT / "agent/src/primum_agent",
    "primum_verifier": CHECKOUT / "verifier/src/primum_verifier",
}

Change = Callable[[dict[str, bytes]], None]


@functools.cache
def modules() -> dict[str, bytes]:
    """The agent's own modules, read once: two releases of one agent hold the same bytes."""
    return {
        f"{name}/{path.relative_to(folder)}": path.read_bytes()
        for name, folder in SOURCES.items()
        for path in folder.rglob("*.py")
    }


@functools.cache
def compiled(name: str, source: bytes) -> bytes:
    """A module as the package's trees bring it beside its source, never checked against it."""
    with tempfile.TemporaryDirectory() as folder:
        path, made = Path(folder, "module.py"), Path(folder, "module.pyc")
        path.write_bytes(source)
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(path), str(made), dfile=name, doraise=True, invalidation_mode=mode)
        return made.read_bytes()


def with_compiled(files: dict[str, bytes]) -> dict[str, bytes]:
    """The files, and each module compiled."""
    beside = {
        f"{path.parent}/__pycache__/{path.stem}.{sys.implementation.cache_tag}.pyc": compiled(
            name, data
        )
        for name, data in files.items()
        if (path := PurePosixPath(name)).suffix == ".py"
    }
    return {**files, **beside}


def agent_tree(version: str, change: Change = lambda _: None) -> dict[str, bytes]:
    """What lies in the site-packages of an agent: its own modules; its third parties by path."""
    files = dict(modules())
    files["third_parties.pth"] = f"{SITE}\n".encode()
    journal = files["primum_agent/journal.py"].decode()
    assert 'AGENT_VERSION = "0.1.0"' in journal
    versioned = journal.replace('AGENT_VERSION = "0.1.0"', f'AGENT_VERSION = "{version}"')
    files["primum_agent/journal.py"] = versioned.encode()
    change(files)
    return with_compiled(files)


def in_its_run(fault: str) -> Change:
    """A fault where it begins to run; where it is only loaded it is found before the switch."""

    def change(files: dict[str, bytes]) -> None:
        begins = b"        return supervise(options, once"
        assert begins in files["primum_agent/commands/run.py"]
        run = files["primum_agent/commands/run.py"]
        broken = begins.replace(b"return", f"{fault}\n        return".encode(), 1)
        files["primum_agent/commands/run.py"] = run.replace(begins, broken)

    return change


def appended(module: str, text: str) -> Change:
    def change(files: dict[str, bytes]) -> None:
        files[module] += f"\n{text}\n".encode()

    return change


class Loaded:
    """A device whose agent the loader starts, again and again, as a service manager does."""

    def __init__(self, field: Any) -> None:
        self.field = field
        self.home: Path = field.folder / "home"
        packages = self.home / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
        (packages / "site-packages").mkdir(parents=True)
        (self.home / "bin").mkdir()
        python = Path(os.path.realpath(sys.executable))
        (self.home / "bin" / "python3").symlink_to(python)
        (self.home / "pyvenv.cfg").write_text(f"home = {python.parent}\n")
        for name, data in with_compiled(modules()).items():
            path = packages / "site-packages" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        (packages / "site-packages" / "third_parties.pth").write_text(f"{SITE}\n")
        shutil.copy(CHECKOUT / "packaging/loader/primum-agent", self.home / "loader")
        field.more_settings += '[components.agent]\ninstaller = "tree"\nagent = true\n'
        field.enroll(poll_seconds=1)

    def command(self, *words: str) -> list[str]:
        python = str(self.home / "bin" / "python3")
        return [python, "-IS", str(self.home / "loader"), *words]

    def release(self, version: str, counter: int, **given: Any) -> None:
        change = given.pop("change", lambda _: None)
        agent = given.pop("agent", version)
        files = agent_tree(agent, change)
        Set(self.field).tree("agent", agent, files).release(version, counter=counter, **given)

    def start(self) -> subprocess.Popen[bytes]:
        with (self.field.folder / "agent.log").open("ab") as log:
            return subprocess.Popen(self.command("run", *self.field.folders), stderr=log)

    @contextmanager
    def served(self) -> Iterator[Callable[[Callable[[], Any]], Any]]:
        """The agent is started each time that it ended, until what is waited for is true."""
        running = [self.start()]

        def until(right: Callable[[], Any]) -> Any:
            def look() -> Any:
                if running[0].poll() is not None:
                    running[0] = self.start()
                return right()

            return wait_for(look, seconds=90)

        try:
            yield until
        finally:
            running[0].send_signal(signal.SIGTERM)
            running[0].wait(timeout=10)

    def note(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.field.state / "agent.json").read_bytes())
        return content

    def started(self) -> list[str]:
        """The versions of the agents that came to stand, in order."""
        events = self.field.events()
        return [
            item["data"]["agentVersion"]
            for item in events
            if item["type"] == "primum.device.agent.started"
        ]

    def committed(self, version: str) -> Callable[[], bool]:
        """Prove health as an application does; whether the version is committed by now."""

        def look() -> bool:
            found = self.field.opened()
            if found is None or found.version != version:
                return False
            found.prove_health()
            state = self.field.journal().state()
            return bool(
                state.lifecycle is State.IDLE
                and state.in_use is not None
                and state.in_use.version == version
                and state.in_use.proven
            )

        return look

    def rolled_back(self) -> bool:
        state = self.field.journal().state()
        return bool(state.lifecycle is State.IDLE and state.faults)


@pytest.fixture
def loaded(in_the_field: Any) -> Loaded:
    return Loaded(in_the_field)


def with_first(loaded: Loaded) -> None:
    """The first set: the agent that was installed gives way to the one of the release."""
    loaded.release("1.0.0", 1, agent="0.2.0")
    with loaded.served() as until:
        until(loaded.committed("1.0.0"))
        until(lambda: loaded.note()["proven"])


def test_the_agent_gives_way_to_another_which_proves_health_and_stays(loaded: Loaded) -> None:
    with_first(loaded)
    assert loaded.started() == ["0.1.0", "0.2.0"]
    note = loaded.note()
    assert (note["chosen"], note["fellBack"], note["starts"]) == (
        "generations/1/.agent.env",
        False,
        0,
    )
    assert "update.rolling-back" not in loaded.field.kinds()
    waited = loaded.field.event("update.waiting")["data"]
    assert waited["reasons"] == ["state.restart"]
    # An unchanged agent is not started anew, and what the loader starts is never collected.
    for counter in range(2, 7):
        loaded.release(f"1.{counter}.0", counter, agent="0.2.0")
        with loaded.served() as until:
            until(loaded.committed(f"1.{counter}.0"))
    with loaded.served() as until:
        until(lambda: not (loaded.field.layout.generations / "2").exists())
    assert set(loaded.started()) == {"0.1.0", "0.2.0"}
    assert loaded.note()["chosen"] == "generations/1/.agent.env"
    assert (loaded.field.layout.generations / "1/.agent.env/bin/python3").exists()
    shown = subprocess.run(
        loaded.command("status", "--state", str(loaded.field.state), "--json"),
        check=False,
        capture_output=True,
    )
    told = json.loads(shown.stdout)
    assert (told["version"], told["components"]) == ("1.6.0", {"agent": "0.2.0"})


DEAD = "raise SystemExit(9)"
KILLED = "import os; os.kill(os.getpid(), 9)"


@pytest.mark.parametrize("fault", [DEAD, KILLED])
def test_an_agent_that_never_comes_to_stand_gives_way_to_the_one_before(
    loaded: Loaded, fault: str
) -> None:
    with_first(loaded)
    loaded.release(
        "1.1.0",
        2,
        agent="0.3.0",
        change=in_its_run(fault),
        max_attempts=1,
    )
    with loaded.served() as until:
        until(loaded.rolled_back)
    assert "0.3.0" not in loaded.started()
    state = loaded.field.journal().state()
    assert state.in_use is not None
    assert state.in_use.version == "1.0.0"
    assert list(state.faults.values()) == ["state.component"]
    assert loaded.note()["chosen"] == "generations/1/.agent.env"
    assert not loaded.note()["fellBack"]
    assert loaded.field.opened().version == "1.0.0", "the model was served all the while"


def test_an_agent_whose_attempts_crash_is_counted_and_gives_way(loaded: Loaded) -> None:
    """The supervisor lives and would never be started again; the device would hear nothing."""
    with_first(loaded)

    def broken(files: dict[str, bytes]) -> None:
        attempt = files["primum_agent/attempt.py"]
        begins = b'    parser = argparse.ArgumentParser(description="One update attempt.")'
        assert begins in attempt
        files["primum_agent/attempt.py"] = attempt.replace(begins, b"    raise SystemExit(77)")

    loaded.release("1.1.0", 2, agent="0.3.0", change=broken, max_attempts=1)
    with loaded.served() as until:
        until(loaded.rolled_back)
        until(loaded.committed("1.0.0"))
    assert loaded.started()[-1] == "0.2.0"
    assert loaded.started().count("0.3.0") >= 3
    assert loaded.note()["chosen"] == "generations/1/.agent.env"


def test_starts_that_only_ask_count_for_nothing(loaded: Loaded) -> None:
    with_first(loaded)
    with loaded.served() as until:
        until(lambda: loaded.started().count("0.2.0") >= 2)
        for words in (["--help"], ["--once"], []):
            for _ in range(4):
                command = loaded.command("run", *loaded.field.folders, *words)
                subprocess.run(command, check=False, capture_output=True)
        note = loaded.note()
        assert (note["fellBack"], note["chosen"]) == (0, "generations/1/.agent.env")
        assert note["starts"] <= 1


def test_where_the_way_back_does_not_start_either_the_installed_agent_does(
    loaded: Loaded,
) -> None:
    with_first(loaded)
    note = loaded.note()
    note |= {"before": note["chosen"], "fellBack": 1, "starts": 0, "limit": 3}
    (loaded.field.state / "agent.json").write_text(json.dumps(note))
    broken = loaded.field.layout.generations / "1/agent/primum_agent/cli.py"
    broken.chmod(0o640)
    broken.write_text("raise SystemExit(1)\n")
    (broken.parent / "__pycache__" / f"cli.{sys.implementation.cache_tag}.pyc").unlink()
    with loaded.served() as until:
        until(lambda: loaded.started()[-1] == "0.1.0")
    assert loaded.note()["fellBack"] == 2


def test_an_agent_that_cannot_be_started_at_all_is_found_before_anything_is_switched(
    loaded: Loaded,
) -> None:
    with_first(loaded)
    broken = appended("primum_agent/supervisor.py", "import a_module_that_is_not_there")
    loaded.release("1.1.0", 2, agent="0.3.0", change=broken, max_attempts=1)
    with loaded.served() as until:
        until(loaded.rolled_back)
    failed = loaded.field.event("update.failed")["data"]
    assert "a_module_that_is_not_there" in failed["detail"]["found"]
    assert loaded.note()["chosen"] == "generations/1/.agent.env"
    assert loaded.field.journal().state().in_use.version == "1.0.0"


def test_an_agent_that_runs_but_whose_release_proves_no_health_gives_way(loaded: Loaded) -> None:
    with_first(loaded)
    loaded.release("1.1.0", 2, agent="0.3.0", health_window=1, max_attempts=1)
    with loaded.served() as until:
        until(lambda: "update.rolled-back" in loaded.field.kinds())
        until(lambda: loaded.field.journal().state().lifecycle is State.IDLE)
    assert "0.3.0" in loaded.started()
    assert loaded.started()[-1] == "0.2.0"
    assert loaded.note()["chosen"] == "generations/1/.agent.env"
    assert loaded.field.journal().state().in_use.version == "1.0.0"


def test_going_back_to_a_release_without_an_agent_leaves_the_one_that_was_installed(
    loaded: Loaded,
) -> None:
    loaded.field.release("1.0.0", counter=1)
    with loaded.served() as until:
        until(loaded.committed("1.0.0"))
    loaded.release("1.1.0", 2, agent="0.3.0", health_window=1, max_attempts=1)
    with loaded.served() as until:
        until(lambda: "update.rolled-back" in loaded.field.kinds())
    assert loaded.started()[-1] == "0.1.0"
    assert loaded.note()["chosen"] == ""
    assert loaded.field.journal().state().in_use.version == "1.0.0"


def test_without_the_loader_an_agent_holds_its_own_update_and_says_so(in_the_field: Any) -> None:
    loaded = Loaded(in_the_field)
    loaded.release("1.0.0", 1, agent="0.2.0")
    assert in_the_field.once().returncode == 5
    shown = json.loads(in_the_field.agent("status", "--json").stdout)
    (gate,) = [item for item in shown["gates"] if item["gate"] == "components"]
    assert gate["standing"] == "holds"
    assert "nothing would start anew" in gate["reading"]


NOTE = {"chosen": "", "before": "", "starts": 0, "limit": 3, "fellBack": False}


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"[]",
        b'{"chosen": 7}',
        json.dumps(NOTE | {"chosen": "generations/9/.agent.env"}).encode(),
        b"\xff" * 9,
    ],
)
def test_a_note_that_cannot_be_read_starts_the_agent_that_was_installed(
    loaded: Loaded, note: bytes
) -> None:
    (loaded.field.state / "agent.json").write_bytes(note)
    shown = subprocess.run(loaded.command("--version"), check=False, capture_output=True, text=True)
    assert (shown.returncode, shown.stdout) == (0, "primum-agent 0.1.0\n")
    with loaded.served() as until:
        until(loaded.started)
    assert loaded.started() == ["0.1.0"]


def test_root_starts_no_agent_that_another_user_could_have_put_there(loaded: Loaded) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    evil = loaded.field.state / "evil"
    (evil / "bin").mkdir(parents=True)
    (evil / "bin/python3").write_text("#!/bin/sh\ntouch $0.was-run\n")
    (evil / "bin/python3").chmod(0o755)
    (loaded.field.state / "agent.json").write_text(json.dumps(NOTE | {"chosen": "evil"}))
    os.chown(loaded.field.state, 65534, 65534)
    subprocess.run(
        loaded.command("status", "--state", str(loaded.field.state)),
        check=False,
        capture_output=True,
    )
    assert not (evil / "bin/python3.was-run").exists()
