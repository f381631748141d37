"""How many simulated devices a core plays through a full update, and how many fit in memory.

Each device is provisioned, takes a first release, proves its health, polls for an hour and takes
the next one: three hours of its life, with every promise watched after every turn of it.

Printed for each count: devices in a second of processor time, turns of supervisors, and devices in
a GiB of memory and of disk.

Run: ``python -m tests.benchmarks.simulate [COUNT …] [--json FILE]`` (1, 10 and 100 by default).
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.figures import arguments, keep

from primum_device_sim.playing import play
from primum_device_sim.scenario import Scenario
from primum_verifier.shell.bench import FakeBench

COUNTS = (1, 10, 100)
GIB = 2**30
_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it


def scenario(devices: int) -> Scenario:
    """Two releases, one after the other, for so many devices."""
    release = {"do": "release"}
    content = {
        "title": "two releases",
        "lasts": "3h",
        "fleet": [{"devices": devices, "startsWithin": "20m"}],
        "events": [
            {"at": "0s", "version": "1.0.0", **release},
            {"at": "1h", "version": "1.1.0", **release},
        ],
        "expect": {"runs": {"1.1.0": devices}},
    }
    return Scenario.model_validate_json(json.dumps(content))


def measured(devices: int) -> dict[str, Any]:
    """One play in a process of its own, so that memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found: dict[str, Any] = pool.apply(_play, (devices,))
        return found


def _play(devices: int) -> dict[str, Any]:
    memory = _MEMORY if _MEMORY.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="primum-simulate-", dir=memory))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cpu, wall = time.process_time(), time.monotonic()
    try:
        outcome = play(scenario(devices), folder, bench=FakeBench())
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
        disk = sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
    finally:
        shutil.rmtree(folder)
    if not outcome.ok:
        raise SystemExit(f"{outcome.unmet} {outcome.broken}")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return {
        "devices": devices,
        "cpuSeconds": round(cpu, 3),
        "wallSeconds": round(wall, 3),
        "devicesPerCpuSecond": round(devices / cpu, 2),
        "turns": outcome.turns,
        "devicesPerGiBOfMemory": round(GIB * devices / max(grown, 1)),
        "devicesPerGiBOfDisk": round(GIB * devices / disk),
    }


def main() -> None:
    """Measure and print one JSON object."""
    parser = arguments(__doc__)
    parser.add_argument("counts", metavar="COUNT", type=int, nargs="*", default=COUNTS)
    options = parser.parse_args()
    print(keep({"played": [measured(count) for count in options.counts]}, options.json))


if __name__ == "__main__":
    main()
