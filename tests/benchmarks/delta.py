"""Deltas against zstd, xdelta3, bsdiff and hdiffpatch: bytes, time and memory of both ends.

Five changes: metadata of a model of 28 MiB alone, its last layer trained on, every weight trained
on, and a patch and a minor release of a real wheel.  Each delta is made once (``--make-rounds``),
and applied by each contestant in turn, ``--rounds`` times; a new process each time, its start
counted.  Shown are medians of an applied delta and the peak of resident memory; bytes also as a
part of the whole file packed by ``zstd -19``, which is what a device would fetch without a delta.

The peers are programs of the system; one that is missing is left out and told.  On Debian:
``apt-get install zstd xdelta3 bsdiff``.  hdiffpatch comes by ``pip install detools`` into an
environment of its own, whose ``detools`` is named by ``--detools``.

What to reach: no more bytes than the best peer, and not above the whole file; a delta applied in
less than 64 MiB and 1.5 s for 30 MiB.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.benchmarks.delta_inputs import Change, changes

from primum_verifier.core.limits import KIB, MIB

_APPLY = """
import hashlib, os, sys
from primum_verifier.delta.applying import apply_delta
old, delta, new, length = sys.argv[1:5]
base = os.open(old, os.O_RDONLY)
def pieces():
    with open(delta, "rb") as stream:
        while piece := stream.read(262144):
            yield piece
seen = hashlib.sha256()
with open(new, "wb") as out:
    for piece in apply_delta(pieces(), base=lambda place, count: os.pread(base, count, place),
                             base_length=os.fstat(base).st_size, length=int(length)):
        seen.update(piece)
        out.write(piece)
"""
_MAKE = """
import sys
from pathlib import Path
from primum_repo_tools.deltas.making import make_delta
Path(sys.argv[3]).write_bytes(make_delta(Path(sys.argv[1]), Path(sys.argv[2])).data)
"""

_WATCH = """
import json, os, signal, sys, time
limit, command = float(sys.argv[1]), sys.argv[2:]
null = os.open(os.devnull, os.O_WRONLY)
began = time.perf_counter()
process = os.posix_spawnp(command[0], command, os.environ, file_actions=[
    (os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, null, 2)])
found = 0
while not found:
    # Without a limit nothing but the process itself is waited for.
    found, status, used = os.wait4(process, os.WNOHANG if limit else 0)
    if not found and time.perf_counter() - began > limit:
        os.kill(process, signal.SIGKILL)
        found, status, used = os.wait4(process, 0)
        status = None
    elif not found:
        time.sleep(0.02)
seconds = time.perf_counter() - began
print(json.dumps([seconds, status, used.ru_maxrss, used.ru_utime + used.ru_stime]))
"""
"""Runs a command; a small process of its own, for a child's peak begins with its parent's."""

Command = Callable[[Path, Path, Path], list[str]]
"""Old file, new file and delta to a command line."""


@dataclass(frozen=True)
class Contestant:
    """One way to make and apply deltas."""

    name: str
    program: str
    make: Command
    apply: Command


@dataclass(frozen=True)
class Figures:
    """What one contestant did with one change; seconds and MiB.

    Attributes:
        part: bytes of the delta by those of the packed whole file.
    """

    change: str
    contestant: str
    size: int
    part: float
    make_seconds: float
    make_peak: float
    apply_seconds: float
    apply_cpu: float
    apply_peak: float


@dataclass(frozen=True)
class _Ran:
    seconds: float
    peak: float
    cpu: float


def contestants(detools: str) -> list[Contestant]:
    """All of them, ours first."""
    this = sys.executable
    zstd = ["zstd", "-q", "-f", "--long=27"]
    patch = [detools, "create_patch", "-t", "hdiffpatch", "-a", "hdiffpatch", "-c", "lzma"]
    return [
        Contestant(
            "primum",
            this,
            lambda old, new, delta: [this, "-c", _MAKE, str(old), str(new), str(delta)],
            lambda old, new, delta: [
                *(this, "-c", _APPLY, str(old), str(delta), str(_out(new))),
                str(new.stat().st_size),
            ],
        ),
        Contestant(
            "zstd -19 prefix",
            "zstd",
            lambda old, new, delta: [
                *zstd,
                "-19",
                f"--patch-from={old}",
                str(new),
                "-o",
                f"{delta}",
            ],
            lambda old, new, delta: [
                *(*zstd, "-d", f"--patch-from={old}", str(delta), "-o", str(_out(new)))
            ],
        ),
        Contestant(
            "xdelta3 -9",
            "xdelta3",
            lambda old, new, delta: [
                "xdelta3",
                "-9",
                "-f",
                "-e",
                "-s",
                *map(str, (old, new, delta)),
            ],
            lambda old, new, delta: [
                *("xdelta3", "-f", "-d", "-s", *map(str, (old, delta, _out(new))))
            ],
        ),
        Contestant(
            "bsdiff",
            "bsdiff",
            lambda old, new, delta: ["bsdiff", *map(str, (old, new, delta))],
            lambda old, new, delta: ["bspatch", *map(str, (old, _out(new), delta))],
        ),
        Contestant(
            "hdiffpatch",
            detools,
            lambda old, new, delta: [*patch, *map(str, (old, new, delta))],
            lambda old, new, delta: [*(detools, "apply_patch", *map(str, (old, delta, _out(new))))],
        ),
    ]


def _out(new: Path) -> Path:
    return new.with_name(f"{new.name}.out")


class _OverdueError(Exception):
    """A contestant took longer to make a delta than it may."""


def _run(command: Sequence[str], *, limit: float = 0.0) -> _Ran:
    """One process from its start to its end, and the most memory it had.

    Args:
        command: what is run.
        limit: seconds after which it is ended; 0 for never.

    Raises:
        _OverdueError: it took longer.
    """
    watcher = [sys.executable, "-S", "-c", _WATCH, str(limit), *command]
    done = subprocess.run(watcher, check=True, stdout=subprocess.PIPE)
    seconds, status, peak, cpu = json.loads(done.stdout)
    if status is None:
        raise _OverdueError
    if status:
        raise SystemExit(f"ended with {status}: {' '.join(command)[:200]}")
    return _Ran(seconds, peak * KIB / MIB, cpu)


def measure(
    change: Change,
    contestants: Sequence[Contestant],
    *,
    rounds: int,
    make_rounds: int,
    limit: float,
) -> list[Figures]:
    """Make one delta by each, then apply them in turn."""
    whole = change.new.with_name("whole.zst")
    _run(["zstd", "-q", "-f", "-19", str(change.new), "-o", str(whole)])
    made: dict[str, list[_Ran]] = {}
    deltas = {
        item.name: change.new.with_name(f"delta-{number}")
        for number, item in enumerate(contestants)
    }
    for item in contestants:
        command = item.make(change.old, change.new, deltas[item.name])
        try:
            made[item.name] = [_run(command, limit=limit) for _ in range(make_rounds)]
        except _OverdueError:
            print(f"\n{change.name}: {item.name} is left out, it took over {limit:g} s")
    taking_part = [item for item in contestants if item.name in made]
    applied: dict[str, list[_Ran]] = {item.name: [] for item in taking_part}
    expected = change.new.read_bytes()
    for _ in range(rounds):
        for item in taking_part:
            _out(change.new).unlink(missing_ok=True)
            applied[item.name].append(_run(item.apply(change.old, change.new, deltas[item.name])))
            if _out(change.new).read_bytes() != expected:
                raise SystemExit(f"{item.name} made another file")
    return [
        Figures(
            change=change.name,
            contestant=item.name,
            size=deltas[item.name].stat().st_size,
            part=deltas[item.name].stat().st_size / whole.stat().st_size,
            make_seconds=statistics.median(one.seconds for one in made[item.name]),
            make_peak=max(one.peak for one in made[item.name]),
            apply_seconds=statistics.median(one.seconds for one in applied[item.name]),
            apply_cpu=statistics.median(one.cpu for one in applied[item.name]),
            apply_peak=max(one.peak for one in applied[item.name]),
        )
        for item in taking_part
    ]


def _show(figures: Sequence[Figures]) -> None:
    ours = figures[0]
    print(f"\n{ours.change}")
    head = f"{'':18}{'bytes':>12}{'of full':>9}{'make s':>8}{'MiB':>6}"
    print(f"{head}{'apply s':>9}{'cpu s':>7}{'MiB':>6}")
    for item in figures:
        print(
            f"{item.contestant:18}{item.size:12,}{item.part:9.4f}{item.make_seconds:8.1f}"
            f"{item.make_peak:6.0f}{item.apply_seconds:9.2f}{item.apply_cpu:7.2f}{item.apply_peak:6.0f}"
        )
    if len(figures) > 1:
        best = min(figures[1:], key=lambda item: item.size)
        print(f"primum by the best peer in bytes ({best.contestant}): {ours.size / best.size:.3f}")


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="times that each delta is applied")
    parser.add_argument("--make-rounds", type=int, default=1, help="times that each is made")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds to make one delta")
    parser.add_argument("--without-wheels", action="store_true", help="fetch nothing")
    parser.add_argument("--detools", default="detools", help="the program of that name")
    parser.add_argument("--only", action="append", metavar="CHANGE", help="one change; repeat it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures there")
    options = parser.parse_args()
    every = contestants(options.detools)
    taking_part = [item for item in every if shutil.which(item.program)]
    for item in every:
        if item not in taking_part:
            print(f"{item.name} is left out: there is no {item.program}")
    found: list[Figures] = []
    with tempfile.TemporaryDirectory() as scratch:
        for change in changes(Path(scratch), with_wheels=not options.without_wheels):
            if options.only and change.name not in options.only:
                continue
            figures = measure(
                change,
                taking_part,
                rounds=options.rounds,
                make_rounds=options.make_rounds,
                limit=options.limit,
            )
            _show(figures)
            found += figures
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(item) for item in found], indent=1) + "\n")


if __name__ == "__main__":
    main()
