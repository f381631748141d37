"""Starts a real MQTT 5 broker on a port and in a folder of its own, and ends it cleanly.

The broker is mosquitto, because under MQTT 3.1.1 a refused report looks delivered and no Python
package ships an MQTT 5 broker. One that the machine runs already is never used and never disturbed:
each one here listens on the loopback address alone, with its own configuration, and keeps nothing.

Example::

    with running_broker(find_broker(), folder) as broker:
        client.connect(broker.host, broker.port)
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from primum_device_sim.lifeline import ended_with_this_process
from primum_verifier.core.errors import FailedError
from primum_verifier.core.reasons import Reason

LOOPBACK = "127.0.0.1"
# How long a broker may take until it accepts a connection, and to end when asked to (seconds).
READY_SECONDS = 10.0
END_SECONDS = 5.0
# Between choosing a free port and the broker taking it, another process may take it.
PORT_ATTEMPTS = 3
LOG_LINES_SHOWN = 3
SYSTEM_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
# Where ``make broker`` leaves the path of the broker it found or unpacked.
RECORDED_PATH = Path(".cache") / "mosquitto" / "path"
REMEDY = "run 'make broker' in the checkout, or name a mosquitto 2.0+ with PRIMUM_MOSQUITTO"


@dataclass(frozen=True, kw_only=True)
class BrokerHandle:
    """A running broker.

    Args:
        host: the address to connect to; always the loopback address.
        port: its TCP port.
        process: the broker itself; faults may stop, continue or kill it.
        log: what the broker writes, appended across restarts in the same folder.
    """

    host: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path


def find_broker() -> Path:
    """The mosquitto to use: the one named, the one that was tried, or the installed one.

    Looked at in this order: ``PRIMUM_MOSQUITTO``; what ``make broker`` saw speaking MQTT 5 and
    recorded in the checkout around the working folder or this module; the ``PATH`` and the folders
    of system programs.

    Raises:
        FailedError: with ``broker.unreachable`` when there is none.
    """
    named = os.environ.get("PRIMUM_MOSQUITTO")
    if named:
        found = shutil.which(named)
        if found is None:
            raise FailedError(
                "the broker named by PRIMUM_MOSQUITTO is no program that can be started",
                reason=Reason.BROKER_UNREACHABLE,
                where=named,
                remedy=REMEDY,
            )
        return Path(found).absolute()
    for start in (Path.cwd(), Path(__file__).resolve().parent):
        for folder in (start, *start.parents):
            with suppress(OSError):
                recorded = Path((folder / RECORDED_PATH).read_text(encoding="utf-8").strip())
                if os.access(recorded, os.X_OK):
                    return recorded
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS])
    installed = shutil.which("mosquitto", path=places)
    if installed is not None:
        return Path(installed).absolute()
    raise FailedError(
        "no mosquitto broker is installed or unpacked here",
        reason=Reason.BROKER_UNREACHABLE,
        where=".cache/mosquitto of the checkout, PATH, system folders",
        remedy=REMEDY,
    )


@contextmanager
def running_broker(
    executable: Path, folder: Path, *, port: int = 0, extra_settings: tuple[str, ...] = ()
) -> Iterator[BrokerHandle]:
    """Runs a broker while the block runs.

    Args:
        executable: a mosquitto 2.0 or newer, as ``find_broker`` gives it.
        folder: where configuration (``mosquitto.conf``) and log (``mosquitto.log``) are written
            and stay for a reader; made where it is missing.
        port: TCP port to listen on; 0 takes a free one. A fixed one lets devices come back to the
            same address after a restart.
        extra_settings: further lines of mosquitto's configuration, each a whole line.

    Yields:
        The broker, already accepting connections.

    Raises:
        FailedError: with ``broker.unreachable`` when it does not start, with the end of its log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    broker = _start(executable, folder, port=port, extra_settings=extra_settings)
    try:
        yield broker
    finally:
        _end(broker.process)


def _start(
    executable: Path, folder: Path, *, port: int, extra_settings: tuple[str, ...]
) -> BrokerHandle:
    """Starts the broker, with another port where a freely chosen one was taken meanwhile."""
    if port:
        _check_free(port)
    attempts = 1 if port else PORT_ATTEMPTS
    log = folder / "mosquitto.log"
    for _attempt in range(attempts):
        chosen = port or _free_port()
        config = folder / "mosquitto.conf"
        config.write_text(_settings(chosen, extra_settings), encoding="utf-8")
        process = _spawn(executable, config, log)
        try:
            ready = _wait_until_ready(process, chosen)
        except BaseException:
            _end(process)
            raise
        if ready:
            return BrokerHandle(host=LOOPBACK, port=chosen, process=process, log=log)
        _end(process)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    raise FailedError(
        "the broker did not start",
        reason=Reason.BROKER_UNREACHABLE,
        where=f"{executable} -c {folder / 'mosquitto.conf'}",
        found=" | ".join(lines[-LOG_LINES_SHOWN:]) or f"nothing in {log}",
        expected=f"a listener on {LOOPBACK}:{chosen} within {READY_SECONDS:.0f} s",
        remedy=REMEDY,
    )


def _settings(port: int, extra_settings: tuple[str, ...]) -> str:
    """The broker's whole configuration; nothing of the machine's own is read."""
    lines = [
        f"listener {port} {LOOPBACK}",
        "allow_anonymous true",
        "persistence false",
        # The default of 1000 drops QoS 1 messages in silence: a fleet's reports would be lost.
        "max_queued_messages 0",
        "set_tcp_nodelay true",
        "log_dest stderr",
        "log_timestamp_format %Y-%m-%dT%H:%M:%S",
    ]
    if os.geteuid() == 0:
        # mosquitto would change to a user that may not exist here or may not read the folder; a
        # loopback listener that lives as long as a test needs no second user.
        lines.append(f"user {pwd.getpwuid(0).pw_name}")
    return "\n".join([*lines, *extra_settings]) + "\n"


def _spawn(executable: Path, config: Path, log: Path) -> subprocess.Popen[bytes]:
    """Starts the process in a group of its own, so that Ctrl-C leaves the order of ending to us."""
    try:
        with log.open("ab") as output:
            return subprocess.Popen(
                [executable, "-c", config],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,
                preexec_fn=ended_with_this_process(),  # noqa: PLW1509 - one prctl, no lock
            )
    except OSError as error:
        raise FailedError(
            "the broker's program cannot be started",
            reason=Reason.BROKER_UNREACHABLE,
            where=str(executable),
            found=str(error),
            remedy=REMEDY,
        ) from error


def _wait_until_ready(process: subprocess.Popen[bytes], port: int) -> bool:
    """Whether the process came to accept connections; false when it ended or took too long."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1):
            # Were somebody else listening, the broker would have ended: the port was free before.
            return process.poll() is None
        if process.poll() is not None:
            return False
        time.sleep(0.01)
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """Asks the broker to end, then makes it; a stopped one is continued so that it can."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.terminate()
    try:
        process.wait(timeout=END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _check_free(port: int) -> None:
    """Refuses a port that somebody listens on: readiness would be theirs, not our broker's."""
    with socket.socket() as probe:
        # As mosquitto does: connections of an earlier broker that are still closing do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise FailedError(
                "the broker's port is not to be had",
                reason=Reason.BROKER_UNREACHABLE,
                where=f"{LOOPBACK}:{port}",
                found=str(error),
                remedy="end what listens there, or take port 0 for a free one",
            ) from error


def _free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port
