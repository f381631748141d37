"""What a device's maker asks of the bench: nothing is loaded that is less confined."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from primum_agent.settings import read_settings
from primum_verifier.core.errors import UsageError
from primum_verifier.proof.confinement import ALWAYS_POSSIBLE, Confinement

_NO_LIBRARY = """
from primum_verifier.shell import bench_child, sandbox
sandbox.Sandbox.__init__.__kwdefaults__["library"] = "libno-such-library.so.9"
bench_child.main()
"""


def say(field: Any, lines: str) -> None:
    field.more_settings = f"[bench]\n{lines}\n"
    field.write("agent.toml", field.settings().encode())


def ask(field: Any, folder: Path, *require: str) -> None:
    """Let the device run models on a bench without libseccomp, and require these confinements."""
    script = folder / "bench.py"
    script.write_text(_NO_LIBRARY)
    command = json.dumps([sys.executable, "-I", str(script)])
    say(field, f"require = {json.dumps(require)}\ncommand = {command}")


def test_what_this_system_does_not_hold_is_named_and_not_held_against_the_release(
    in_the_field: Any, tmp_path: Path
) -> None:
    """Danger: a kernel without seccomp runs a hostile model with all system calls."""
    ask(in_the_field, tmp_path, "seccomp")
    in_the_field.release("1.0.0", counter=1)
    assert in_the_field.once().returncode == 3
    failed = in_the_field.event("selftest.failed")["data"]
    assert failed["reasons"] == ["selftest.incomplete"]
    assert "seccomp" in json.dumps(failed["detail"])
    journal = in_the_field.journal()
    assert not journal.state().faults
    assert journal.state().in_use is None
    journal.close()


def test_a_bench_of_the_maker_s_own_is_run_where_it_holds_enough(
    in_the_field: Any, tmp_path: Path
) -> None:
    ask(in_the_field, tmp_path, "parent-death", "non-dumpable")
    in_the_field.release("1.0.0", counter=1)
    in_the_field.once()
    assert "selftest.passed" in in_the_field.kinds()


def test_what_every_system_can_hold_is_always_required(in_the_field: Any) -> None:
    say(in_the_field, 'require = ["landlock"]')
    settings = read_settings(in_the_field.provisioning)
    assert settings.bench.required == ALWAYS_POSSIBLE | {Confinement.LANDLOCK}
    assert settings.bench.command == ()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('require = ["landlok"]', "bench.require"),
        ('require = "landlock"', "bench.require"),
        ('command = ["bench"]', "bench.command"),
        ("unconfined = true", "unknown member"),
    ],
)
def test_a_wish_that_cannot_be_kept_is_told_before_anything_runs(
    in_the_field: Any, line: str, told: str
) -> None:
    """Danger: a misspelt confinement is required of nobody."""
    say(in_the_field, line)
    with pytest.raises(UsageError) as caught:
        read_settings(in_the_field.provisioning)
    assert told in caught.value.where + caught.value.found
