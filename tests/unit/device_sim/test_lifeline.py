"""A simulator that is killed leaves nothing running: no device, no server, no broker."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from tests.unit.agent.waiting import wait_for

from primum_device_sim.lifeline import ended_with_this_process

SIMULATOR = """
import sys, time
from pathlib import Path
from io import StringIO
from rich.console import Console
from primum_device_sim.broker import running_broker
from primum_device_sim.demo.stage import Stage
folder, program = Path(sys.argv[1]), Path(sys.argv[2])
with running_broker(program, folder / "broker") as broker:
    stage = Stage(folder=folder, console=Console(file=StringIO()), broker=broker,
                  subscriber=None, environment={})
    with stage.scene("1", "one"):
        stage.start("server", "python", "-m", "http.server", "0", "--bind", "127.0.0.1")
        print("ready", flush=True)
        time.sleep(600)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux: prctl(2)")
def test_what_a_killed_simulator_started_is_gone(broker_executable: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SIMULATOR, str(tmp_path), str(broker_executable)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        started = psutil.Process(process.pid).children(recursive=True)
        assert len(started) == 2, "a server and a broker"
        process.kill()
    wait_for(lambda: not any(one.is_running() and one.status() != "zombie" for one in started))


def test_a_thread_that_comes_and_goes_takes_nobody_with_it() -> None:
    """The kernel would end the child with the thread that started it."""
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(ended_with_this_process()))
    thread.start()
    thread.join()
    assert found == [None]
