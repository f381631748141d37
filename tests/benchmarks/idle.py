"""What the resident supervisor costs while nothing happens, against an interpreter that sleeps.

A real supervisor is started over a state folder of its own, with repositories that are never
asked meanwhile and without a broker; beside it a bare interpreter that only sleeps.  After it has
settled, both are watched for the same seconds:

- memory: PSS of the supervisor, and of the interpreter (KiB), and their ratio;
- wake-ups: voluntary context switches, per minute.

The supervisor is measured twice: alone, and as a service that gives signs of life.

Run: ``python -m tests.benchmarks.idle [SECONDS] [--json FILE]`` (60 by default).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.figures import arguments, keep

_SETTLE_SECONDS = 15.0
_WATCHDOG_SECONDS = 120
"""As in the unit."""

_SETTINGS = """\
schema_version = "0.1"
device_id = "idle-001"
component = "none"
hardware_id = "none"
[repositories.engineering]
metadata_url = "file:///nowhere/"
targets_url = "file:///nowhere/"
artifacts_url = "file:///nowhere/"
[repositories.clinical]
metadata_url = "file:///nowhere/"
targets_url = "file:///nowhere/"
[timing]
poll_seconds = 86400
"""

# The supervisor as it is, over settings that no repository stands behind: what identity and trust
# say of them is not what is measured.
_SUPERVISOR = """
import sys
from pathlib import Path
from primum_agent.clock import SystemClock
from primum_agent.layout import Layout
from primum_agent.service import ServiceManager
from primum_agent.settings import read_settings
from primum_agent.supervisor import make_supervisor
import os
supervisor = make_supervisor(
    settings=read_settings(Path(sys.argv[1])), layout=Layout(Path(sys.argv[2])),
    clock=SystemClock(), make_reporter=lambda wake: None,
)
supervisor.service = ServiceManager.of(os.environ)
sys.exit(supervisor.run())
"""
_SLEEPER = "import time; time.sleep(86400)"


@dataclass(frozen=True)
class Watched:
    """One process that idles."""

    name: str
    process: subprocess.Popen[bytes]

    def pss_kib(self) -> int:
        """Its share of the memory that it uses, from the kernel."""
        rollup = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))

    def wake_ups(self) -> int:
        """How often it has gone to sleep so far, all threads together."""
        count = 0
        for thread in Path(f"/proc/{self.process.pid}/task").iterdir():
            for line in (thread / "status").read_text().splitlines():
                if line.startswith("voluntary_ctxt_switches:"):
                    count += int(line.split()[1])
        return count


def main() -> None:
    """Measure and print one JSON object."""
    parser = arguments(__doc__)
    parser.add_argument("seconds", type=float, nargs="?", default=60.0, help="60 by default")
    options = parser.parse_args()
    seconds: float = options.seconds
    with tempfile.TemporaryDirectory(prefix="primum-idle-") as name:
        folder = Path(name)
        (folder / "agent.toml").write_text(_SETTINGS)
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        manager.bind(str(folder / "notify"))
        service = {
            "NOTIFY_SOCKET": str(folder / "notify"),
            "WATCHDOG_USEC": str(_WATCHDOG_SECONDS * 1_000_000),
        }
        interpreter = [sys.executable, "-I", "-c"]
        asked: dict[str, dict[str, str]] = {"supervisor": {}, "asService": service}
        watched = [Watched("interpreter", subprocess.Popen([*interpreter, _SLEEPER]))]
        for one, variables in asked.items():
            words = [*interpreter, _SUPERVISOR, str(folder), str(folder / one)]
            watched.append(
                Watched(
                    one,
                    subprocess.Popen(
                        words, stderr=subprocess.DEVNULL, env={**os.environ, **variables}
                    ),
                )
            )
        try:
            time.sleep(_SETTLE_SECONDS)
            before = {one.name: one.wake_ups() for one in watched}
            time.sleep(seconds)
            told = {
                one.name: {
                    "pssKiB": one.pss_kib(),
                    "wakeUpsPerMinute": round(
                        (one.wake_ups() - before[one.name]) * 60 / seconds, 2
                    ),
                }
                for one in watched
            }
        finally:
            for each in watched:
                each.process.send_signal(signal.SIGTERM)
            for each in watched:
                each.process.wait(timeout=10)
            manager.close()
    bare = told["interpreter"]["pssKiB"]
    ratios = {f"{one}ToInterpreter": round(told[one]["pssKiB"] / bare, 2) for one in asked}
    print(keep({"seconds": seconds, **told, "pss": ratios}, options.json))


if __name__ == "__main__":
    main()
