"""The tracer does what the campaign says: one call, of one folder, for a tree at one instant."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from tests.campaigns.crash_tracer import ALL, CHANGES, KILL, Plan, Traced, cannot
from tests.campaigns.crash_worlds import CHECKOUT

pytestmark = pytest.mark.skipif(bool(cannot()), reason=cannot() or "it can")

WRITES_AND_SAYS = """
import os, sys
from pathlib import Path
folder = Path(sys.argv[1])
(folder.parent / "elsewhere").write_text("not looked at")
for name in "abc":
    try:
        os.write(os.open(folder / name, os.O_WRONLY | os.O_CREAT), name.encode())
    except OSError as error:
        print(name, error.errno, flush=True)
"""
CHILD_WRITES_ON = """
import subprocess, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
child = "import sys, time\\nfrom pathlib import Path\\nwhile True:\\n    Path(sys.argv[1]).touch()"
process = subprocess.Popen([sys.executable, "-c", child, folder.parent / "beat"],
                           start_new_session=True)
time.sleep(0.3)
(folder / "last").write_text("never")
time.sleep(60)
"""
MANY_CALLS = """
import os, sys
def at(name):
    return os.path.join(sys.argv[1], name)
os.mkdir(at("m")); os.rmdir(at("m"))
with open(at("f"), "wb", buffering=0) as file:
    file.write(b"x"); os.pwrite(file.fileno(), b"y", 0); os.ftruncate(file.fileno(), 1)
    os.fsync(file.fileno()); os.fdatasync(file.fileno())
os.chmod(at("f"), 0o600); os.link(at("f"), at("g")); os.symlink("f", at("s"))
os.rename(at("g"), at("h")); os.unlink(at("h")); os.unlink(at("s"))
with open(at("f"), "rb", buffering=0) as file:
    file.read(1); os.pread(file.fileno(), 1, 0)
os.listdir(sys.argv[1])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "watched"
    made.mkdir()
    return made


def traced(folder: Path, script: str, **plan: Any) -> tuple[Traced, str]:
    output = folder.parent / "output"
    made = Plan(
        command=[sys.executable, "-I", "-S", "-c", script, str(folder)],
        folder=str(folder),
        output=str(output),
        **{"calls": sorted(CHANGES), "seconds": 20.0, **plan},
    )
    done = subprocess.run(
        [sys.executable, "-m", "tests.campaigns.crash_tracer", json.dumps(asdict(made))],
        capture_output=True,
        text=True,
        check=True,
        cwd=CHECKOUT,
        timeout=60,
    )
    return Traced(**json.loads(done.stdout.splitlines()[-1])), output.read_text()


def role() -> str:
    return Path(sys.executable).name


def test_only_what_lies_below_the_folder_is_numbered(folder: Path) -> None:
    found, _ = traced(folder, WRITES_AND_SAYS)
    assert found.calls == [[role(), call, name] for name in "abc" for call in ("openat", "write")]
    assert found.code == 0


@pytest.mark.parametrize(("lasting", "failed"), [(False, "b"), (True, "bc")])
def test_an_error_is_told_to_the_caller_and_nothing_is_written(
    folder: Path, lasting: bool, failed: str
) -> None:
    found, output = traced(
        folder, WRITES_AND_SAYS, fault="ENOSPC", role=role(), number=4, lasting=lasting
    )
    assert found.hit == [role(), 4, "write", "b"]
    assert output.split() == [word for name in failed for word in (name, str(errno.ENOSPC))]
    for name in "abc":
        path = folder / name
        assert (path.read_text() if path.exists() else "") == ("" if name in failed else name)


def test_a_cut_takes_every_process_at_one_instant(folder: Path) -> None:
    """Also a child in a session of its own, in the middle of what it does."""
    before = time.monotonic()
    found, _ = traced(folder, CHILD_WRITES_ON, fault=KILL, role=role(), number=1)
    assert time.monotonic() - before < 15
    assert (found.code, found.hit) == (-9, [role(), 1, "openat", "last"])
    assert list(folder.iterdir()) == []
    beat = folder.parent / "beat"
    stopped = beat.stat().st_mtime_ns
    time.sleep(0.1)
    assert beat.stat().st_mtime_ns == stopped


def test_what_hangs_is_ended_and_told(folder: Path) -> None:
    found, _ = traced(folder, "import time; time.sleep(60)", seconds=0.5)
    assert found.code == 124


def test_it_sees_what_strace_sees(folder: Path) -> None:
    """An independent witness for the numbering, where there is one."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    found, _ = traced(folder, MANY_CALLS, calls=sorted(ALL))
    shutil.rmtree(folder)
    folder.mkdir()
    log = folder.parent / "strace"
    subprocess.run(
        [
            *(strace, "-f", "-y", "-o", str(log), "-e", f"trace={','.join(sorted(ALL))}"),
            *(sys.executable, "-I", "-S", "-c", MANY_CALLS, str(folder)),
        ],
        check=True,
    )
    lines = [
        line.split(maxsplit=1)[1] for line in log.read_text().splitlines() if str(folder) in line
    ]
    names = [line.partition("(")[0] for line in lines if "O_RDONLY" not in line]
    assert [name for _, name, _ in found.calls] == names
    assert len(names) > 12
